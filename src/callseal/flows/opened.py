"""What an opening holds, and how its granted seconds become sound: steps 5 and 6 of `flows.open`.

Blocks of each track are placed on the recording's own timeline by their true times, so that a gap stays a silence of its own
length. Where the timeline followed a speaker's clock by a millisecond or two, the block before is resampled to fit: nothing is
cut. Samples are 16 bit; the rate is the highest of the tracks, and a slower track is repeated to it.
Invariants: a second is unsealed when it is asked for; at most `KEPT_MESSAGES` decoded messages are kept, and they are overwritten
with the keys when the opening ends; after that every question raises NotFound.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from callseal.errors import NotAcceptable, NotFound
from callseal.model.call import Gap

Samples = NDArray[np.int16]

KEPT_MESSAGES: Final = 16
FITTED_MS: Final = 2
"""What two blocks stand apart or overlap where the timeline has followed a clock (`rtp.timeline.STEP_MS`); more is a gap."""
NEIGHBOURS_MS: Final = 2500
"""How far a block may stand from the time at which its message was sealed: one second of sound, and late packets."""


@dataclass(frozen=True)
class Track:
    """One speaker. `number` counts from 1; `playable` says that the codec can be decoded here."""

    number: int
    label: str
    party: str
    codec: str
    rate_hz: int
    playable: bool


@dataclass(frozen=True)
class Block:
    """Decoded sound of one track: where it begins, in milliseconds of the recording, and its samples at the track's rate."""

    track: int
    at_ms: int
    samples: Samples


class OpenedPart(Protocol):
    """One part with the keys of its granted seconds."""

    @property
    def tracks(self) -> tuple[Track, ...]:
        """The tracks of this part."""

    @property
    def messages(self) -> Sequence[tuple[int, int]]:
        """`(at_ms, n)` of each media message, in order; the time is the plain one, near the true time."""

    def blocks(self, n: int) -> list[Block]:
        """Unseal and decode message n. Raises TamperedError, Destroyed."""

    def matroska(self) -> Iterator[bytes]:
        """The part as it came, as a Matroska file (RFC 9559), piece by piece. Raises TamperedError, Destroyed."""

    def wipe(self) -> None:
        """Overwrite the keys."""


class OpenedRecording:
    """A recording whose seconds can be heard until `wipe`. Safe for several threads."""

    def __init__(
        self, parts: Sequence[OpenedPart], duration_ms: int, gaps: Sequence[Gap], log_index: int, *,
        weaker: bool, action: str = "listen", participants: Sequence[Mapping[str, Any]] = (),
        words: Sequence[Mapping[str, Any]] = (), receipt: tuple[int, str] | None = None,
    ) -> None:  # fmt: skip
        self._parts = tuple(parts)
        self._kept: OrderedDict[tuple[int, int], list[Block]] = OrderedDict()
        self._lock = threading.Lock()
        self._wiped = False
        self.duration_ms = duration_ms
        self.gaps = tuple(gaps)
        self.log_index = log_index
        self.weaker = weaker
        self.action = action
        self.participants = tuple(dict(person) for person in participants)
        self.words = tuple(dict(entry) for entry in words)
        self.receipt = receipt
        self.tracks = _all_tracks(self._parts)
        self.playable = bool(self.tracks) and all(track.playable for track in self.tracks)
        self.rate_hz = max((track.rate_hz for track in self.tracks if track.playable), default=8000)

    @property
    def frames(self) -> int:
        """Length in samples at `rate_hz`."""
        return self.duration_ms * self.rate_hz // 1000

    def samples(self, tracks: Sequence[int], first: int, last: int) -> Samples:
        """Samples `first` to `last` (exclusive) of these tracks: shape (last − first, number of tracks).

        Raises NotFound after `wipe`, TamperedError where a message does not fit its key.
        """
        sound = np.zeros((last - first, len(tracks)), dtype=np.int16)
        from_ms, to_ms = first * 1000 // self.rate_hz, -(-last * 1000 // self.rate_hz)
        found: dict[int, list[Block]] = {track: [] for track in tracks}
        with self._lock:
            self._check()
            for number, part in enumerate(self._parts):
                for at_ms, n in part.messages:
                    if from_ms - NEIGHBOURS_MS <= at_ms <= to_ms + NEIGHBOURS_MS:
                        for block in self._blocks(number, part, n):
                            if block.track in found:
                                found[block.track].append(block)
            for lane, track in enumerate(tracks):
                self._lay(sorted(found[track], key=lambda block: block.at_ms), sound[:, lane], first)
        return sound

    def peaks(self, columns: int) -> dict[int, list[int]]:
        """The loudest sample in each of at most `columns` equal spans, 0 to 100, by track. Raises NotFound, TamperedError."""
        columns = max(1, min(columns, self.duration_ms // 10))
        edges = np.linspace(0, self.frames, columns + 1).astype(np.int64)
        numbers = [track.number for track in self.tracks if track.playable]
        loudest = np.zeros((columns, len(numbers)), dtype=np.int64)
        for start in range(0, self.frames, self.rate_hz):
            end = min(start + self.rate_hz, self.frames)
            sound = np.abs(self.samples(numbers, start, end).astype(np.int32))
            column = np.clip(np.searchsorted(edges, np.arange(start, end), side="right") - 1, 0, columns - 1)
            np.maximum.at(loudest, column, sound)
        scaled = (loudest * 100 // 32768).astype(int)
        return {number: scaled[:, place].tolist() for place, number in enumerate(numbers)} | {
            track.number: [] for track in self.tracks if not track.playable
        }

    def matroska(self) -> Iterator[bytes]:
        """The first part as it came, codec and all. Raises NotFound, NotAcceptable where there are several parts."""
        self._check()
        if len(self._parts) != 1:
            raise NotAcceptable(f"export as it came: expected a recording of one part, got {len(self._parts)}")
        return iter(self._parts[0].matroska())

    def wipe(self) -> None:
        """Overwrite keys and decoded sound; everything after raises NotFound."""
        with self._lock:
            self._wiped = True
            for part in self._parts:
                part.wipe()
            while self._kept:
                _forget(self._kept.popitem()[1])
            self.participants = self.words = ()

    def _check(self) -> None:
        if self._wiped:
            raise NotFound("This opening has ended. Open the call again, with a reason.")

    def _blocks(self, number: int, part: OpenedPart, n: int) -> list[Block]:
        known = self._kept.pop((number, n), None)
        blocks = part.blocks(n) if known is None else known
        self._kept[number, n] = blocks
        while len(self._kept) > KEPT_MESSAGES:
            _forget(self._kept.popitem(last=False)[1])
        return blocks

    def _lay(self, blocks: list[Block], lane: Samples, first: int) -> None:
        """Place one track's blocks, in order of time, each fitted to the one after it."""
        for block, after in zip_longest(blocks, blocks[1:]):
            at = block.at_ms * self.rate_hz // 1000 - first
            if at >= len(lane):
                break
            rate = next(track.rate_hz for track in self.tracks if track.number == block.track)
            samples = np.repeat(_fit(block, after, rate), self.rate_hz // rate)
            start, end = max(0, at), min(len(lane), at + len(samples))
            if start < end:
                lane[start:end] = samples[start - at : end - at]


def _fit(block: Block, after: Block | None, rate_hz: int) -> Samples:
    """A block's samples, as many as lie between it and the one after where that begins a little later or sooner than it ends."""
    if after is None or not len(after.samples):
        return block.samples
    room = (after.at_ms - block.at_ms) * rate_hz // 1000
    if not 0 < abs(room - len(block.samples)) <= FITTED_MS * rate_hz // 1000:
        return block.samples
    known = np.append(block.samples, after.samples[0])
    fitted: Samples = np.rint(np.interp(np.linspace(0, len(block.samples), room, endpoint=False), np.arange(len(known)), known))
    return fitted.astype(np.int16)


def _all_tracks(parts: Sequence[OpenedPart]) -> tuple[Track, ...]:
    """Each track once; the first part that has it says what it is."""
    found: dict[int, Track] = {}
    for part in parts:
        for track in part.tracks:
            found.setdefault(track.number, track)
    return tuple(found[number] for number in sorted(found))


def _forget(blocks: list[Block]) -> None:
    for block in blocks:
        block.samples.fill(0)
