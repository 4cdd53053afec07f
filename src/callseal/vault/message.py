"""The messages of a part: `n u32 ‖ kind u8 ‖ Cobblestone-256 ciphertext`, chained by their commitments.

Source: docs/spec/sealed-recording.md section 3.
"""

import struct
from enum import IntEnum
from typing import NamedTuple

from callseal.errors import TamperedError
from callseal.vault.cobblestone import OVERHEAD, TAG_LENGTH, commitment_of

_HEAD = struct.Struct(">IB")
MESSAGE_LIMIT = 4 << 20
SHORTEST = _HEAD.size + OVERHEAD + TAG_LENGTH


class Kind(IntEnum):
    """What a message holds."""

    MEDIA = 1
    PEAKS = 2
    META = 3
    END = 4


class Message(NamedTuple):
    """A sealed message taken apart; nothing in it is verified before it is opened."""

    number: int
    kind: Kind
    ciphertext: bytes

    @property
    def commitment(self) -> bytes:
        """The 32-byte commitment to its key, which the next message's context names."""
        return commitment_of(self.ciphertext)


def join_message(number: int, kind: Kind, ciphertext: bytes) -> bytes:
    """The bytes of a message."""
    return _HEAD.pack(number, kind) + ciphertext


def split_message(data: bytes) -> Message:
    """Take a message apart. Raises TamperedError for a length or kind that no message has."""
    if not SHORTEST <= len(data) <= MESSAGE_LIMIT:
        raise TamperedError(f"message: expected {SHORTEST} to {MESSAGE_LIMIT} bytes, got {len(data)}")
    number, kind = _HEAD.unpack_from(data)
    if kind not in Kind._value2member_map_:
        raise TamperedError(f"message {number}: expected a kind from 1 to 4, got {kind}")
    return Message(number, Kind(kind), data[_HEAD.size :])


def context_of(core_digest: bytes, number: int, kind: Kind, previous: bytes) -> bytes:
    """What a message's key is bound to: the part, its place, its kind, and all before it."""
    return b"seg" + core_digest + _HEAD.pack(number, kind) + previous
