"""The structure of a sealed part, which needs no key: header, messages, plain index, trailer.

Written from docs/spec/sealed-recording.md. Layout, integers big-endian:
`"CSO1" ‖ header (1,234) ‖ (length u32 ‖ message)* ‖ 53-byte index entry for each message ‖ trailer (49)`.
Everything but the moments in the index is computed anew from header and messages; the moments stand in the part's digest.
"""

import hashlib
import struct
from dataclasses import dataclass, field
from typing import NamedTuple

MAGIC, TRAILER_MAGIC = b"CSO1", b"CSX1"
SUITE = bytes.fromhex("647a00010002")
HEADER_BYTES = 66 + 1168
SHORTEST_MESSAGE = 37 + 24 + 32 + 16
STATES = {1: "ended", 2: "interrupted"}
END = 4
_CORE = struct.Struct(">4s6s16sII32s")
_PREFIX = struct.Struct(">IB32s")
_INDEX = struct.Struct(">QIIBI32s")
_TRAILER = struct.Struct(">4sBIQ32s")
_DIGEST_LINE = struct.Struct(">IBI32s")


class Message(NamedTuple):
    """One sealed message: what its index entry must say (all but its moment), and the SHA-256 of all its bytes."""

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
    digest: str = ""
    messages: list[Message] = field(default_factory=list)
    missing: int = 0
    faults: list[str] = field(default_factory=list)


def read_sealed(data: bytes) -> Sealed:
    """Read an object; what does not hold is among `faults`."""
    sealed = Sealed()
    first = len(MAGIC) + HEADER_BYTES
    if len(data) < first + _TRAILER.size:
        sealed.faults.append("it was cut: it is shorter than a header and an end")
        return sealed
    previous = _read_header(data, sealed)
    magic, state, count, index, digest = _TRAILER.unpack_from(data, len(data) - _TRAILER.size)
    if magic != TRAILER_MAGIC or state not in STATES or index < first or index + count * _INDEX.size + _TRAILER.size != len(data):
        sealed.faults.append("its end was cut or changed: there is no index to be read")
        return sealed
    sealed.state = STATES[state]
    _read_messages(data[:index], first, previous, sealed)
    moments = _check_index(data[index : -_TRAILER.size], sealed)
    if (sealed.state == "ended") != bool(sealed.messages and sealed.messages[-1].kind == END):
        sealed.faults.append("its state does not fit its last message")
    lines = [_DIGEST_LINE.pack(m.number, m.kind, at_ms, m.digest) for m, at_ms in zip(sealed.messages, moments, strict=False)]
    header = hashlib.sha256(data[len(MAGIC) : first]).digest()
    computed = hashlib.sha256(b"callseal/v1/digest" + header + bytes([state]) + b"".join(lines)).digest()
    sealed.digest = computed.hex()
    if computed != digest:
        sealed.faults.append("the digest at its end is not that of its header, messages and moments")
    return sealed


def _read_header(data: bytes, sealed: Sealed) -> bytes:
    """Names, and what message 0 must name as its predecessor: the digest of the core."""
    header = data[len(MAGIC) : len(MAGIC) + HEADER_BYTES]
    magic, suite, recording, sealed.part, sealed.epoch, key = _CORE.unpack_from(header)
    sealed.recording, sealed.key_sha256 = recording.hex(), key.hex()
    sealed.header_sha256 = hashlib.sha256(header).hexdigest()
    if data[: len(MAGIC)] != MAGIC or magic != b"CSR1" or suite != SUITE:
        sealed.faults.append("its beginning is not that of a sealed part")
    return hashlib.sha256(header[: _CORE.size]).digest()


def _read_messages(data: bytes, at: int, previous: bytes, sealed: Sealed) -> None:
    """Lengths, numbers that rise, kinds, and the chain: each message names the commitment of the one before."""
    following = 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 4])
        at += 4
        body = data[at : at + length]
        if len(body) != length or length < SHORTEST_MESSAGE:
            sealed.faults.append(f"message {following} was cut, or its length was changed")
            return
        number, kind, named = _PREFIX.unpack_from(body)
        if number < following:
            sealed.faults.append(f"message {number} stands after message {following - 1}: it was swapped or put in")
        elif number == following and named != previous:
            sealed.faults.append(f"message {number} does not follow the one before it: one of them was swapped or spliced in")
        if not 1 <= kind <= END or (sealed.messages and sealed.messages[-1].kind == END):
            sealed.faults.append(f"message {number} is of no kind that can stand there")
        sealed.missing += max(0, number - following)
        previous, following = body[61:93], number + 1
        sealed.messages.append(Message(at, length, number, kind, previous, hashlib.sha256(body).digest()))
        at += length


def _check_index(data: bytes, sealed: Sealed) -> list[int]:
    """The index against what the messages give; returns the moments, which only it holds."""
    entries = list(_INDEX.iter_unpack(data))
    if len(entries) != len(sealed.messages):
        sealed.faults.append(f"its index names {len(entries)} messages, and {len(sealed.messages)} can be read")
    for position, (entry, message) in enumerate(zip(entries, sealed.messages, strict=False)):
        offset, length, number, kind, _at_ms, commitment = entry
        if (offset, length, number, kind, commitment) != message[:5]:
            sealed.faults.append(f"entry {position} of its index is not what message {message.number} gives: one was changed")
    return [entry[4] for entry in entries]
