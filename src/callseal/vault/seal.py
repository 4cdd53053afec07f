"""Sealing one part of a recording: keys are drawn here, used once, and gone.

Source: docs/spec/sealed-recording.md sections 2 and 3. This module cannot open anything.
Invariants: the DEK lives only until it is sealed to the custodian; after `seal` returns, no key of that message is left.
"""

import os

from callseal.errors import LimitExceeded
from callseal.model.ids import RecordingId
from callseal.vault.card import SealingCard
from callseal.vault.cobblestone import commitment_of, encrypt
from callseal.vault.expand import wipe
from callseal.vault.forward import ForwardTree
from callseal.vault.header import PartCore, hpke_suite, load_public_key
from callseal.vault.message import MESSAGE_LIMIT, Kind, context_of, join_message

PLAINTEXT_LIMIT = MESSAGE_LIMIT - (1 << 16)


class PartSealer:
    """One part: `header` first, then messages in order. A part never outlives the process that drew its key."""

    def __init__(self, recording: RecordingId, part: int, card: SealingCard) -> None:
        self.core = PartCore(recording, part, card.epoch, card.key_digest())
        self._core_digest = self.core.digest()
        dek = bytearray(32)
        for at in range(32):  # a byte at a time: `os.urandom(32)` would leave a copy of the whole key behind
            dek[at] = os.urandom(1)[0]
        try:
            sealed = hpke_suite().encrypt(dek, load_public_key(card.public_key), self.core.info())
            self.header = self.core.encode() + sealed
            self._tree = ForwardTree(dek)
        finally:
            wipe(dek)
        self._leaf = bytearray(32)
        self.count = 0
        self.commitment = self._core_digest

    def seal(self, kind: Kind, plaintext: bytes | bytearray | memoryview) -> bytes:
        """The next message of this part. Raises LimitExceeded where the plaintext is too long or the part is closed."""
        if len(plaintext) > PLAINTEXT_LIMIT:
            raise LimitExceeded(f"message: expected at most {PLAINTEXT_LIMIT} bytes, got {len(plaintext)}")
        number = self._tree.next_leaf(self._leaf)
        try:
            ciphertext = encrypt(self._leaf, context_of(self._core_digest, number, kind, self.commitment), plaintext)
        finally:
            wipe(self._leaf)
        self.commitment = commitment_of(ciphertext)
        self.count = number + 1
        return join_message(number, kind, ciphertext)

    def close(self) -> None:
        """Forget every key; nothing more can be sealed."""
        self._tree.close()
