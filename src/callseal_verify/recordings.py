"""Sealed recordings and their rows against the log: each file is what an entry says, and each that should be there is there.

Written from docs/spec/sealed-recording.md and docs/spec/log-entry.md section 5. Nothing is opened: no key is needed.
"""

import hashlib
import re

from callseal_verify.entries import Entry
from callseal_verify.history import History, Part
from callseal_verify.report import Report
from callseal_verify.sealed import Sealed, read_sealed
from callseal_verify.source import Source

UNDER_WAY_SECONDS = 120
"""A file younger than this, which the log does not know yet, is on its way into it."""

_NAME = re.compile(r"objects/([0-9a-f]{2})/([0-9a-f]{32})/(0|[1-9][0-9]{0,5})\.(csr|row)")


def check_recordings(source: Source, history: History, only: set[str] | None, recording: str | None, report: Report) -> None:
    """Every file under objects/, then every part the log knows.

    `only`: the recordings that an evidence pack holds. `recording`: the one that is asked about, where it is one.
    """
    seen: set[tuple[str, int, str]] = set()
    if recording is not None:
        only = {recording}
        if not any(what == recording for what, _ in history.parts):
            report.note("recording", recording, "the log knows no part of it")
    for name in source.names(f"objects/{recording[:2]}/{recording}" if recording is not None else "objects"):
        match = _NAME.fullmatch(name)
        if match is None or match[1] != match[2][:2]:
            _name_stranger(name, report)
            continue
        what, number, kind = match[2], int(match[3]), match[4]
        seen.add((what, number, kind))
        part = history.parts.get((what, number))
        data = source.read(name) or b""
        if part is None:
            if source.age_seconds(name) < UNDER_WAY_SECONDS:
                report.note("recording", name, "it is new, and not yet in the log")
            else:
                report.find("recording", name, "the log does not know this part: it was put here, or moved from elsewhere")
        elif kind == "csr":
            _check_object(source, name, data, what, number, part, history, report)
        else:
            _check_row(source, name, data, what, number, part, report)
    for (what, number), part in sorted(history.parts.items()):
        if only is None or what in only:
            _check_presence(what, number, part, seen, history, report)


def _check_object(
    source: Source, name: str, data: bytes, recording: str, number: int, part: Part, history: History, report: Report
) -> None:
    sealed = read_sealed(data)
    faults = [*sealed.faults, *_identity_faults(sealed, recording, number, part, history)]
    if part.sealed is None:
        if source.age_seconds(name) < UNDER_WAY_SECONDS:
            report.note("recording", name, "it is adopted, and its sealing is not yet in the log")
        else:
            report.find("recording", name, "the log holds no digest for it: it was adopted but never logged as sealed")
    else:
        faults += _sealing_faults(sealed, data, part.sealed)
    for fault in faults:
        report.find("recording", name, fault)
    if history.destroyed_by(recording, part.group) is not None:
        report.note("recording", name, "its key is destroyed; the sealed bytes are still here and open to nobody")
    elif part.sealed is not None and not faults:
        report.count("sealed parts, each as the log has it")
        report.count("sealed messages in them", len(sealed.messages))


def _identity_faults(sealed: Sealed, recording: str, number: int, part: Part, history: History) -> list[str]:
    """The header against the name it stands under, the entry that adopted it and the card it was sealed to."""
    faults = []
    if (sealed.recording, sealed.part) != (recording, number):
        faults.append("its header names another recording or part: it was swapped or moved here")
    if sealed.header_sha256 != part.adopted["header_sha256"]:
        faults.append("its header is not the one that was adopted: it was changed or swapped")
    keys = {(card["epoch"], card["public_key_sha256"]) for card in history.cards.values()}
    if (part.adopted["epoch"], sealed.key_sha256) not in keys or sealed.epoch != part.adopted["epoch"]:
        faults.append("it is sealed to a key that no sealing card in the log has")
    return faults


def _sealing_faults(sealed: Sealed, data: bytes, entry: Entry) -> list[str]:
    """The object against the entry that says how it was sealed."""
    faults = []
    if entry["object_sha256"] != hashlib.sha256(data).hexdigest():
        faults.append("it is not what was sealed: its digest is not the one in the log")
    if len(sealed.messages) != entry["messages"]:
        faults.append(f"it was cut or added to: the log has {entry['messages']} messages, and {len(sealed.messages)} can be read")
    elif sealed.messages and sealed.messages[-1].commitment.hex() != entry["last_commitment"]:
        faults.append("its last message is not the one in the log: the end was cut, swapped or spliced")
    if sealed.state != entry["state"]:
        faults.append(f"the log has it as {entry['state']}")
    return faults


def _check_row(source: Source, name: str, data: bytes, recording: str, number: int, part: Part, report: Report) -> None:
    if hashlib.sha256(data).hexdigest() == part.row:
        report.count("rows, each as the log has it")
    elif source.age_seconds(name) < UNDER_WAY_SECONDS and part.sealed is None:
        report.note("row", name, "it is new, and not yet in the log")
    elif data[:4] == b"CSW1" and (data[4:20].hex(), int.from_bytes(data[20:24])) != (recording, number):
        report.find("row", name, "it is another part's row: it was swapped or moved here")
    else:
        report.find("row", name, "it was changed, or an older one was put back: its digest is not the one in the log")


def _check_presence(
    recording: str, number: int, part: Part, seen: set[tuple[str, int, str]], history: History, report: Report
) -> None:
    base = f"objects/{recording[:2]}/{recording}/{number}"
    destroyed = history.destroyed_by(recording, part.group)
    if destroyed is not None:
        state = "final" if history.is_final(destroyed) else "pending"
        report.note("destroyed", f"recording {recording} part {number}", f"destroyed by entry {destroyed}, {state}")
        return
    if part.sealed is None:
        if (recording, number, "csr") not in seen:
            report.note("recording", f"{base}.csr", "it is adopted, and not yet sealed")
        return
    for kind, what in (("csr", "recording"), ("row", "row")):
        if (recording, number, kind) not in seen:
            report.find(what, f"{base}.{kind}", "it is missing, and the log does not say that it was destroyed")


def _name_stranger(name: str, report: Report) -> None:
    base = name.rsplit("/", 1)[-1]
    if base.startswith("."):
        report.note("recording", name, "a file that was being written when its writer was stopped; it proves nothing")
    else:
        report.find("recording", name, "it is not a file of a recording")
