"""Sealing a part: what a recorder can do, and it can do nothing else with what it sealed.

docs/spec/sealed-recording.md sections 2 and 3; docs/spec/keys.md section 5.
Invariants: the DEK is drawn here, sealed to the card's public key, made the seed of a forward tree, and overwritten, all before
the first message; a leaf lives only while its message is sealed; no key of a sealed message stays in this process.
"""

from types import TracebackType
from typing import Self

from callseal.errors import LimitExceeded
from callseal.model.ids import RecordingId
from callseal.vault import cobblestone
from callseal.vault.card import SealingCard
from callseal.vault.expand import KEY_LENGTH, Buffer, draw, scrub_freed, wipe
from callseal.vault.forward import ForwardTree
from callseal.vault.header import PartCore, seal_header
from callseal.vault.message import MESSAGES_LIMIT, PLAINTEXT_LIMIT, PREFIX_LENGTH, Kind, context_of, encode_prefix


class PartSealer:
    """One part of one recording: `header` first, then messages in order, by the process that drew its key and no other."""

    def __init__(self, recording: RecordingId, part: int, card: SealingCard) -> None:
        """Draws and seals the part's DEK. TamperedError when the card holds no public key."""
        self.core = PartCore(recording, part, card.epoch, card.key_digest())
        self._core_digest = self.core.digest()
        dek = bytearray(KEY_LENGTH)
        try:
            draw(dek)
            self.header = seal_header(self.core, dek, card.public_key)
            self._tree = ForwardTree(dek)
        finally:
            wipe(dek)
            scrub_freed()
        self._leaf = bytearray(KEY_LENGTH)
        self.commitment = self._core_digest
        """Of the newest message (of the core before message 0): what an anchor in the log names."""
        self.count = 0
        """Messages sealed so far: the number of the next one."""

    def seal(self, kind: Kind, plaintext: Buffer) -> bytearray:
        """The next message. LimitExceeded when plaintext or part is too long, or once closed; the part stays as it was."""
        plain = memoryview(plaintext).cast("B")
        if len(plain) > PLAINTEXT_LIMIT or self.count >= MESSAGES_LIMIT:
            raise LimitExceeded(f"message: expected at most {PLAINTEXT_LIMIT} bytes in one of {MESSAGES_LIMIT}, got {len(plain)}")
        prefix = encode_prefix(self.count, kind, self.commitment)
        out = bytearray(PREFIX_LENGTH + cobblestone.sealed_length(len(plain)))
        out[:PREFIX_LENGTH] = prefix
        sealed = memoryview(out)[PREFIX_LENGTH:]
        self._tree.next_leaf(self._leaf)
        try:
            cobblestone.encrypt_into(self._leaf, context_of(self._core_digest, prefix), plain, sealed)
        except BaseException:
            self.close()  # the leaf is spent and no message took it: nothing may follow
            raise
        finally:
            wipe(self._leaf)
        self.commitment = cobblestone.commitment_of(sealed)
        self.count += 1
        return out

    def close(self) -> None:
        """Forget every key; nothing more can be sealed."""
        self._tree.close()
        wipe(self._leaf)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
