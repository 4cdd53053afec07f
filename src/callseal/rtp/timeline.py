"""Where frames stand on a recording's timeline: RTP timestamps, anchored to their arrival.

RFC 3550 section 5.1 (a timestamp's start is random, its clock the payload's). Each source is anchored once: its newest frame of
the first batch stands at the moment it arrived. From then on only the timestamp counts, so jitter and loss move nothing.
Invariants: times are milliseconds from the recording's start, never below 0; a source whose timestamps leave its arrivals by more
than `JUMP_MS` is anchored anew.
"""

from typing import Final

import numpy as np

from callseal.rtp.header import Ints, Mask
from callseal.rtp.srtp import Frames

JUMP_MS: Final = 2000
LATE_MS: Final = 10_000
"""A frame stands at most so far from its arrival, whatever its timestamp says."""


class Timeline:
    """The anchors of all sources of a worker, by slot of `SrtpReceiver`."""

    def __init__(self, max_streams: int = 4096) -> None:
        slots = 2 * max_streams
        self._generation = np.full(slots, -1, np.int64)
        self._anchor_ms = np.zeros(slots, np.int64)
        self._anchor_timestamp = np.zeros(slots, np.int64)

    def place(self, frames: Frames, generation: Ints, arrived_ms: Ints, clock_hz: Ints) -> Ints:
        """The time of each frame in ms. By frame: its slot's generation, when it arrived (ms of its recording), its RTP clock."""
        slot = frames.slot
        stale = self._generation[slot] != generation
        if stale.any():
            self._anchor(frames, stale, generation, arrived_ms)
        at_ms = self._times(frames, clock_hz)
        astray = np.abs(at_ms - arrived_ms) > JUMP_MS
        if astray.any() and self._anchor_jumped(frames, astray, generation, arrived_ms, at_ms):
            at_ms = self._times(frames, clock_hz)
        return np.maximum(np.clip(at_ms, arrived_ms - LATE_MS, arrived_ms + JUMP_MS), 0)

    def _times(self, frames: Frames, clock_hz: Ints) -> Ints:
        since = frames.timestamp - self._anchor_timestamp[frames.slot]
        return self._anchor_ms[frames.slot] + since * 1000 // clock_hz

    def _anchor(self, frames: Frames, which: Mask, generation: Ints, arrived: Ints) -> None:
        for slot in np.unique(frames.slot[which]).tolist():
            mine = np.flatnonzero(frames.slot == slot)
            newest = mine[np.argmax(frames.index[mine])]
            self._generation[slot] = generation[newest]
            self._anchor_ms[slot] = arrived[newest]
            self._anchor_timestamp[slot] = frames.timestamp[newest]

    def _anchor_jumped(self, frames: Frames, astray: Mask, generation: Ints, arrived: Ints, at_ms: Ints) -> bool:
        """Anchor anew the sources whose newest frame is astray; one that is merely late is left where it belongs."""
        jumped = np.zeros(len(astray), np.bool_)
        for slot in np.unique(frames.slot[astray]).tolist():
            mine = np.flatnonzero(frames.slot == slot)
            newest = mine[np.argmax(frames.index[mine])]
            if astray[newest]:
                jumped[newest] = True
        if jumped.any():
            self._anchor(frames, jumped, generation, arrived)
        return bool(jumped.any())
