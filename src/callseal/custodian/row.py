"""The row of a part: its key, sealed under its recording's leaf. It may be copied anywhere.

Keys-and-recordings section 3; docs/spec/open-call.md section 5. Bytes: "CSW1" ‖ recording (16) ‖ part u32 ‖ leaf u32 ‖ u8
length ‖ group ‖ C256(Ex(leaf, "dek", 32), "row" ‖ all before it, DEK).
"""

import struct
from dataclasses import dataclass

from callseal.errors import TamperedError
from callseal.model.ids import RecordingId
from callseal.vault.cobblestone import decrypt, encrypt, sealed_length
from callseal.vault.expand import KEY_LENGTH, expand

MAGIC = b"CSW1"
_HEAD = struct.Struct(">4s16sIIB")
_SEALED_LENGTH = sealed_length(KEY_LENGTH)


@dataclass(frozen=True)
class Row:
    """What a row says in clear, and its sealed key."""

    recording: RecordingId
    part: int
    group: str
    leaf: int
    sealed: bytes

    def encode(self) -> bytes:
        """Its bytes."""
        return _head(self.recording, self.part, self.group, self.leaf) + self.sealed

    def open(self, leaf_key: bytes) -> bytes:
        """The part's DEK. Raises TamperedError."""
        context = b"row" + _head(self.recording, self.part, self.group, self.leaf)
        return decrypt(expand(leaf_key, "dek", KEY_LENGTH), context, self.sealed)


def seal_row(recording: RecordingId, part: int, group: str, leaf: int, leaf_key: bytes, dek: bytes | bytearray) -> Row:
    """A new row for a part."""
    context = b"row" + _head(recording, part, group, leaf)
    return Row(recording, part, group, leaf, encrypt(expand(leaf_key, "dek", KEY_LENGTH), context, dek))


def decode_row(data: bytes) -> Row:
    """Read a row. Raises TamperedError."""
    if len(data) < _HEAD.size:
        raise TamperedError("row: expected its head, got less")
    magic, recording, part, leaf, length = _HEAD.unpack_from(data)
    sealed = data[_HEAD.size + length :]
    if magic != MAGIC or len(sealed) != _SEALED_LENGTH:
        raise TamperedError("row: expected CSW1 and a sealed key")
    try:
        group = data[_HEAD.size : _HEAD.size + length].decode("ascii")
    except UnicodeDecodeError as error:
        raise TamperedError("row: expected a group in ASCII") from error
    return Row(RecordingId(recording), part, group, leaf, sealed)


def _head(recording: RecordingId, part: int, group: str, leaf: int) -> bytes:
    name = group.encode("ascii")
    return _HEAD.pack(MAGIC, recording, part, leaf, len(name)) + name
