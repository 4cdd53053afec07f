"""Where a phone system tells of its calls as they begin or end: signed webhooks (Standard Webhooks), each taken once.

`POST /hooks/records/PEER`. Invariants: nothing of a body is read before its signature was verified; a peer that does not exist,
one without a secret and a wrong signature get one answer; a message that comes again changes nothing.
"""

import asyncio
import hashlib
from typing import Any

from fastapi import APIRouter, Depends
from sqlalchemy import delete
from starlette.requests import Request

from callseal.authn.webhook import read_secret, verify_webhook
from callseal.config.records import PeerRecords, load_records
from callseal.console.parts import Parts, parts_of
from callseal.errors import CallsealError, Unauthenticated
from callseal.flows.read_records import read_webhook
from callseal.flows.reconcile import take_records
from callseal.store import schema
from callseal.store.database import insert_new
from callseal.web.guards import SIGNED

router = APIRouter()


@router.post("/hooks/records/{peer}", dependencies=[Depends(SIGNED)], tags=["reconciliation"], status_code=202)
async def take_webhook(request: Request, peer: str) -> dict[str, Any]:
    """Calls of a phone system's own records. Raises Unauthenticated, RequestError, LimitExceeded, Unavailable: send it again."""
    parts = parts_of(request)
    records, keys = await asyncio.to_thread(_keys_of, parts, peer)
    body = await request.body()
    try:
        message = verify_webhook(keys, request.headers, body, parts.now())
    except Unauthenticated:
        parts.attempts.count(f"hook:{request.client.host if request.client else ''}", parts.clock())
        raise
    assert records is not None
    read = read_webhook(body, records)
    if not await asyncio.to_thread(_claim, parts, peer, message):
        return {"taken": 0, "again": True}
    try:
        counts = await take_records(parts.database, parts.keyring, peer, read.calls, "webhook", parts.now())
    except BaseException:
        await asyncio.to_thread(_let_go, parts, peer, message)  # it is sent again, and is taken then
        raise
    return {"taken": counts["new"] + counts["known"], "again": False}


def _keys_of(parts: Parts, peer: str) -> tuple[PeerRecords | None, list[bytes]]:
    """A peer's settings and secrets; none where there are none, or they cannot be read."""
    try:
        records = load_records(parts.config.data / "records", peer)
        return records, [read_secret(text) for text in records.webhook_secrets]
    except CallsealError:
        return None, []


def _claim(parts: Parts, peer: str, message: str) -> bool:
    """Remember a message by its digest; False where it came before."""
    with parts.database.write() as connection:
        return insert_new(connection, schema.hooks, peer=peer, message=_digest(message), at=parts.now())


def _let_go(parts: Parts, peer: str, message: str) -> None:
    table = schema.hooks
    with parts.database.write() as connection:
        connection.execute(delete(table).where(table.c.peer == peer, table.c.message == _digest(message)))


def _digest(message: str) -> str:
    return hashlib.sha256(message.encode()).hexdigest()
