"""Exporting: a copy out of the seal, for who may, with a reason and on the record.

Invariants: only an opening that was asked for as an export is sent as a file, and once: its keys are wiped when it was sent; the
page says before and after that a copy is out of our hands, and the log gets the digest of what was sent whole.
"""

import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

from fastapi import APIRouter, Depends
from starlette.concurrency import iterate_in_threadpool
from starlette.requests import Request
from starlette.responses import StreamingResponse

from callseal.console.listen import OpeningId, find_opening
from callseal.console.parts import parts_of
from callseal.errors import CallsealError, Denied
from callseal.flows.open import report_export
from callseal.flows.opened import OpenedRecording
from callseal.web.guards import LISTENERS, signed_in
from callseal.web.sound import whole

router = APIRouter()


@router.get("/api/openings/{opening}/export", dependencies=[Depends(LISTENERS)], tags=["openings"])
def send_export(request: Request, opening: OpeningId) -> StreamingResponse:
    """WAV where we can decode it, otherwise Matroska as it came. Raises NotFound, Denied for an opening to listen only."""
    parts, session = parts_of(request), signed_in(request)
    opened = find_opening(request, opening)
    if opened.action != "export":
        raise Denied("This opening is for listening. To take a copy out, ask for an export.")
    if opened.playable:
        pieces: Iterator[bytes] = whole(opened)
        kind, suffix = "audio/wav", "wav"
    else:
        pieces, kind, suffix = opened.matroska(), "audio/x-matroska", "mka"

    async def sent() -> AsyncIterator[bytes]:
        digest = hashlib.sha256()
        try:
            async for piece in iterate_in_threadpool(pieces):
                digest.update(piece)
                yield piece
            with suppress(CallsealError):  # it is listed from its opening on; without this, the list has no digest for it
                await report_export(parts.keyring, opened, digest.hexdigest())
        finally:
            parts.openings.end(opening, session.digest, parts.clock())

    disposition = f'attachment; filename="{name_of(opened)}.{suffix}"'
    return StreamingResponse(sent(), media_type=kind, headers={"Content-Disposition": disposition})


def name_of(opened: OpenedRecording) -> str:
    """A file name that says nothing of the people: the log entry it belongs to."""
    return f"callseal-export-{opened.log_index}"
