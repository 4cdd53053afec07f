"""Log entries: their spelling, their shape by the table of docs/spec/log-entry.md, and the numbers of their sources.

An entry that is not of the table is a finding even where the log's key signed it: it may hold what must never stand in a log.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from callseal_verify.log import Log
from callseal_verify.report import Report

Entry = dict[str, Any]

_DIGEST, _ID8, _ID16 = r"[0-9a-f]{64}", r"[0-9a-f]{16}", r"[0-9a-f]{32}"
_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
_WORD = r"(?!.*\d{4})[a-z][a-z0-9_-]{0,31}"
_ORIGIN = r"[a-z0-9][a-z0-9./-]{0,127}"

TEXTS = {
    "type": r"[A-Z][A-Za-z]+",
    "at": _TIME,
    "source": r"[a-z]{1,16}(-\d{1,3})?",
    "action": "listen|export|metadata|hold|release|erase|confirm|invite|revoke|policy|people|enrol_device|revoke_device"
    "|except|approve|withdraw",
    "decision": "allow|deny",
    "driver": _WORD,
    "event": "CallStarted|CallUpdated|CallEnded|OddityNoticed|OfferRefused|PeerRefused|BadRequest|PartStarted|Sealed|Gap"
    "|TonesWithheld|PacketsFailed|PartEnded|WorkerStarted|WorkerStopped|PartAdopted|ObjectWritten|SpoolFreed|SignedIn|SignInRefused"
    "|AudioRefused|CardStale|CustodianAway|DiskLow|VoiceMissing|SignallingLost|DrainBegan|DrainEnded|CallNotSealed"
    "|StreamHeard|CertificateExpiring|ExceptionBegan|ExceptionEnded|EventsDropped|SealingLate|Other",
    "group": r"(?!.*\d{5})[a-z][a-z0-9_-]{0,31}/\d{4}-\d\d-\d\d",
    "hold": _ID16,
    "same_call_as": _ID16,
    "kind": _WORD,
    "method": "passkey|totp",
    "not_after": _TIME,
    "origin": _ORIGIN,
    "previous_origin": _ORIGIN,
    "reason": _WORD,
    "reason_class": "complaint|quality|training|dispute|subject_request|fraud|safeguarding|technical",
    "role": "agent|manager|compliance_officer|dpo|auditor|administrator",
    "started_at": _TIME,
    "state": "ended|interrupted|pending|final",
    "suite": "MLKEM768-X25519, HKDF-SHA256, AES-256-GCM",
    "until": _TIME,
    "what": _ID16,
    "who": _ID8,
    "by": _ID8,
    "why": _WORD,
    "witness": r"[0-9a-f]{8}",
}
DIGESTS = {
    "assertion", "card_sha256", "certificate", "credential", "detail", "device", "digest", "header_sha256", "kid",
    "last_commitment", "manifest", "object_sha256", "policy", "previous_root", "public_key_sha256", "request", "root",
    "row_sha256", "vkey_sha256",
}  # fmt: skip
TEXTS |= dict.fromkeys(DIGESTS, _DIGEST)

COUNTS = {
    "cell", "count", "duration_ms", "epoch", "gap_ms", "gaps", "index", "leaf", "messages", "n", "part", "parts",
    "previous_size", "sequence", "size", "status", "through", "v",
}  # fmt: skip

_PERSON = "by role method weaker assertion request policy detail"
_OPENING = "role method weaker reason_class policy assertion request detail part parts"
_HOLD = f"who what part row_sha256 count reason_class {_PERSON}"
_DESTROYED = f"who why reason_class count cell until certificate group leaf {_PERSON}"

TYPES = {
    "LogStarted": ("origin vkey_sha256", "previous_origin previous_size previous_root"),
    "CustodianStarted": ("", "cell epoch driver policy"),
    "CardIssued": ("epoch suite public_key_sha256 not_after", "cell"),
    "EpochDestroyed": ("epoch", "cell count"),
    "PolicySet": ("policy", f"who {_PERSON}"),
    "InviteCreated": ("role", f"digest {_PERSON}"),
    "PersonEnrolled": ("who role method", f"credential {_PERSON}"),
    "PersonRevoked": ("who", f"why {_PERSON}"),
    "SignedIn": ("who role method", "weaker credential assertion"),
    "SignInRefused": ("why", "who role method count"),
    "OpeningAllowed": ("who what action range decision", _OPENING),
    "OpeningDenied": ("decision why", f"who what action range {_OPENING}"),
    "PartAdopted": ("what part header_sha256 row_sha256 epoch", "started_at same_call_as group leaf"),
    "PartMoved": ("what part row_sha256", "why group leaf"),
    "PartSealed": ("what part messages last_commitment object_sha256 state", "reason duration_ms gaps gap_ms"),
    "PartsAnchored": ("root count", "digest"),
    "HoldPlaced": ("hold", _HOLD),
    "HoldReleased": ("hold", _HOLD),
    "GroupDestroyed": ("group driver state", _DESTROYED),
    "RecordingDestroyed": ("what driver state", _DESTROYED),
    "DestructionFinal": ("index driver", "what cell certificate group leaf"),
    "ExportMade": ("who what digest", "role range index detail assertion reason_class"),
    "ExportGone": ("what index by why", _PERSON),
    "ExceptionAsked": ("what digest by", _PERSON),
    "ExceptionMade": ("what digest by who until", _PERSON),
    "ExceptionEnded": ("what why", _PERSON),
    "Event": ("event", "through what part digest who role why status count detail reason"),
    "RefusalsCounted": ("kind count", "through why"),
    "CheckpointWitnessed": ("size root witness", "origin"),
    "DeviceEnrolled": ("device who not_after", _PERSON),
    "DeviceRevoked": ("device who", f"why {_PERSON}"),
    "ManifestPublished": ("sequence manifest kid", "not_after count"),
}


def read_entries(log: Log, report: Report) -> Iterator[tuple[int, Entry]]:
    """Each entry that may be believed, with its index; findings for the others, and for numbers that are missing."""
    follows: dict[str, int] = {}
    broken = False
    for index, data in enumerate(log.entries):
        entry = _parse(data) if data is not None else None
        if data is None or entry is None:
            broken = True
            if data is not None:
                report.find("log entry", f"entry {index}", "it is signed, but it is not canonical JSON of at most 4 KiB")
            continue
        problem = find_problem(entry)
        if problem:
            report.find("log entry", f"entry {index}", f"it is signed, but {problem}")
            broken = True
            continue
        _check_number(index, entry, follows, broken, log, report)
        yield index, entry
    report.count("sources whose numbers have no gap", len(follows))


def find_problem(entry: Entry) -> str:
    """What keeps an object from being an entry of the table; empty where it is one."""
    kind = entry.get("type")
    if not isinstance(kind, str) or kind not in TYPES:
        return "its type is not in the table"
    must, may = (set(names.split()) for names in TYPES[kind])
    must |= {"v", "type", "at", "source", "n"}
    missing, foreign = must - set(entry), set(entry) - must - may
    if missing:
        return f"a {kind} lacks {', '.join(sorted(missing))}"
    if foreign:
        return f"a {kind} has a field that it may not have"
    for name, value in entry.items():
        if not _fits(name, value):
            return f"{kind}.{name} holds what it may not hold"
    if entry["v"] != 1 or entry["n"] < 1 or entry.get("through", entry["n"]) < entry["n"]:
        return f"the version or number of a {kind} is wrong"
    return ""


def _parse(data: bytes) -> Entry | None:
    """Canonical JSON (RFC 8785; all names here are ASCII, so that sorting them is plain); None for anything else."""
    try:
        entry = json.loads(data.decode())
        same = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() == data
    except (ValueError, RecursionError):
        return None
    return entry if same and isinstance(entry, dict) and len(data) <= 4096 else None


def _fits(name: str, value: Any) -> bool:
    if name in TEXTS:
        return isinstance(value, str) and value.isascii() and re.fullmatch(TEXTS[name], value) is not None
    if name in COUNTS:
        return _is_count(value)
    if name == "weaker":
        return isinstance(value, bool)
    return name == "range" and isinstance(value, list) and len(value) == 2 and all(map(_is_count, value)) and value[0] <= value[1]


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53


def _check_number(index: int, entry: Entry, follows: dict[str, int], broken: bool, log: Log, report: Report) -> None:
    """Each source counts from 1 without a gap; a later year's log goes on from the year before, which is not read here."""
    source, number = entry["source"], entry["n"]
    if index == 0 and (entry["type"] != "LogStarted" or entry["origin"] != log.head.origin):
        report.find("log entry", "entry 0", "the log does not begin with the start of this log")
    if index == 0 and "previous_origin" in entry:
        follows["*"] = 0
    expected = follows.get(source, 1)
    if number != expected and not broken and (source in follows or "*" not in follows):
        what = f"numbers {expected} to {number - 1} are missing" if number > expected else f"number {number} comes a second time"
        report.find("log entry", f"entry {index}, source {source}", f"{what}: an event was left out, or put in twice")
    follows[source] = max(entry.get("through", number), number) + 1
