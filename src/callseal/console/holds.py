"""Holds, by their case, and certificates of destruction: what is kept past its day, and what is gone.

Source: keys-and-recordings sections 3 and 6; docs/spec/open-call.md. Invariants: a call is shown as held, or no longer, only
after the custodian has acknowledged it; a release that leaves a recording without a key destroys it, and its certificate is kept.
"""

import asyncio
from typing import Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import HTMLResponse

from callseal.console.asking import begin, prove, taken
from callseal.console.call import find_call, read_names
from callseal.console.listen import Proof
from callseal.console.parts import Parts, parts_of
from callseal.console.words import show_certificate
from callseal.errors import NotFound
from callseal.flows.dispose import ASKED, keep_certificate
from callseal.flows.open import Reason
from callseal.model.clock import format_time
from callseal.model.roles import CASE_CLASSES, REASON_CLASSES
from callseal.store.calls import get_started_at, list_certificates
from callseal.store.ledger import mark_held
from callseal.web.guards import KEEPERS

router = APIRouter()


class Place(BaseModel):
    """Which call is held, for which case, and why."""

    model_config = ConfigDict(extra="forbid")
    recording: str = Field(pattern=r"^[0-9a-f]{32}$")
    reason_class: str = Field(max_length=40)
    reason: str = Field(min_length=10, max_length=500)
    case: str = Field(min_length=1, max_length=80)


class Release(BaseModel):
    """Which hold is released, and why."""

    model_config = ConfigDict(extra="forbid")
    hold: str = Field(pattern=r"^[0-9a-f]{32}$")
    reason_class: str = Field(max_length=40)
    reason: str = Field(min_length=10, max_length=500)


@router.get("/holds", dependencies=[Depends(KEEPERS)], include_in_schema=False)
async def show_holds(request: Request) -> HTMLResponse:
    """The page; its lists come from the API."""
    return parts_of(request).pages.show(request, "holds.html", reason_classes=REASON_CLASSES, case_classes=CASE_CLASSES)


@router.get("/api/holds", dependencies=[Depends(KEEPERS)], tags=["holds"])
async def send_holds(request: Request) -> dict[str, Any]:
    """The holds that stand, newest first, and the newest certificates."""
    parts = parts_of(request)
    holds = (await parts.keyring.ask("holds.list"))["holds"]
    names = await read_names(parts)
    began, certificates = await asyncio.to_thread(_read, parts, [name for hold in holds for name in hold["recordings"]])
    return {
        "holds": [
            {
                "hold": hold["hold"], "case": hold["case"], "who": names.get(hold["placed_by"], hold["placed_by"]),
                "at": hold["placed_at"], "calls": [{"recording": name, "at": began.get(name)} for name in hold["recordings"]],
            }
            for hold in holds
        ],
        "certificates": certificates,
    }  # fmt: skip


@router.post("/api/holds/begin", dependencies=[Depends(KEEPERS)], tags=["holds"])
async def begin_hold(request: Request, body: Place) -> dict[str, Any]:
    """Ask the custodian; it answers with what is to be proved."""
    await asyncio.to_thread(find_call, parts_of(request), body.recording)
    reason = Reason(body.reason_class, body.reason, body.case)
    return await begin(
        request, "hold", recordings=[body.recording], reason_class=reason.reason_class,
        reason=reason.words.strip(), case=reason.case.strip(),
    )  # fmt: skip


@router.post("/api/holds", dependencies=[Depends(KEEPERS)], tags=["holds"])
async def finish_hold(request: Request, body: Proof) -> dict[str, Any]:
    """Proved: the custodian keeps a copy of the key, and only now the call is shown as held."""
    parts = parts_of(request)
    asked = taken(request, body.nonce, "hold")
    reply = await prove(request, "hold.place", asked, body)
    await asyncio.to_thread(_mark, parts, asked.request["recordings"], True)
    return {"hold": reply["hold"], "log_index": reply["log_index"]}


@router.post("/api/holds/release/begin", dependencies=[Depends(KEEPERS)], tags=["holds"])
async def begin_release(request: Request, body: Release) -> dict[str, Any]:
    """Ask to release every call of a hold. Raises NotFound."""
    holds = (await parts_of(request).keyring.ask("holds.list"))["holds"]
    hold = next((hold for hold in holds if hold["hold"] == body.hold), None)
    if hold is None:
        raise NotFound("hold: expected one that stands")
    reason = Reason(body.reason_class, body.reason, hold["case"])
    return await begin(
        request, "release", recordings=hold["recordings"], hold=body.hold,
        reason_class=reason.reason_class, reason=reason.words.strip(), case=reason.case,
    )  # fmt: skip


@router.post("/api/holds/release", dependencies=[Depends(KEEPERS)], tags=["holds"])
async def finish_release(request: Request, body: Proof) -> dict[str, Any]:
    """Proved: what no other hold keeps is no longer held; what is past its day is destroyed, with its certificate."""
    parts = parts_of(request)
    asked = taken(request, body.nonce, "release")
    reply = await prove(request, "hold.release", asked, body)
    free = [name for name in asked.request["recordings"] if not (await parts.keyring.ask("history", recording=name))["holds"]]
    await asyncio.to_thread(_mark, parts, free, False)
    await asyncio.to_thread(keep_certificates, parts, reply["certificates"])
    return {"log_index": reply["log_index"], "certificates": [show_certificate(item) for item in reply["certificates"]]}


def keep_certificates(parts: Parts, certificates: list[dict[str, Any]]) -> None:
    """Keep what the custodian attested; the watcher deletes the objects."""
    with parts.database.write() as connection:
        for certificate in certificates:
            keep_certificate(connection, certificate, parts.now())


def _mark(parts: Parts, recordings: list[str], held: bool) -> None:
    with parts.database.write() as connection:
        mark_held(connection, recordings, held)
    parts.live.wake()


def _read(parts: Parts, recordings: list[str]) -> tuple[dict[str, str], list[dict[str, Any]]]:
    with parts.database.read() as connection:
        began = {name: format_time(at) for name, at in get_started_at(connection, recordings).items()}
        certificates = [item for item in list_certificates(connection) if item.state != ASKED]
        return began, [show_certificate({**item.detail, "state": item.state}) for item in certificates]
