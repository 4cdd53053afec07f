"""What lies beside the log: sealing cards and certificates, each as an entry says, and the sealed words of entries.

Written from docs/spec/keys.md section 4 and docs/spec/log-entry.md section 5.
"""

import base64
import binascii
import hashlib
import json
import re

from callseal_verify.history import History
from callseal_verify.log import Log
from callseal_verify.report import Report
from callseal_verify.source import Source
from callseal_verify.tlog import Bad, open_note

FIRST_LINE = "callseal/v1/card"
EXCEPTIONS, EXCEPTIONS_FIRST_LINE = "exceptions.note", "callseal/v1/exceptions"
_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")


def check_cards(source: Source, log: Log, history: History, report: Report) -> None:
    """Every file under cards/: signed by the log's key, and equal to the entry that issued it."""
    for name in source.names("cards"):
        base = name.rsplit("/", 1)[-1]
        if base.startswith("."):
            continue
        if base == EXCEPTIONS:
            _check_exceptions(source.read(name) or b"", name, log, history, report)
            continue
        try:
            _check_card(base, open_note(source.read(name) or b"", log.key), log, history)
        except Bad as error:
            report.find("sealing card", name, str(error))
        else:
            report.count("sealing cards, each as it was issued")


def _check_exceptions(note: bytes, name: str, log: Log, history: History, report: Report) -> None:
    """The note of live exceptions: signed by the log's key, each as two persons made it, and none that had ended."""
    try:
        _compare_exceptions(open_note(note, log.key), log, history)
    except Bad as error:
        report.find("exceptions", name, str(error))
    else:
        report.count("note of exceptions, as the log has them")


def check_certificates(source: Source, history: History, report: Report) -> None:
    """Every file under certificates/: its digest stands in the entry of a destruction."""
    for name in source.names("certificates"):
        if name.rsplit("/", 1)[-1].startswith("."):
            continue
        if hashlib.sha256(source.read(name) or b"").hexdigest() in history.certificates:
            report.count("certificates, each as the log has it")
        else:
            report.find("certificate", name, "it was changed, or never issued: no destruction in the log names it")


def check_details(source: Source, report: Report) -> None:
    """Sealed words: each of an entry. What they say is checked by whoever opens them: the entry holds their salted digest."""
    for name in source.names("log/details"):
        lines = (source.read(name) or b"").split(b"\n")
        for number, line in enumerate(lines[:-1], 1):
            try:
                record = json.loads(line)
                known = isinstance(record["index"], int) and bool(base64.urlsafe_b64decode(record["sealed"] + "=="))
            except (ValueError, KeyError, TypeError):
                known = False
            if known:
                report.count("sealed details of entries, which only their key opens")
            else:
                report.find("details", f"{name} line {number}", "it was changed: it is not the sealed words of an entry")
        if lines[-1]:
            report.note("details", name, "its last line was being written when its writer was stopped; it belongs to no entry")


def _check_card(base: str, text: str, log: Log, history: History) -> None:
    lines = text.split("\n")
    if len(lines) != 7 or lines[0] != FIRST_LINE or lines[6] or not (_NUMBER.fullmatch(lines[1]) and _NUMBER.fullmatch(lines[5])):
        raise Bad("it is signed, but it is not a sealing card")
    try:
        key = base64.b64decode(lines[3], validate=True)
    except (ValueError, binascii.Error):
        raise Bad("its public key cannot be read") from None
    if base != f"{lines[1]}.card":
        raise Bad("it stands under the name of another epoch")
    issued = history.cards.get(int(lines[5]))
    if issued is None:
        ahead = int(lines[5]) >= log.head.size
        raise Bad("the log ends before the entry that issued it" if ahead else "the entry it names has not issued a card")
    digest = hashlib.sha256(key).hexdigest()
    told = {"epoch": int(lines[1]), "suite": lines[2], "public_key_sha256": digest, "not_after": lines[4]}
    if any(issued[field] != value for field, value in told.items()):
        raise Bad("the entry it names issued another card")


def _compare_exceptions(text: str, log: Log, history: History) -> None:
    """Each exception is one that two persons made, as they made it, and none had ended when the note was written."""
    lines = text.split("\n")
    if len(lines) != 5 or lines[0] != EXCEPTIONS_FIRST_LINE or lines[4] or not _NUMBER.fullmatch(lines[1]):
        raise Bad("it is signed, but it is not a note of exceptions")
    if int(lines[1]) > log.head.size:
        raise Bad("the log ends before the entry that it was written at")
    try:
        listed = json.loads(lines[3])
        digests = {one["id"]: hashlib.sha256(_canonical(one)).hexdigest() for one in listed}
    except (ValueError, KeyError, TypeError):
        raise Bad("its exceptions cannot be read") from None
    for name, digest in digests.items():
        made = history.exceptions.get(name)
        if made is None or made.digest != digest:
            raise Bad("it allows an exception that no entry of the log made so")
        if made.ended is not None and made.ended < int(lines[1]):
            raise Bad("it allows an exception that had ended when it was written")


def _canonical(value: dict[str, str]) -> bytes:
    """RFC 8785 for an object of plain texts."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
