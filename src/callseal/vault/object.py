"""The object of a part: header, messages, plain index. Put together from spool frames without any key.

Source: docs/spec/sealed-recording.md section 6.
`header ‖ (length u32 ‖ message)* ‖ index ‖ trailer`; index = a row for each message;
trailer = `state u8 ‖ rows u32 ‖ SHA-256(header ‖ … ‖ index) ‖ "CSX1"`.
Invariants: the same frames give the same bytes; the index is compared with the messages when an object is inspected.
"""

import hashlib
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from callseal.errors import TamperedError
from callseal.vault.header import HEADER_LENGTH, PartCore, split_header
from callseal.vault.message import Kind, split_message

MAGIC = b"CSX1"
_LENGTH = struct.Struct(">I")
_ROW = struct.Struct(">QIIBI32s")
_TRAILER = struct.Struct(">BI32s4s")
ROW_LENGTH = _ROW.size
TRAILER_LENGTH = _TRAILER.size

ReadAt = Callable[[int, int], bytes]
"""(offset, length) -> bytes of the object."""


class State(IntEnum):
    """How a part ended."""

    ENDED = 1
    INTERRUPTED = 2


class IndexRow(NamedTuple):
    """Where a message stands: its bytes at offset (after its length), number, kind, first moment (ms), commitment."""

    offset: int
    length: int
    number: int
    kind: Kind
    at_ms: int
    commitment: bytes


@dataclass(frozen=True)
class Assembled:
    """A finished object and what the log says of it."""

    core: PartCore
    content: bytes
    state: State
    rows: tuple[IndexRow, ...]
    digest: bytes


def assemble(header: bytes, messages: Sequence[tuple[int, bytes]]) -> Assembled:
    """Build an object from a header and its messages as `(at_ms, message)` in order.

    Messages from the first missing number on are left out (they would not open). The state is ENDED where the last is an END.
    Raises TamperedError where the header or a message is malformed.
    """
    core, _sealed = split_header(header)
    out = bytearray(header)
    rows: list[IndexRow] = []
    for at_ms, data in messages:
        message = split_message(data)
        if message.number != len(rows) or (rows and rows[-1].kind is Kind.END):
            break
        out += _LENGTH.pack(len(data))
        rows.append(IndexRow(len(out), len(data), message.number, message.kind, at_ms, message.commitment))
        out += data
    state = State.ENDED if rows and rows[-1].kind is Kind.END else State.INTERRUPTED
    for row in rows:
        out += _ROW.pack(*row)
    checksum = hashlib.sha256(out).digest()
    out += _TRAILER.pack(state, len(rows), checksum, MAGIC)
    content = bytes(out)
    return Assembled(core, content, state, tuple(rows), part_digest(core, content, rows, state))


class ObjectReader:
    """Random access to an object through `read_at`; checks its plain structure, which needs no key."""

    def __init__(self, read_at: ReadAt, size: int) -> None:
        self._read_at = read_at
        if size < HEADER_LENGTH + TRAILER_LENGTH:
            raise TamperedError(f"object: expected at least {HEADER_LENGTH + TRAILER_LENGTH} bytes, got {size}")
        self.header = read_at(0, HEADER_LENGTH)
        self.core, _sealed = split_header(self.header)
        state, count, self.checksum, magic = _TRAILER.unpack(read_at(size - TRAILER_LENGTH, TRAILER_LENGTH))
        start = size - TRAILER_LENGTH - count * ROW_LENGTH
        if magic != MAGIC or state not in State._value2member_map_ or start < HEADER_LENGTH:
            raise TamperedError("object: its trailer is not one")
        self.state = State(state)
        self.rows = tuple(_read_row(fields) for fields in _ROW.iter_unpack(read_at(start, count * ROW_LENGTH)))
        self._check_rows(start)

    @classmethod
    def from_bytes(cls, content: bytes) -> "ObjectReader":
        """An object held in memory."""
        return cls(lambda offset, length: content[offset : offset + length], len(content))

    def message(self, number: int) -> bytes:
        """One message. Raises TamperedError where it does not exist or is not what the index says."""
        if not 0 <= number < len(self.rows):
            raise TamperedError(f"object: expected a message below {len(self.rows)}, got {number}")
        row = self.rows[number]
        data = self._read_at(row.offset, row.length)
        message = split_message(data)
        if (message.number, message.kind, message.commitment) != (row.number, row.kind, row.commitment):
            raise TamperedError(f"message {number}: it is not the one that the index names")
        return data

    def previous_commitment(self, number: int) -> bytes | None:
        """What `PartOpener.open` asks for beside a message."""
        return self.rows[number - 1].commitment if number else None

    def _check_rows(self, end: int) -> None:
        at = HEADER_LENGTH
        for number, row in enumerate(self.rows):
            at += _LENGTH.size
            if row.number != number or row.offset != at:
                raise TamperedError(f"index: row {number} does not follow the one before it")
            at += row.length
        if at != end:
            raise TamperedError("index: the messages do not end where it begins")


def inspect(content: bytes) -> ObjectReader:
    """Check everything about an object that needs no key: lengths, numbers, index, checksum. Raises TamperedError."""
    reader = ObjectReader.from_bytes(content)
    for row in reader.rows:
        if _LENGTH.unpack_from(content, row.offset - _LENGTH.size)[0] != row.length:
            raise TamperedError(f"message {row.number}: its length is not the one that the index names")
        reader.message(row.number)
    if hashlib.sha256(content[:-TRAILER_LENGTH]).digest() != reader.checksum:
        raise TamperedError("object: its checksum does not match")
    return reader


def part_digest(core: PartCore, content: bytes, rows: Iterable[IndexRow], state: State) -> bytes:
    """What the log says of a part: a hash over its header, every message with its place and moment, and how it ended."""
    digest = hashlib.sha256(b"callseal/v1/digest" + content[:HEADER_LENGTH])
    for row in rows:
        body = hashlib.sha256(content[row.offset : row.offset + row.length]).digest()
        digest.update(_LENGTH.pack(row.number) + _LENGTH.pack(row.at_ms) + body)
    digest.update(bytes([state]))
    return digest.digest()


def _read_row(fields: tuple[int, int, int, int, int, bytes]) -> IndexRow:
    offset, length, number, kind, at_ms, commitment = fields
    if kind not in Kind._value2member_map_:
        raise TamperedError(f"index: expected a kind from 1 to 4, got {kind}")
    return IndexRow(offset, length, number, Kind(kind), at_ms, commitment)
