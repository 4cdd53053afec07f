"""The published vectors of docs/spec/log-entry.md are what this writer writes; `python tests/audit/test_log_vectors.py` makes them anew."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from callseal.audit.entry import detail_digest, make_entry, read_entry
from callseal.audit.log import LogState
from callseal.audit.note import Signer
from callseal.errors import TamperedError

FILE = Path(__file__).parents[2] / "docs" / "spec" / "vectors" / "log-entry.json"
ORIGIN = "callseal.example/2026"
SEED = bytes(range(32))
START = datetime(2026, 1, 1, tzinfo=UTC)
RECORDING, PERSON = "00112233445566778899aabbccddeeff", "0123456789abcdef"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _entries() -> list[bytes]:
    vkey = Signer.from_seed(ORIGIN, SEED).verifier.vkey()
    own: list[tuple[str, dict[str, Any]]] = [
        ("LogStarted", {"origin": ORIGIN, "vkey_sha256": _digest(vkey)}),
        ("PolicySet", {"policy": _digest("policy")}),
        ("CardIssued", {"epoch": 1, "suite": "MLKEM768-X25519, HKDF-SHA256, AES-256-GCM", "public_key_sha256": _digest("key"),
                        "not_after": "2026-01-08T00:00:00.000Z"}),
        ("PersonEnrolled", {"who": PERSON, "role": "compliance_officer", "method": "passkey", "credential": _digest("credential")}),
        ("PartAdopted", {"what": RECORDING, "part": 0, "epoch": 1, "header_sha256": _digest("header"), "row_sha256": _digest("row"),
                         "group": "general/2026-01-01", "leaf": 7}),
        ("PartSealed", {"what": RECORDING, "part": 0, "messages": 3, "last_commitment": _digest("commitment"), "state": "ended",
                        "object_sha256": _digest("object"), "reason": "bye", "duration_ms": 2000, "gaps": 0, "gap_ms": 0}),
        ("OpeningDenied", {"who": PERSON, "what": RECORDING, "action": "listen", "range": [0, 2000], "decision": "deny", "why": "no_role"}),
        ("OpeningAllowed", {"who": PERSON, "role": "compliance_officer", "what": RECORDING, "action": "listen", "range": [0, 2000],
                            "decision": "allow", "reason_class": "complaint", "policy": _digest("policy"), "method": "passkey",
                            "weaker": False, "assertion": _digest("assertion"), "detail": detail_digest(b"\x05" * 32, b"He rang twice.")}),
        ("RecordingDestroyed", {"what": RECORDING, "driver": "file", "state": "pending", "until": "2026-01-08T00:00:00.000Z"}),
        ("DestructionFinal", {"index": 8, "driver": "file"}),
    ]  # fmt: skip
    made = [make_entry(kind, START + timedelta(seconds=i), "log", i + 1, **fields) for i, (kind, fields) in enumerate(own)]
    made += [make_entry("Event", START + timedelta(minutes=n), "media-0", n, event="Sealed", what=RECORDING, part=0) for n in range(1, 251)]
    return made


def make_vectors() -> dict[str, Any]:
    """Every value of the file."""
    signer, entries = Signer.from_seed(ORIGIN, SEED), _entries()
    logs = []
    for size in (0, 1, 2, 7, 255, 256, 260):
        state, writes = LogState(ORIGIN).append(entries[:size])
        files = {write.path: hashlib.sha256(write.data).hexdigest() for write in writes}
        note = state.checkpoint(signer).data.decode()
        logs.append({"size": size, "root": state.root().hex(), "checkpoint": note, "files": files})
    sealed = entries[5].decode()
    refused = {
        "not canonical: a space": sealed.replace('"n":6', '"n": 6'),
        "not canonical: order of names": sealed.replace('{"at":"2026-01-01T00:00:05.000Z",', "{").replace("}", ',"at":"2026-01-01T00:00:05.000Z"}'),
        "a float": sealed.replace('"messages":3', '"messages":3.0'),
        "a field too many": sealed.replace('"v":1', '"v":1,"words":"x"'),
        "a field too few": sealed.replace('"messages":3,', ""),
        "a number in a word": sealed.replace('"bye"', '"bye-07700900123"'),
        "a speaker's name": sealed.replace('"bye"', '"Ada"'),
        "an unknown type": sealed.replace("PartSealed", "PartSaved"),
        "another version": sealed.replace('"v":1', '"v":2'),
        "an id too short": sealed.replace(RECORDING, RECORDING[1:]),
        "number 0": sealed.replace('"n":6', '"n":0'),
        "too long": sealed.replace('"bye"', '"' + "b" * 4096 + '"'),
    }
    detail = {"salt": "05" * 32, "text": "He rang twice.", "detail": detail_digest(b"\x05" * 32, b"He rang twice.")}
    return {
        "origin": ORIGIN, "seed": SEED.hex(), "vkey": signer.verifier.vkey(), "entries": [entry.decode() for entry in entries],
        "logs": logs, "refused": refused, "details": [detail],
    }  # fmt: skip


def test_the_vectors_in_the_specification_are_what_is_written():
    assert json.loads(FILE.read_text(encoding="utf-8")) == make_vectors()


@pytest.mark.parametrize("fault", sorted(make_vectors()["refused"]))
def test_an_entry_with_one_fault_is_refused(fault):
    with pytest.raises(TamperedError):
        read_entry(make_vectors()["refused"][fault].encode())


if __name__ == "__main__":
    FILE.write_text(json.dumps(make_vectors(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
