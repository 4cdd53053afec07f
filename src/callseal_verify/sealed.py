"""The structure of a sealed part, which needs no key: header, messages, plain index, trailer.

Written from docs/spec/sealed-recording.md sections 2, 3 and 6. Layout, integers big-endian:
`header (1,228) ‖ (length u32 ‖ message)* ‖ 53-byte row for each message ‖ state u8 ‖ rows u32 ‖ SHA-256 of all before ‖ "CSX1"`.
A message begins with its number, its kind and the commitment of the message before, so that a swap or splice shows without a key.
"""

import hashlib
import struct
from dataclasses import dataclass, field
from typing import NamedTuple

HEADER_BYTES = 60 + 1168
SHORTEST_MESSAGE = 37 + 24 + 32 + 16
STATES = {1: "ended", 2: "interrupted"}
END = 4
_CORE = struct.Struct(">4s16sII32s")
_PREFIX = struct.Struct(">IB32s")
_ROW = struct.Struct(">QIIBI32s")
_TRAILER = struct.Struct(">BI32s4s")


class Message(NamedTuple):
    """One sealed message: what its row of the index must say, all but its moment."""

    offset: int
    length: int
    number: int
    kind: int
    commitment: bytes


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
    faults: list[str] = field(default_factory=list)


def read_sealed(data: bytes) -> Sealed:
    """Read an object; what does not hold is among `faults`."""
    sealed = Sealed()
    if len(data) < HEADER_BYTES + _TRAILER.size:
        sealed.faults.append("it was cut: it is shorter than a header and an end")
        return sealed
    previous = _read_header(data[:HEADER_BYTES], sealed)
    state, count, checksum, magic = _TRAILER.unpack_from(data, len(data) - _TRAILER.size)
    index = len(data) - _TRAILER.size - count * _ROW.size
    if magic != b"CSX1" or state not in STATES or index < HEADER_BYTES:
        sealed.faults.append("its end was cut or changed: there is no index to be read")
        return sealed
    sealed.state = STATES[state]
    _read_messages(data[:index], previous, sealed)
    _check_index(data[index : -_TRAILER.size], sealed)
    if (sealed.state == "ended") != bool(sealed.messages and sealed.messages[-1].kind == END):
        sealed.faults.append("its state does not fit its last message")
    if hashlib.sha256(data[: -_TRAILER.size]).digest() != checksum:
        sealed.faults.append("the checksum at its end is not that of its bytes")
    return sealed


def _read_header(header: bytes, sealed: Sealed) -> bytes:
    """Names, and what message 0 must name as its predecessor: the digest of the core."""
    magic, recording, sealed.part, sealed.epoch, key = _CORE.unpack_from(header)
    sealed.recording, sealed.key_sha256 = recording.hex(), key.hex()
    sealed.header_sha256 = hashlib.sha256(header).hexdigest()
    if magic != b"CSR1":
        sealed.faults.append("its beginning is not that of a sealed part")
    return hashlib.sha256(header[: _CORE.size]).digest()


def _read_messages(data: bytes, previous: bytes, sealed: Sealed) -> None:
    """Lengths, numbers, kinds, and the chain: each message names the commitment of the one before."""
    at = HEADER_BYTES
    while at < len(data):
        expected = len(sealed.messages)
        length = int.from_bytes(data[at : at + 4])
        at += 4
        body = data[at : at + length]
        if len(body) != length or length < SHORTEST_MESSAGE:
            sealed.faults.append(f"message {expected} was cut, or its length was changed")
            return
        number, kind, named = _PREFIX.unpack_from(body)
        if number != expected:
            sealed.faults.append(f"message {number} stands where message {expected} should: one was cut, swapped or put in")
        elif named != previous:
            sealed.faults.append(f"message {number} does not follow the one before it: one was changed, swapped or spliced in")
        if not 1 <= kind <= END or (sealed.messages and sealed.messages[-1].kind == END):
            sealed.faults.append(f"message {number} is of no kind that can stand there")
        previous = body[61:93]
        sealed.messages.append(Message(at, length, number, kind, previous))
        at += length


def _check_index(data: bytes, sealed: Sealed) -> None:
    """The index against what the messages give."""
    rows = list(_ROW.iter_unpack(data))
    if len(rows) != len(sealed.messages):
        sealed.faults.append(f"its index names {len(rows)} messages, and {len(sealed.messages)} can be read")
    for position, (row, message) in enumerate(zip(rows, sealed.messages, strict=False)):
        offset, length, number, kind, _at_ms, commitment = row
        if (offset, length, number, kind, commitment) != message:
            sealed.faults.append(f"row {position} of its index is not what message {message.number} gives: one was changed")
