"""The log's page: newest entries and the checkpoint, read from its public tiles, and checked before they are shown.

Source: C2SP tlog-tiles, tlog-checkpoint; docs/spec/log-entry.md.
Invariants: entries are shown only when the tiles' root is the one that the log's own key signed; detail stays sealed.
"""

import asyncio
import base64
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import HTMLResponse

from callseal.audit.checkpoint import Checkpoint, open_checkpoint
from callseal.audit.entry import read_entry
from callseal.audit.note import parse_vkey
from callseal.audit.tile import TileTree
from callseal.console.call import read_names
from callseal.console.parts import parts_of
from callseal.console.verifier import verify_installation
from callseal.console.words import reason_words
from callseal.errors import TamperedError
from callseal.web.guards import LOG_READERS

NEWEST: Final = 100
WHAT: Final = {
    "LogStarted": "The log began",
    "CustodianStarted": "The custodian started",
    "CardIssued": "A sealing card was issued",
    "EpochDestroyed": "An epoch's key was destroyed",
    "PolicySet": "The policy was set",
    "InviteCreated": "An invitation was made",
    "PersonEnrolled": "A person enrolled",
    "PersonRevoked": "A person was revoked",
    "SignedIn": "Signed in",
    "SignInRefused": "Sign-in refused",
    "OpeningAllowed": "Opening allowed",
    "OpeningDenied": "Opening denied",
    "PartAdopted": "A part was adopted",
    "PartMoved": "A part was moved",
    "PartSealed": "A part was sealed and stored",
    "PartsAnchored": "Live parts were anchored",
    "HoldPlaced": "A hold was placed",
    "HoldReleased": "A hold was released",
    "GroupDestroyed": "A group was destroyed",
    "RecordingDestroyed": "A recording was destroyed",
    "DestructionFinal": "A destruction became final",
    "ExportMade": "A copy was exported",
    "ExportGone": "An exported copy was confirmed as gone",
    "RefusalsCounted": "Refusals before sign-in",
    "CheckpointWitnessed": "A witness cosigned",
    "DeviceEnrolled": "A device may speak for the business",
    "DeviceRevoked": "A device was revoked",
    "ManifestPublished": "A manifest of devices was published",
}

router = APIRouter()


@router.get("/log", dependencies=[Depends(LOG_READERS)], include_in_schema=False)
async def show_log(request: Request) -> HTMLResponse:
    """The page."""
    return parts_of(request).pages.show(request, "log.html")


@router.get("/api/log", dependencies=[Depends(LOG_READERS)], tags=["evidence"])
async def send_log(request: Request) -> dict[str, Any]:
    """The checkpoint and the newest entries. Raises TamperedError where they do not fit each other."""
    parts = parts_of(request)
    head, entries = await asyncio.to_thread(read_newest, parts.config.data / "log", NEWEST)
    if head is None:
        return {"checkpoint": None, "entries": []}
    names = await read_names(parts)
    return {
        "checkpoint": {"size": head.size, "root": base64.b64encode(head.root).decode(), "origin": head.origin},
        "entries": [_show(index, entry, names) for index, entry in entries],
    }


@router.post("/api/log/verify", dependencies=[Depends(LOG_READERS)], tags=["evidence"])
async def verify_log(request: Request) -> dict[str, Any]:
    """Run the independent verifier over everything."""
    return await verify_installation(parts_of(request).config.data)


def read_newest(folder: Path, limit: int) -> tuple[Checkpoint | None, list[tuple[int, dict[str, Any]]]]:
    """The signed head and the newest entries with their numbers, newest first; None where the log has not begun.

    Raises TamperedError where the checkpoint's signature, the root or an entry does not fit.
    """

    def read(path: str) -> bytes | None:
        try:
            return (folder / path).read_bytes()
        except FileNotFoundError:
            return None

    note, vkey = read("checkpoint"), read("log.vkey")
    if note is None or vkey is None:
        return None, []
    verifier = parse_vkey(vkey.decode().strip())
    head = open_checkpoint(note, [verifier], verifier.name)
    tree = TileTree(head.size, read)
    if tree.root() != head.root:
        raise TamperedError("log: the entries do not have the root that the log's key signed")
    start = max(0, head.size - limit)
    entries = [(start + offset, read_entry(data)) for offset, data in enumerate(tree.entries(start, head.size))]
    return head, entries[::-1]


def _show(index: int, entry: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    what = WHAT.get(entry["type"], entry["type"])
    if entry["type"] == "Event":
        what = f"Event: {entry['event']}"
    who = entry.get("by") or entry.get("who")
    return {
        "log_index": index,
        "at": entry["at"],
        "what": f"{what} ({entry['action']})" if "action" in entry else what,
        "who": names.get(who, who) if who else None,
        "recording": entry.get("what"),
        "reason": reason_words(entry["reason_class"]) if "reason_class" in entry else None,
        "decision": entry.get("decision"),
    }
