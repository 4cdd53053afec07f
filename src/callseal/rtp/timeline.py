"""Where frames stand on a recording's timeline: RTP timestamps, anchored to their arrival.

RFC 3550 section 5.1 (a timestamp's start is random, its clock the payload's). Each source is anchored once: its newest frame of
the first batch stands at the moment it arrived. From then on only the timestamp counts, so jitter and loss move nothing.
Invariants: times are milliseconds from the recording's start, never below 0; a source whose timestamps leave its arrivals by more
than `JUMP_MS` is anchored anew.
"""

from typing import Final

import numpy as np

from callseal.rtp.frames import Frames
from callseal.rtp.header import Ints, Mask
from callseal.rtp.srtp import SrtpReceiver

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

    def place(self, frames: Frames, receiver: SrtpReceiver, arrived_ms: Ints, clock_hz: Ints) -> Ints:
        """The time of each frame in ms. By frame: when it arrived (ms of its recording) and its RTP clock."""
        generation = receiver.generation[frames.slot]
        slot = frames.slot
        stale = self._generation[slot] != generation
        if stale.any():
            self._anchor(frames, stale, receiver, arrived_ms, clock_hz)
        at_ms = self._times(frames, clock_hz)
        astray = np.abs(at_ms - arrived_ms) > JUMP_MS
        if astray.any() and self._anchor_jumped(frames, astray, arrived_ms, clock_hz):
            at_ms = self._times(frames, clock_hz)
        return np.maximum(np.clip(at_ms, arrived_ms - LATE_MS, arrived_ms + JUMP_MS), 0)

    def _times(self, frames: Frames, clock_hz: Ints) -> Ints:
        since = frames.timestamp - self._anchor_timestamp[frames.slot]
        return self._anchor_ms[frames.slot] + since * 1000 // clock_hz

    def _anchor(self, frames: Frames, which: Mask, receiver: SrtpReceiver, arrived_ms: Ints, clock_hz: Ints) -> None:
        """Anchor new sources; one whose key alone is new goes on where it was."""
        for slot in np.unique(frames.slot[which]).tolist():
            self._generation[slot] = receiver.generation[slot]
            parent = int(receiver.parent[slot])
            if parent >= 0 and self._generation[parent] == receiver.generation[parent]:
                self._anchor_ms[slot] = self._anchor_ms[parent]
                self._anchor_timestamp[slot] = self._anchor_timestamp[parent]
            else:
                self._anchor_newest(frames, slot, arrived_ms, clock_hz)

    def _anchor_jumped(self, frames: Frames, astray: Mask, arrived_ms: Ints, clock_hz: Ints) -> bool:
        """Anchor anew the sources whose newest frame is astray; a frame that is merely late is left where it belongs."""
        jumped = False
        for slot in np.unique(frames.slot[astray]).tolist():
            mine = np.flatnonzero(frames.slot == slot)
            if astray[mine[np.argmax(frames.index[mine])]]:
                self._anchor_newest(frames, slot, arrived_ms, clock_hz)
                jumped = True
        return jumped

    def _anchor_newest(self, frames: Frames, slot: int, arrived_ms: Ints, clock_hz: Ints) -> None:
        """The newest frame stands where it arrived, or so much later that the oldest of its batch stands at 0."""
        mine = np.flatnonzero(frames.slot == slot)
        newest = mine[np.argmax(frames.index[mine])]
        span = int(frames.timestamp[newest] - frames.timestamp[mine].min()) * 1000 // int(clock_hz[newest])
        self._anchor_ms[slot] = max(int(arrived_ms[newest]), min(span, JUMP_MS))
        self._anchor_timestamp[slot] = frames.timestamp[newest]
