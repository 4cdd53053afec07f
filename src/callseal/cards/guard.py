"""The guards: may this audio be kept? Decided on batches of frames, before they are sealed. One explicit list: `make_guards`.

A guard sees each batch twice: when it arrives (`watch`), and when it is about to be sealed (`withhold`), a hold-back later, so
that what it learns in between counts. What it withholds is never sealed and leaves a named hole.
Invariants: a frame is kept only where every guard keeps it; a telephone-event itself is never kept; a guard that fails withholds
(its error ends the batch, see `flows.record`). No guard tells which key was pressed or what was said.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

MARGIN_MS: Final = 60
"""Voice this much before and after a tone goes with it: gateways let the first of a tone through before they name it."""
FRAME_MS: Final = 20
UNSEEN: Final = -2
INSPECTABLE: Final = frozenset({"PCMA", "PCMU", "G722"})
"""Codecs whose sound a guard can look into here, by table and without a foreign decoder beside live keys."""
EVENTS_REMEMBERED_MS: Final = 30_000
MAX_EVENTS: Final = 256
"""Tones of one stream remembered at once; beyond it, all of the stream is withheld until they age."""


@dataclass(frozen=True)
class Batch:
    """Columns of n frames: stream, time (ms of the recording), payloads one a row; `event_ms` is a telephone-event's duration
    so far, -1 for voice, and `UNSEEN` for voice of a guarded class that no guard can look into."""

    stream: Ints
    at_ms: Ints
    event_ms: Ints
    length: Ints
    payload: Bytes


@dataclass(frozen=True)
class Withheld:
    """A hole that a guard made: where, and how many tones it found for the first time."""

    stream: int
    from_ms: int
    to_ms: int
    why: str
    count: int


class Guard(Protocol):
    """One reason not to keep audio."""

    def watch(self, batch: Batch) -> list[Withheld]:
        """Look at frames as they arrive; returns what is newly found."""

    def withhold(self, batch: Batch) -> Mask:
        """Which of these frames, about to be sealed, may not be kept."""

    def forget(self, stream: int) -> None:
        """The stream is over."""


class TelephoneEvents:
    """Keypad tones (RFC 4733): the events, and the voice of the same time in the same stream."""

    def __init__(self) -> None:
        self._spans: dict[int, dict[int, int]] = {}

    def watch(self, batch: Batch) -> list[Withheld]:
        """Note where each event begins and how far it has come."""
        found = []
        for row in np.flatnonzero(batch.event_ms >= 0).tolist():
            stream, begin = int(batch.stream[row]), int(batch.at_ms[row])
            end = begin + int(batch.event_ms[row])
            spans = self._spans.setdefault(stream, {})
            if begin not in spans:
                self._prune(spans, begin)
                found.append(Withheld(stream, begin, end, "withheld", 1))
            spans[begin] = max(end, spans.get(begin, end))
        return found

    def withhold(self, batch: Batch) -> Mask:
        """The events themselves, and voice within `MARGIN_MS` of one."""
        out: Mask = batch.event_ms >= 0
        for stream, spans in self._spans.items():
            mine = np.flatnonzero(batch.stream == stream)
            if not len(mine):
                continue
            if len(spans) >= MAX_EVENTS:
                out[mine] = True
                continue
            at = batch.at_ms[mine]
            for begin, end in spans.items():
                out[mine] |= (at + FRAME_MS > begin - MARGIN_MS) & (at < end + MARGIN_MS)
        return out

    def forget(self, stream: int) -> None:
        self._spans.pop(stream, None)

    @staticmethod
    def _prune(spans: dict[int, int], now_ms: int) -> None:
        for begin in [begin for begin, end in spans.items() if end < now_ms - EVENTS_REMEMBERED_MS]:
            del spans[begin]


class Uninspected:
    """Voice of a guarded class (payments) in a codec that no guard can look into: what cannot be judged is not kept."""

    def watch(self, batch: Batch) -> list[Withheld]:
        """Nothing is learnt on arrival."""
        return []

    def withhold(self, batch: Batch) -> Mask:
        """All of it."""
        out: Mask = batch.event_ms == UNSEEN
        return out

    def forget(self, stream: int) -> None:
        """Nothing is remembered."""


def make_guards() -> tuple[Guard, ...]:
    """Every guard, in order. A new one (tones within the voice, spoken digits) is one more line here."""
    return (TelephoneEvents(), Uninspected())


def watch_all(guards: Sequence[Guard], batch: Batch) -> list[Withheld]:
    """Show arriving frames to every guard."""
    return [found for guard in guards for found in guard.watch(batch)]


def keep_mask(guards: Sequence[Guard], batch: Batch) -> Mask:
    """Which frames every guard keeps."""
    keep = np.ones(len(batch.stream), np.bool_)
    for guard in guards:
        keep &= ~guard.withhold(batch)
    return keep
