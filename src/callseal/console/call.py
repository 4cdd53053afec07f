"""One call's page: what it is, how it was protected, who opened it, how long it is kept, whether it is unchanged."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path
from starlette.requests import Request
from starlette.responses import HTMLResponse

from callseal.console.parts import Parts, parts_of
from callseal.console.verifier import verify_installation
from callseal.console.words import (
    CLEAR,
    STATES,
    protection_of,
    reason_words,
    role_words,
    show_call,
    show_certificate,
    show_leg,
    show_related,
)
from callseal.model.call import CallDetail, CallState, PartState
from callseal.model.message import to_text
from callseal.model.roles import CASE_CLASSES, EXPORT_ENDS, REASON_CLASSES
from callseal.store.calls import find_certificate, get_call, get_rows, list_related
from callseal.web.guards import KEEPERS, NO_AUDIO, READERS, signed_in

router = APIRouter()
Recording = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", description="32 hex digits")]


@router.get("/calls/{recording}", dependencies=[Depends(READERS)], include_in_schema=False)
def show_page(request: Request, recording: Recording) -> HTMLResponse:
    """The page. Raises NotFound."""
    parts = parts_of(request)
    with parts.database.read() as connection:
        detail = get_call(connection, recording)
        related = list_related(connection, detail.call)
        certificate = find_certificate(connection, recording, detail.call.group)
    call = detail.call
    return parts.pages.show(
        request, "call.html", call=call, state_words=STATES[CallState.DESTROYED if certificate else call.state],
        destroyed=certificate is not None or call.state is CallState.DESTROYED, stored=is_stored(detail),
        clear=sorted({leg.protection for leg in call.legs if protection_of(leg) == CLEAR}),
        legs=[show_leg(leg) for leg in call.legs], gaps=detail.gaps, related=[show_related(call, other) for other in related],
        reason_classes=REASON_CLASSES, case_classes=CASE_CLASSES, no_audio=NO_AUDIO,
        may_keep=KEEPERS.allows(signed_in(request)),
        certificate=None if certificate is None else show_certificate({**certificate.detail, "state": certificate.state}),
    )  # fmt: skip


@router.get("/api/calls/{recording}", dependencies=[Depends(READERS)], tags=["calls"])
def send_call(request: Request, recording: Recording) -> dict[str, Any]:
    """One call, its parts and its gaps. Raises NotFound."""
    detail = find_call(parts_of(request), recording)
    return show_call(detail.call) | {
        "purpose": detail.call.purpose,
        "lawful_basis": detail.call.lawful_basis,
        "digest": detail.call.digest,
        "gaps": [{"part": gap.part, "from_ms": gap.from_ms, "to_ms": gap.to_ms, "why": gap.why} for gap in detail.gaps],
        "parts": [{"part": part.part, "state": part.state.value, "sha256": part.digest} for part in detail.parts],
    }


@router.get("/api/calls/{recording}/history", dependencies=[Depends(READERS)], tags=["calls"])
async def send_history(request: Request, recording: Recording) -> dict[str, Any]:
    """Who opened it and who was refused, from the log, newest first. Raises NotFound, Unavailable."""
    parts = parts_of(request)
    rows = await asyncio.to_thread(_rows, parts, recording)
    reply = await parts.keyring.ask("history", recording=recording, row=to_text(rows[0]) if rows else None)
    names = await read_names(parts)
    entries = [
        {
            "at": entry["at"],
            "who": names.get(entry["person"], entry["person"]),
            "role": role_words(entry["role"]),
            "action": entry["action"],
            "reason": reason_words(entry.get("reason_class")),
            "decision": entry["decision"],
            "log_index": entry["log_index"],
        }
        for entry in reply["entries"]
    ]
    exports = await parts.keyring.ask("exports.list", recording=recording)
    return {
        "entries": sorted(entries, key=lambda entry: int(entry["log_index"]), reverse=True),
        "exports": [show_export(export, names) for export in exports["exports"]],
    }


@router.post("/api/calls/{recording}/verify", dependencies=[Depends(READERS)], tags=["evidence"])
async def verify_call(request: Request, recording: Recording) -> dict[str, Any]:
    """Run the independent verifier and tell what it says of this recording. Raises NotFound, Unavailable."""
    parts = parts_of(request)
    await asyncio.to_thread(find_call, parts, recording)
    return await verify_installation(parts.config.data, recording)


def find_call(parts: Parts, recording: str) -> CallDetail:
    """One call with all that is known of it. Raises NotFound."""
    with parts.database.read() as connection:
        return get_call(connection, recording)


def is_stored(detail: CallDetail) -> bool:
    """Whether every part stands sealed in the object store, so that it can be heard and verified."""
    return bool(detail.parts) and all(part.state is PartState.SEALED and part.path for part in detail.parts)


def show_export(export: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """A copy that left: who took it, when and why, and whether its end is confirmed."""
    gone = export["gone_at"] is not None
    return {
        "log_index": export["log_index"],
        "recording": export["recording"],
        "at": export["at"],
        "who": names.get(export["person"], export["person"]),
        "role": role_words(export["role"]),
        "reason": reason_words(export["reason_class"]),
        "sha256": export["digest"],
        "destroyed": export["destroyed"],
        "outstanding": not gone,
        "gone_at": export["gone_at"],
        "gone_by": names.get(export["gone_by"], export["gone_by"]),
        "how": EXPORT_ENDS.get(export["how"] or ""),
        "gone_index": export["gone_index"],
    }


async def read_names(parts: Parts) -> dict[str, str]:
    """People's names by their random ids, from the custodian, which alone keeps them."""
    people = (await parts.keyring.ask("people.list")).get("people", [])
    return {person["person"]: person["name"] for person in people}


def _rows(parts: Parts, recording: str) -> list[bytes]:
    with parts.database.read() as connection:
        get_call(connection, recording)
        return get_rows(connection, recording)
