"""A finished part as one object (`.csr`): header, messages, plain index, trailer; put together and read without any key.

docs/spec/sealed-recording.md section 6. `header ‖ (u32 length ‖ message)* ‖ row for each message ‖ trailer`, the trailer being
`u8 state ‖ u32 rows ‖ SHA-256 of all before it ‖ "CSX1"`.
Invariants: the same frames give the same bytes; messages stand in the order of their numbers, each once; a message that was
lost leaves a hole in the numbers and costs no other. Index and trailer are plain: `inspect` compares them with the messages,
the log's digest of the whole object says whether it is the one that was sealed, and opening proves each message.
"""

import hashlib
import hmac
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from callseal.errors import NotFound, TamperedError
from callseal.vault.header import HEADER_LENGTH, PartCore, split_header
from callseal.vault.message import MESSAGES_LIMIT, Kind, Message, split_message

MAGIC = b"CSX1"
_LENGTH = struct.Struct(">I")
_ROW = struct.Struct(">QIIBI32s")
_TRAILER = struct.Struct(">BI32s4s")
ROW_LENGTH = _ROW.size
TRAILER_LENGTH = _TRAILER.size

ReadAt = Callable[[int, int], bytes]
"""(offset, length) -> bytes of the object."""


class State(IntEnum):
    """How a part ended: with its END message, or without."""

    ENDED = 1
    INTERRUPTED = 2


class IndexRow(NamedTuple):
    """Where a message stands: its bytes at `offset` (after its length), number, kind, first moment (ms), commitment."""

    offset: int
    length: int
    number: int
    kind: Kind
    at_ms: int
    commitment: bytes


@dataclass(frozen=True)
class Assembled:
    """A finished object."""

    core: PartCore
    content: bytes
    state: State
    rows: tuple[IndexRow, ...]

    @property
    def digest(self) -> bytes:
        """SHA-256 of the object, as the log names it: any changed byte of header, message, index or state alters it."""
        return hashlib.sha256(self.content).digest()


def assemble(header: bytes, messages: Iterable[tuple[int, bytes]]) -> Assembled:
    """Build an object from a header and its messages as `(at_ms, message)`, in any order and as often as they were read.

    What stands after an END is left out. The state is ENDED where the last message is an END.
    Raises TamperedError where header or message is malformed, or two messages of one number differ.
    """
    core, _sealed = split_header(header)
    numbered: dict[int, tuple[int, bytes, Message]] = {}
    for at_ms, data in messages:
        taken = (at_ms, data, split_message(data))
        if numbered.setdefault(taken[2].number, taken) != taken:
            raise TamperedError(f"message {taken[2].number}: expected it once, got two that differ")
    out = bytearray(header)
    rows: list[IndexRow] = []
    for number in sorted(numbered):
        at_ms, data, message = numbered[number]
        out += _LENGTH.pack(len(data))
        rows.append(IndexRow(len(out), len(data), number, message.kind, at_ms, message.commitment))
        out += data
        if message.kind is Kind.END:
            break
    state = State.ENDED if rows and rows[-1].kind is Kind.END else State.INTERRUPTED
    for row in rows:
        out += _ROW.pack(*row)
    out += _TRAILER.pack(state, len(rows), hashlib.sha256(out).digest(), MAGIC)
    return Assembled(core, bytes(out), state, tuple(rows))


class ObjectReader:
    """Random access to an object through `read_at`; header, index and trailer are read at once, messages when asked for."""

    def __init__(self, read_at: ReadAt, size: int) -> None:
        """`size` in bytes. Raises TamperedError where header, index or trailer is malformed or they do not fit one another."""
        self._read_at = read_at
        if size < HEADER_LENGTH + TRAILER_LENGTH:
            raise TamperedError(f"object: expected at least {HEADER_LENGTH + TRAILER_LENGTH} bytes, got {size}")
        self.header = self._read(0, HEADER_LENGTH)
        self.core, _sealed = split_header(self.header)
        state, count, self.checksum, magic = _TRAILER.unpack(self._read(size - TRAILER_LENGTH, TRAILER_LENGTH))
        start = size - TRAILER_LENGTH - count * ROW_LENGTH
        if magic != MAGIC or state not in State._value2member_map_ or count > MESSAGES_LIMIT or start < HEADER_LENGTH:
            raise TamperedError("object: expected the trailer of one, got other bytes")
        self.state = State(state)
        self.rows = tuple(_read_row(fields) for fields in _ROW.iter_unpack(self._read(start, count * ROW_LENGTH)))
        self._check_rows(start)
        self._by_number = {row.number: row for row in self.rows}

    @classmethod
    def from_bytes(cls, content: bytes) -> "ObjectReader":
        """An object held in memory."""
        return cls(lambda offset, length: content[offset : offset + length], len(content))

    @property
    def missing(self) -> tuple[int, ...]:
        """The numbers without a message, up to the last that has one: lost to damage, or cut out."""
        last = self.rows[-1].number if self.rows else -1
        return tuple(number for number in range(last) if number not in self._by_number)

    def message(self, number: int) -> bytes:
        """One message, sealed. Raises NotFound where it is missing, TamperedError where another stands in its place."""
        row = self._by_number.get(number)
        if row is None:
            raise NotFound(f"object: expected message {number}, got an index without it")
        data = self._read(row.offset - _LENGTH.size, _LENGTH.size + row.length)
        message = split_message(data[_LENGTH.size :])
        found = (_LENGTH.unpack_from(data)[0], message.number, message.kind)
        if found != (row.length, row.number, row.kind) or not hmac.compare_digest(message.commitment, row.commitment):
            raise TamperedError(f"message {number}: expected the one that the index names, got another")
        return data[_LENGTH.size :]

    def previous_commitment(self, number: int) -> bytes | None:
        """What `PartOpener.open` asks for beside a message: the commitment before it, None where that message is missing."""
        if number == 0:
            return self.core.digest()
        row = self._by_number.get(number - 1)
        return row.commitment if row else None

    def _check_rows(self, end: int) -> None:
        at, following = HEADER_LENGTH, 0
        for row in self.rows:
            at += _LENGTH.size
            if row.offset != at or not following <= row.number < MESSAGES_LIMIT:
                raise TamperedError(f"index: expected row {row.number} to follow the one before it, got another place or number")
            at, following = at + row.length, row.number + 1
        if at != end:
            raise TamperedError(f"index: expected the messages to end where it begins at {end}, got an end at {at}")

    def _read(self, offset: int, length: int) -> bytes:
        data = self._read_at(offset, length)
        if len(data) != length:
            raise TamperedError(f"object: expected {length} bytes at {offset}, got {len(data)}")
        return data


def inspect(content: bytes) -> ObjectReader:
    """Check all of an object that can be checked without a key. TamperedError names the first thing that does not hold.

    That is: lengths, numbers, kinds, the chain of predecessors, index, state, checksum. A forger without keys can make all of
    these anew: that it is the object that was sealed is shown by its digest in the log, and by opening it.
    """
    reader = ObjectReader.from_bytes(content)
    for row in reader.rows:
        message, previous = split_message(reader.message(row.number)), reader.previous_commitment(row.number)
        if previous is not None and not hmac.compare_digest(message.previous, previous):
            raise TamperedError(f"message {row.number}: expected it to name the one before it, got another predecessor")
        if row.kind is Kind.END and row is not reader.rows[-1]:
            raise TamperedError(f"message {row.number}: expected nothing after an END, got more")
    if (reader.state is State.ENDED) != bool(reader.rows and reader.rows[-1].kind is Kind.END):
        raise TamperedError("object: expected the state that its last message shows, got another")
    if not hmac.compare_digest(hashlib.sha256(content[:-TRAILER_LENGTH]).digest(), reader.checksum):
        raise TamperedError("object: expected the checksum of its bytes, got another")
    return reader


def _read_row(fields: tuple[int, int, int, int, int, bytes]) -> IndexRow:
    offset, length, number, kind, at_ms, commitment = fields
    if kind not in Kind._value2member_map_:
        raise TamperedError(f"index: expected a kind from 1 to 4, got {kind}")
    return IndexRow(offset, length, number, Kind(kind), at_ms, commitment)
