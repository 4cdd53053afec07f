"""The structure of a sealed part, which needs no key: header, messages, plain index, trailer.

Written from docs/spec/sealed-recording.md sections 2, 3 and 6. Layout, integers big-endian:
`header (1,228) ‖ (length u32 ‖ message)* ‖ row (53) for each message ‖ state u8 ‖ rows u32 ‖ SHA-256 of all before ‖ "CSX1"`.
"""

import hashlib
import struct
from dataclasses import dataclass, field
from typing import NamedTuple

HEADER_BYTES = 60 + 1168
SHORTEST_MESSAGE = 5 + 24 + 32 + 16
STATES = {1: "ended", 2: "interrupted"}
END = 4
_CORE = struct.Struct(">4s16sII32s")
_ROW = struct.Struct(">QIIBI32s")
_TRAILER = struct.Struct(">BI32s4s")


class Message(NamedTuple):
    """One sealed message as it stands: where, its number and kind, its commitment, and a digest of all its bytes."""

    offset: int
    length: int
    number: int
    kind: int
    commitment: bytes
    digest: bytes


@dataclass
class Sealed:
    """What an object says of itself, and what is wrong with it, in words."""

    recording: str = ""
    part: int = -1
    epoch: int = -1
    key_sha256: str = ""
    header_sha256: str = ""
    state: str = ""
    messages: list[Message] = field(default_factory=list)
    moments: list[int] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    digest: str = ""


def read_sealed(data: bytes) -> Sealed:
    """Read an object; what does not hold is among `faults`."""
    sealed = Sealed()
    if len(data) < HEADER_BYTES + _TRAILER.size:
        sealed.faults.append("it was cut: it is shorter than a header and an end")
        return sealed
    magic, recording, sealed.part, sealed.epoch, key = _CORE.unpack_from(data)
    sealed.recording, sealed.key_sha256 = recording.hex(), key.hex()
    sealed.header_sha256 = hashlib.sha256(data[:HEADER_BYTES]).hexdigest()
    if magic != b"CSR1":
        sealed.faults.append("its header does not begin as one")
    state, count, checksum, end = _TRAILER.unpack_from(data, len(data) - _TRAILER.size)
    start = len(data) - _TRAILER.size - count * _ROW.size
    if end != b"CSX1" or state not in STATES or start < HEADER_BYTES:
        sealed.faults.append("its end was cut or changed: there is no index to be read")
        return sealed
    sealed.state = STATES[state]
    _read_messages(data, start, sealed)
    _check_index(data, start, count, sealed)
    if hashlib.sha256(data[: -_TRAILER.size]).digest() != checksum:
        sealed.faults.append("its checksum does not match its bytes")
    if (STATES[state] == "ended") != bool(sealed.messages and sealed.messages[-1].kind == END):
        sealed.faults.append("its state does not fit its last message")
    sealed.digest = _part_digest(data, state, sealed)
    return sealed


def _read_messages(data: bytes, end: int, sealed: Sealed) -> None:
    at = HEADER_BYTES
    while at < end:
        length = int.from_bytes(data[at : at + 4])
        at += 4
        body = data[at : min(at + length, end)]
        if len(body) != length or length < SHORTEST_MESSAGE:
            sealed.faults.append(f"message {len(sealed.messages)} was cut, or its length was changed")
            return
        number, kind = int.from_bytes(body[:4]), body[4]
        if number != len(sealed.messages):
            expected = len(sealed.messages)
            sealed.faults.append(f"message {number} stands where message {expected} should: one was cut, swapped or put in")
        if not 1 <= kind <= END or (sealed.messages and sealed.messages[-1].kind == END):
            sealed.faults.append(f"message {number} is of no kind that can stand there")
        sealed.messages.append(Message(at, length, number, kind, body[29:61], hashlib.sha256(body).digest()))
        at += length


def _check_index(data: bytes, start: int, count: int, sealed: Sealed) -> None:
    """The index, computed anew from the messages (all but the moments, which only it holds)."""
    rows = list(_ROW.iter_unpack(data[start : start + count * _ROW.size]))
    sealed.moments = [row[4] for row in rows]
    if len(rows) != len(sealed.messages):
        sealed.faults.append(f"its index names {len(rows)} messages, and {len(sealed.messages)} can be read")
    for number, (row, message) in enumerate(zip(rows, sealed.messages, strict=False)):
        offset, length, named, kind, _at_ms, commitment = row
        if (offset, length, named, kind, commitment) != message[:5]:
            sealed.faults.append(f"row {number} of its index is not what message {number} gives: one of them was changed")


def _part_digest(data: bytes, state: int, sealed: Sealed) -> str:
    """The digest of a part: over its header, every message with its number and moment, and how it ended."""
    digest = hashlib.sha256(b"callseal/v1/digest" + data[:HEADER_BYTES])
    for message, at_ms in zip(sealed.messages, sealed.moments, strict=False):
        digest.update(struct.pack(">II", message.number, at_ms) + message.digest)
    digest.update(bytes([state]))
    return digest.hexdigest()
