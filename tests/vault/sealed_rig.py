"""A sealed part to try things on: real keys, real sealing."""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache

from callseal.model.ids import RecordingId
from callseal.vault.card import SealingCard
from callseal.vault.message import Kind
from callseal.vault.object import Assembled, assemble
from callseal.vault.seal import PartSealer
from callseal.vault.spool import encode_frame
from callseal.vault.tree import KeyTree
from callseal.vault.unseal import PartOpener, new_key_pair, open_header

NOT_AFTER = datetime(2026, 12, 1, tzinfo=UTC)
RECORDING = RecordingId(bytes(range(16)))
PLAIN = [(Kind.MEDIA, 0, b"head"), (Kind.META, 0, b'{"peer":"office"}')] + [(Kind.MEDIA, s * 1000, b"%d" % s * 40) for s in range(4)]
END = (Kind.END, 4000, b'{"reason":"bye"}')


@cache
def keys(epoch: int) -> tuple[bytes, bytes]:
    """Private and public key of an epoch."""
    return new_key_pair()


def card(epoch: int = 7) -> SealingCard:
    return SealingCard(epoch, keys(epoch)[1], NOT_AFTER, 3)


@dataclass(frozen=True)
class Part:
    """A part as it left its sealer."""

    header: bytes
    messages: tuple[tuple[int, bytes], ...]

    def opener(self, epoch: int = 7) -> PartOpener:
        core, dek = open_header(self.header, keys(epoch)[0])
        return PartOpener(core, KeyTree.from_seed(dek).nodes)

    def assembled(self) -> Assembled:
        return assemble(self.header, self.messages)

    def spool(self, recording: RecordingId = RECORDING, part: int = 0) -> bytes:
        payloads = [(0, self.header), *self.messages]
        return b"".join(encode_frame(recording, part, at_ms, payload) for at_ms, payload in payloads)


def seal_part(recording: RecordingId = RECORDING, part: int = 0, *, end: bool = True, epoch: int = 7) -> Part:
    """Head, META, four seconds and an END."""
    with PartSealer(recording, part, card(epoch)) as sealer:
        plain = [*PLAIN, END] if end else PLAIN
        return Part(sealer.header, tuple((at_ms, sealer.seal(kind, text)) for kind, at_ms, text in plain))
