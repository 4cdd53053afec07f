"""Copies that left the house: listed from the moment their keys were given until their holder confirms that they are deleted.

docs/spec/open-call.md section 4, "Exports". The list is made from the log alone: `OpeningAllowed` with the action `export` begins
one, `ExportMade` gives the digest of the file, `ExportGone` ends it. Invariants: who reports a file's digest has the receipt that
was given with the keys, and does it once; a confirmation is proved like an opening, and can be given for a destroyed recording.
"""

import hashlib
import hmac
import re
import struct
from datetime import datetime
from typing import Any, Final

from callseal.custodian.custody import Custody
from callseal.custodian.history import Export
from callseal.custodian.request import check_policy, deny, prove
from callseal.errors import Conflict, Denied, NotFound, RequestError
from callseal.model.ids import parse_recording_id
from callseal.model.message import to_bytes, to_text
from callseal.vault.expand import KEY_LENGTH, expand

LIST_LIMIT: Final = 1000
_INDEX: Final = struct.Struct(">Q")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


def receipt_of(custody: Custody, recording: str, index: int) -> str:
    """What entitles its holder to report the file of one export: HMAC under a key made from the log's seed."""
    return make_receipt(expand(custody.state.log_seed, "export", KEY_LENGTH), recording, index)


def make_receipt(key: bytes, recording: str, index: int) -> str:
    """HMAC-SHA256(key, u64 index ‖ recording), base64url."""
    return to_text(hmac.new(key, _INDEX.pack(index) + bytes.fromhex(recording), hashlib.sha256).digest())


def report_made(custody: Custody, message: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Log the digest of an exported file. Raises RequestError, NotFound, Denied without the receipt, Conflict a second time."""
    custody.check()
    index, export = _find(custody, message.get("index"))
    digest = message.get("digest")
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise RequestError("digest: expected 64 hex digits")
    given = to_bytes(message.get("receipt"), "receipt")
    if not hmac.compare_digest(given, to_bytes(receipt_of(custody, export.recording, index), "receipt")):
        custody.refusals.note("export")
        raise Denied("receipt: expected the one that was given with the keys")
    if export.digest is not None:
        raise Conflict("export: expected one whose file has not been reported yet")
    opened = export.entry
    made = custody.record(
        "ExportMade", now, who=opened["who"], what=export.recording, digest=digest, index=index, role=opened.get("role"),
        range=opened["range"], reason_class=opened.get("reason_class"), assertion=opened.get("assertion"),
    )  # fmt: skip
    return {"log_index": made}


def confirm_gone(custody: Custody, message: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Log, by a proved request, that an export's holder has confirmed its deletion. Raises Denied, Conflict after its entry."""
    custody.check()
    proved = prove(custody, message, ("confirm",), now)
    (recording,) = proved.recordings
    check_policy(custody, proved, now)
    index, export = _find(custody, proved.request["export"])
    if export.gone is not None:
        deny(custody, "not-possible", now, proved.request, proved)
        raise Conflict("export: expected one that is still outstanding")
    gone = custody.record(
        "ExportGone", now, what=recording, index=index, by=proved.who, why=proved.request["how"],
        policy=custody.policy.digest, **proved.fields(),
    )  # fmt: skip
    return {"log_index": gone}


def list_exports(custody: Custody, message: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Every export, or those of one recording: outstanding ones first, then the newest; at most `LIST_LIMIT`."""
    recording = message.get("recording")
    if recording is not None:
        recording = parse_recording_id(str(recording)).hex()
    found = [
        _show(custody, index, export)
        for index, export in custody.history.exports.items()
        if recording is None or export.recording == recording
    ]
    found.sort(key=lambda item: (item["gone_at"] is not None, -item["log_index"]))
    outstanding = sum(1 for item in found if item["gone_at"] is None)
    return {"exports": found[:LIST_LIMIT], "outstanding": outstanding, "all": len(found)}


def _find(custody: Custody, index: object) -> tuple[int, Export]:
    """An export by the number of the entry that allowed it. Raises NotFound."""
    if not isinstance(index, int) or index not in custody.history.exports:
        raise NotFound("export: expected the number of an entry that allowed one")
    return index, custody.history.exports[index]


def _show(custody: Custody, index: int, export: Export) -> dict[str, Any]:
    opened, gone = export.entry, export.gone or {}
    place = custody.history.recordings[export.recording]
    return {
        "log_index": index, "recording": export.recording, "at": opened["at"], "person": opened["who"],
        "role": opened.get("role", ""), "reason_class": opened.get("reason_class"), "digest": export.digest,
        "destroyed": place.destroyed or place.group not in custody.state.groups,
        "gone_at": gone.get("at"), "gone_by": gone.get("by"), "how": gone.get("why"), "gone_index": export.gone_index,
    }  # fmt: skip
