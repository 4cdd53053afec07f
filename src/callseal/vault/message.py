"""One sealed message of a part: its number, its kind and its predecessor in the clear, the rest sealed.

docs/spec/sealed-recording.md section 3: `u32 n ‖ u8 kind ‖ previous (32) ‖ Cobblestone-256 ciphertext`.
Invariants: all that stands in the clear is repeated in the sealing context, so none of it can be changed; each message opens
without its neighbours, so damage to one costs only that one; a message is never rewritten.
"""

import struct
from enum import IntEnum
from typing import NamedTuple

from callseal.errors import TamperedError
from callseal.vault import cobblestone


class Kind(IntEnum):
    """What a message holds."""

    MEDIA = 1
    PEAKS = 2
    META = 3
    END = 4


_PREFIX = struct.Struct(">IB32s")
PREFIX_LENGTH = _PREFIX.size
PLAINTEXT_LIMIT = 1 << 20
"""Bytes in one message before sealing."""

MESSAGES_LIMIT = 1_000_000
"""Messages in one part: eleven days at one a second."""

SHORTEST = PREFIX_LENGTH + cobblestone.sealed_length(0)
MESSAGE_LIMIT = PREFIX_LENGTH + cobblestone.sealed_length(PLAINTEXT_LIMIT)


class Message(NamedTuple):
    """A sealed message taken apart; nothing in it is verified before it is opened."""

    number: int
    kind: Kind
    previous: bytes
    """The commitment of the message before; for message 0, the digest of the core."""
    ciphertext: bytes

    @property
    def commitment(self) -> bytes:
        """The 32-byte commitment that the next message names as its predecessor."""
        return cobblestone.commitment_of(self.ciphertext)


def encode_prefix(number: int, kind: Kind, previous: bytes) -> bytes:
    """The first `PREFIX_LENGTH` bytes of a message."""
    return _PREFIX.pack(number, kind, previous)


def context_of(core_digest: bytes, prefix: bytes) -> bytes:
    """What a message's key is bound to, "seg" ‖ SHA-256(core) ‖ n ‖ kind ‖ previous: its part, place, kind and all before it."""
    return b"seg" + core_digest + prefix


def split_message(message: bytes) -> Message:
    """Take a message apart. TamperedError for a length, number or kind that no message has; more is proved by opening it."""
    if not SHORTEST <= len(message) <= MESSAGE_LIMIT:
        raise TamperedError(f"message: expected {SHORTEST} to {MESSAGE_LIMIT} bytes, got {len(message)}")
    number, kind, previous = _PREFIX.unpack_from(message)
    if number >= MESSAGES_LIMIT or kind not in Kind._value2member_map_:
        raise TamperedError(f"message: expected a number below {MESSAGES_LIMIT} and a kind from 1 to 4, got {number} and {kind}")
    return Message(number, Kind(kind), previous, message[PREFIX_LENGTH:])
