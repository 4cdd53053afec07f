"""One part's sealed object, and the same part with the keys of its granted seconds: ciphertext in, decoded blocks out.

Source: docs/spec/sealed-recording.md; RFC 9559 (Matroska). Step 5 of `flows.open`.
Invariants: a message is read from the object only when it is asked for; granted keys lie in `bytearray`s, which `wipe` overwrites
(what CPython copied on its way is freed, and not overwritten: so the process leaves no core and is not swapped where allowed).
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, Protocol, cast

from callseal.audio import g711
from callseal.audio.g722 import G722Decoder
from callseal.audio.matroska import TrackHead
from callseal.audio.matroska_reader import read_blocks, read_tracks
from callseal.errors import NotFound, TamperedError
from callseal.flows.opened import Block, Samples, Track
from callseal.model.call import Part
from callseal.model.message import to_bytes
from callseal.vault.expand import wipe
from callseal.vault.message import Kind
from callseal.vault.object import ObjectReader
from callseal.vault.tree import Node
from callseal.vault.unseal import PartOpener

HEAD: Final = 0
"""The message that holds the Matroska head."""
G722: Final = "G722"


class ReadsObjects(Protocol):
    """The object store, as far as this flow knows it."""

    def get_size(self, path: str) -> int:
        """An object's length in bytes. Raises NotFound, Unavailable."""

    def get_range(self, path: str, start: int, end: int) -> bytes:
        """Bytes `start` to `end` (not included). Raises NotFound, Unavailable."""


class SealedPart:
    """A part as it lies stored: its header and plain index are read, its messages when they are asked for."""

    def __init__(self, number: int, reader: ObjectReader) -> None:
        self.number = number
        self.reader = reader

    @classmethod
    def read(cls, objects: ReadsObjects, part: Part) -> "SealedPart":
        """Read header and index of a stored part. Raises NotFound, Unavailable, TamperedError."""
        path = part.path
        if path is None:
            raise NotFound("part: expected one that is stored")

        def read_at(offset: int, length: int) -> bytes:
            return objects.get_range(path, offset, offset + length) if length else b""

        reader = ObjectReader(read_at, objects.get_size(path))
        if reader.core.part != part.part or reader.core.recording.hex() != part.recording:
            raise TamperedError("object: expected the part that its path names")
        return cls(part.part, reader)

    @property
    def last(self) -> int:
        """The number of the last message."""
        return self.reader.rows[-1].number if self.reader.rows else 0

    def open(self, nodes: Sequence[Sequence[Any]]) -> "UnsealedPart":
        """The part with granted nodes `[[depth, prefix, key], …]`. Raises RequestError, TamperedError, Destroyed."""
        return UnsealedPart(self.reader, nodes)


class UnsealedPart:
    """A part whose granted messages can be unsealed and decoded until `wipe`. Not for several threads at once."""

    def __init__(self, reader: ObjectReader, nodes: Sequence[Sequence[Any]]) -> None:
        self._reader = reader
        self._keys = [bytearray(to_bytes(key, "node")) for _depth, _prefix, key in nodes]
        granted = [
            Node(int(depth), int(prefix), cast(bytes, key))  # a bytearray, so that it can be overwritten
            for (depth, prefix, _text), key in zip(nodes, self._keys, strict=True)
        ]
        self._opener: PartOpener | None = PartOpener(reader.core, granted)
        heads = read_tracks(self._unseal(HEAD))
        self.tracks = tuple(_show(head) for head in heads)
        self._codecs = {head.number: head.codec for head in heads}
        self._wideband: dict[int, tuple[int, G722Decoder]] = {}

    @property
    def messages(self) -> Sequence[tuple[int, int]]:
        """`(at_ms, n)` of each message of sound, in order."""
        return [(row.at_ms, row.number) for row in self._reader.rows if row.kind is Kind.MEDIA and row.number != HEAD]

    def blocks(self, n: int) -> list[Block]:
        """Unseal and decode message n. Raises TamperedError, Destroyed, NotFound after `wipe`."""
        return [
            Block(block.track, block.at_ms, self._decode(n, block.track, block.payload)) for block in read_blocks(self._unseal(n))
        ]

    def matroska(self) -> Iterator[bytes]:
        """The part as it came, as one Matroska file: the head, then every cluster. Raises TamperedError, Destroyed."""
        for row in self._reader.rows:
            if row.kind is Kind.MEDIA:
                yield self._unseal(row.number)

    def wipe(self) -> None:
        """Overwrite the granted keys."""
        self._opener = None
        for key in self._keys:
            wipe(key)
        self._wideband.clear()

    def _unseal(self, n: int) -> bytes:
        if self._opener is None:
            raise NotFound("This opening has ended. Open the call again, with a reason.")
        opened = self._opener.open(self._reader.message(n), self._reader.previous_commitment(n))
        if opened.kind is not Kind.MEDIA:
            raise TamperedError(f"message {n}: expected sound, got another kind")
        return opened.plaintext

    def _decode(self, n: int, track: int, payload: bytes) -> Samples:
        codec = self._codecs.get(track)
        if codec in g711.SILENCE:
            return g711.decode(codec, payload).copy()  # a table's answer may not be writable, and is overwritten later
        if codec == G722:
            return self._wideband_decoder(n, track).decode(payload)
        return _NOTHING.copy()

    def _wideband_decoder(self, n: int, track: int) -> G722Decoder:
        """The decoder that goes on from the message before; a new one after a seek, which adapts within milliseconds."""
        last, decoder = self._wideband.get(track, (-1, None))
        if decoder is None or n not in (last, last + 1):
            decoder = G722Decoder()
        self._wideband[track] = (n, decoder)
        return decoder


_NOTHING: Final = g711.decode("PCMA", b"")


def _show(head: TrackHead) -> Track:
    playable = (head.codec in g711.SILENCE or head.codec == G722) and head.channels == 1
    return Track(head.number, head.label, head.party, head.codec, head.sample_rate_hz, playable)
