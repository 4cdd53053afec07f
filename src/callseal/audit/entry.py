"""Log entries: which types there are, which fields each has, and what a field may hold. Nothing else gets in.

docs/spec/log-entry.md. An entry is one canonical JSON object (RFC 8785) of at most 4 KiB. Invariants: a field holds an integer, a
boolean, a digest, a random id, a time or a short word, so that no name, number or speech can stand in the log; free text is
sealed elsewhere and stands here as `detail`, a salted digest; `n` counts each source's entries and events without a gap.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from callseal.audit import canonical
from callseal.errors import RequestError, TamperedError
from callseal.model.clock import format_time
from callseal.model.roles import REASON_CLASSES, ROLES

VERSION = 1
MAX_ENTRY_BYTES = 4096
SALT_BYTES = 32
DETAIL_LABEL = b"callseal/v1/detail"

EVENTS = (
    "CallStarted", "CallUpdated", "CallEnded", "OddityNoticed", "OfferRefused", "PeerRefused", "BadRequest",
    "PartStarted", "Sealed", "Gap", "TonesWithheld", "PacketsFailed", "PartEnded", "WorkerStarted", "WorkerStopped",
    "PartAdopted", "ObjectWritten", "SpoolFreed", "SignedIn", "SignInRefused", "AudioRefused",
    "CardStale", "CustodianAway", "DiskLow", "VoiceMissing", "SignallingLost", "DrainBegan", "DrainEnded",
    "CallNotSealed", "StreamHeard", "CertificateExpiring", "ExceptionBegan", "ExceptionEnded", "EventsDropped",
    "SealingLate", "Other",
)  # fmt: skip
"""What an `Event` may be called; one that is not yet on the list is relayed as `Other`, so that its number is not missing."""

Check = Callable[[Any], bool]


def _matches(pattern: str) -> Check:
    compiled = re.compile(pattern)
    return lambda value: isinstance(value, str) and compiled.fullmatch(value) is not None


def _one_of(*words: str) -> Check:
    return lambda value: isinstance(value, str) and value in words


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= canonical.MAX_INTEGER


def _is_span(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_count, value)) and value[0] <= value[1]


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


_digest = _matches(r"[0-9a-f]{64}")
_id8 = _matches(r"[0-9a-f]{16}")
_id16 = _matches(r"[0-9a-f]{32}")
_time = _matches(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")
_word = _matches(r"(?!.*[0-9]{4})[a-z][a-z0-9_-]{0,31}")
_source = _matches(r"[a-z]{1,16}(-[0-9]{1,3})?")
_origin = _matches(r"[a-z0-9][a-z0-9./-]{0,127}")

FIELDS: dict[str, Check] = {
    "v": lambda value: type(value) is int and value == VERSION,
    "type": lambda value: isinstance(value, str) and value in TYPES,
    "at": _time,
    "source": _source,
    "n": lambda value: _is_count(value) and value > 0,
    "through": _is_count,
    "action": _one_of(
        "listen", "export", "metadata", "hold", "release", "erase", "confirm", "invite", "revoke", "policy", "people",
        "enrol_device", "revoke_device",
        "except", "approve", "withdraw",
    ),
    "assertion": _digest,
    "by": _id8,
    "card_sha256": _digest,
    "cell": _is_count,
    "certificate": _digest,
    "count": _is_count,
    "credential": _digest,
    "decision": _one_of("allow", "deny"),
    "detail": _digest,
    "device": _digest,
    "digest": _digest,
    "driver": _word,
    "duration_ms": _is_count,
    "epoch": _is_count,
    "event": _one_of(*EVENTS),
    "gap_ms": _is_count,
    "gaps": _is_count,
    "group": _matches(r"(?!.*[0-9]{5})[a-z][a-z0-9_-]{0,31}/[0-9]{4}-[0-9]{2}-[0-9]{2}"),
    "header_sha256": _digest,
    "hold": _id16,
    "index": _is_count,
    "kid": _digest,
    "kind": _word,
    "last_commitment": _digest,
    "leaf": _is_count,
    "manifest": _digest,
    "messages": _is_count,
    "method": _one_of("passkey", "totp"),
    "not_after": _time,
    "object_sha256": _digest,
    "origin": _origin,
    "part": _is_count,
    "parts": _is_count,
    "policy": _digest,
    "previous_origin": _origin,
    "previous_root": _digest,
    "previous_size": _is_count,
    "public_key_sha256": _digest,
    "range": _is_span,
    "reason": _word,
    "reason_class": _one_of(*REASON_CLASSES),
    "request": _digest,
    "role": _one_of(*ROLES),
    "root": _digest,
    "row_sha256": _digest,
    "sequence": _is_count,
    "same_call_as": _id16,
    "size": _is_count,
    "started_at": _time,
    "state": _one_of("ended", "interrupted", "pending", "final"),
    "status": _is_count,
    "suite": _one_of("MLKEM768-X25519, HKDF-SHA256, AES-256-GCM"),
    "until": _time,
    "vkey_sha256": _digest,
    "weaker": _is_flag,
    "what": _id16,
    "who": _id8,
    "why": _word,
    "witness": _matches(r"[0-9a-f]{8}"),
}
"""Every field there is, and what it may hold."""

COMMON = frozenset({"v", "type", "at", "source", "n"})

_PERSON = "by role method weaker assertion request policy detail"
_OPENING = "role method weaker reason_class policy assertion request detail part parts"
_HOLD = f"who what part row_sha256 count reason_class {_PERSON}"
_GROUP = "group leaf"
_DESTROYED = f"who why reason_class count cell until certificate {_GROUP} {_PERSON}"

TYPES: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    name: (frozenset(must.split()), frozenset(may.split()))
    for name, must, may in [
        ("LogStarted", "origin vkey_sha256", "previous_origin previous_size previous_root"),
        ("CustodianStarted", "", "cell epoch driver policy"),
        ("CardIssued", "epoch suite public_key_sha256 not_after", "cell"),
        ("EpochDestroyed", "epoch", "cell count"),
        ("PolicySet", "policy", f"who {_PERSON}"),
        ("InviteCreated", "role", f"digest {_PERSON}"),
        ("PersonEnrolled", "who role method", f"credential {_PERSON}"),
        ("PersonRevoked", "who", f"why {_PERSON}"),
        ("SignedIn", "who role method", "weaker credential assertion"),
        ("SignInRefused", "why", "who role method count"),
        ("OpeningAllowed", "who what action range decision", _OPENING),
        ("OpeningDenied", "decision why", f"who what action range {_OPENING}"),
        ("PartAdopted", "what part header_sha256 row_sha256 epoch", f"started_at same_call_as {_GROUP}"),
        ("PartMoved", "what part row_sha256", f"why {_GROUP}"),
        ("PartSealed", "what part messages last_commitment object_sha256 state", "reason duration_ms gaps gap_ms"),
        ("PartsAnchored", "root count", "digest"),
        ("HoldPlaced", "hold", _HOLD),
        ("HoldReleased", "hold", _HOLD),
        ("GroupDestroyed", "group driver state", _DESTROYED),
        ("RecordingDestroyed", "what driver state", _DESTROYED),
        ("DestructionFinal", "index driver", f"what cell certificate {_GROUP}"),
        ("ExportMade", "who what digest", "role range index detail assertion reason_class"),
        ("ExportGone", "what index by why", _PERSON),
        ("ExceptionAsked", "what digest by", _PERSON),
        ("ExceptionMade", "what digest by who until", _PERSON),
        ("ExceptionEnded", "what why", _PERSON),
        ("Event", "event", "through what part digest who role why status count detail reason"),
        ("RefusalsCounted", "kind count", "through why"),
        ("CheckpointWitnessed", "size root witness", "origin"),
        ("DeviceEnrolled", "device who not_after", _PERSON),
        ("DeviceRevoked", "device who", f"why {_PERSON}"),
        ("ManifestPublished", "sequence manifest kid", "not_after count"),
    ]
}
"""Each type: the fields it must have, and those it may have, beside `COMMON`."""


def make_entry(kind: str, at: datetime, source: str, n: int, /, **fields: Any) -> bytes:
    """The canonical bytes of one entry; a field that is None is left out. Raises RequestError naming what does not fit."""
    entry: dict[str, Any] = {"v": VERSION, "type": kind, "at": format_time(at), "source": source, "n": n}
    entry |= {name: value for name, value in fields.items() if value is not None}
    problem = find_problem(entry)
    if problem:
        raise RequestError(f"log entry: {problem}")
    data = canonical.encode(entry)
    if len(data) > MAX_ENTRY_BYTES:
        raise RequestError(f"log entry: expected at most {MAX_ENTRY_BYTES} bytes, got {len(data)}")
    return data


def read_entry(data: bytes) -> dict[str, Any]:
    """The fields of one entry; raises TamperedError where it is not canonical or not of the table."""
    entry = canonical.decode(data, MAX_ENTRY_BYTES)
    if not isinstance(entry, dict):
        raise TamperedError("log entry: expected an object")
    problem = find_problem(entry)
    if problem:
        raise TamperedError(f"log entry: {problem}")
    return entry


def find_problem(entry: Mapping[str, Any]) -> str | None:
    """What keeps this from being an entry, in words without its values; None where it is one."""
    kind = entry.get("type")
    if not isinstance(kind, str) or kind not in TYPES:
        return "type: expected one of the table"
    must, may = TYPES[kind]
    for name in sorted(COMMON | must):
        if name not in entry:
            return f"{kind}: expected the field {name}, got none"
    for name, value in entry.items():
        if name not in COMMON and name not in must and name not in may:
            return f"{kind}: expected only its own fields, got another"
        if not FIELDS[name](value):
            return f"{kind}.{name}: expected {_EXPECTED.get(name, 'a value of its kind')}, got something else"
    if entry.get("through", entry["n"]) < entry["n"]:
        return f"{kind}.through: expected at least n"
    return None


def detail_digest(salt: bytes, detail: bytes) -> str:
    """What stands in `detail`: SHA-256(label ‖ 32-byte salt ‖ detail), hex. Salt and detail are sealed with the recording."""
    if len(salt) != SALT_BYTES:
        raise RequestError(f"detail: expected a salt of {SALT_BYTES} bytes, got {len(salt)}")
    return hashlib.sha256(DETAIL_LABEL + salt + detail).hexdigest()


_EXPECTED = {
    "at": "RFC 3339 with milliseconds and Z",
    "range": "[from_ms, to_ms]",
    "group": "CLASS/YYYY-MM-DD",
    "reason_class": "a class of the table",
    "role": "a role of the table",
    "why": "a short word",
    "reason": "a short word",
    "what": "32 hex digits",
    "who": "16 hex digits",
}
