"""Where frames stand on a recording's timeline: RTP timestamps, anchored to their arrival.

RFC 3550 section 5.1 (a timestamp's start is random, its clock the payload's). Each source is anchored once: its newest frame of
the first batch stands at the moment it arrived. From then on only the timestamp counts, so jitter and loss move nothing. Clocks
differ, though, and two tracks would leave each other by some 0.7 s in two hours at 100 ppm: so a source whose least delayed
frames drift from where they stood in its first window by `STEP_MS` is moved by as much. Where clocks agree nothing is ever moved,
and what is heard is sample for sample what was sent.
Invariants: times are milliseconds from the recording's start, never below 0; a source whose timestamps leave its arrivals by more
than `JUMP_MS` is anchored anew; what follows a clock turns slowly, so that no frame overtakes the one before it.
"""

from typing import Final

import numpy as np

from callseal.rtp.frames import Frames
from callseal.rtp.header import Ints, Mask
from callseal.rtp.srtp import SrtpReceiver

JUMP_MS: Final = 2000
LATE_MS: Final = 10_000
"""A frame stands at most so far from its arrival, whatever its timestamp says."""
WINDOW_MS: Final = 10_000
STEP_MS: Final = 10
"""Drift that is put right, and by how much in each window: up to 1,000 ppm."""
SLEW: Final = 20
"""A correction takes so many times its own length: 5 %, of which nobody hears anything."""
_NONE: Final = np.iinfo(np.int64).max


class Timeline:
    """The anchors of all sources of a worker, by slot of `SrtpReceiver`."""

    def __init__(self, max_streams: int = 4096) -> None:
        slots = 2 * max_streams
        self._generation = np.full(slots, -1, np.int64)
        self._anchor_ms = np.zeros(slots, np.int64)
        self._anchor_timestamp = np.zeros(slots, np.int64)
        self._from_ms, self._to_ms, self._turn_ms = (np.zeros(slots, np.int64) for _ in range(3))
        """The correction before, the one that it turns into, and from which time of the source's own."""
        self._least_ms = np.full(slots, _NONE, np.int64)
        """How much later than its place the least delayed frame of the window arrived."""
        self._until_ms = np.zeros(slots, np.int64)
        self._since_ms = np.full(slots, -1, np.int64)
        """When its first window ended; -1 before."""
        self._base_ms = np.zeros(slots, np.int64)
        """What the least delay was in its first window."""
        self._moved_ms = np.zeros(slots, np.int64)
        """How far its anchor was moved since then: its drift so far."""

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
        if self._follow_clock(slot, arrived_ms, at_ms, self._since(frames, clock_hz)):
            at_ms = self._times(frames, clock_hz)
        return np.maximum(np.clip(at_ms, arrived_ms - LATE_MS, arrived_ms + JUMP_MS), 0)

    def _since(self, frames: Frames, clock_hz: Ints) -> Ints:
        """The source's own time of each frame, in ms from its anchor."""
        since: Ints = (frames.timestamp - self._anchor_timestamp[frames.slot]) * 1000 // clock_hz
        return since

    def _times(self, frames: Frames, clock_hz: Ints) -> Ints:
        slot, since = frames.slot, self._since(frames, clock_hz)
        turn = self._to_ms[slot] - self._from_ms[slot]
        turned = np.clip(since - self._turn_ms[slot], 0, SLEW * np.abs(turn)) // SLEW
        times: Ints = self._anchor_ms[slot] + since + self._from_ms[slot] + np.sign(turn) * turned
        return times

    def _follow_clock(self, slot: Ints, arrived_ms: Ints, at_ms: Ints, since_ms: Ints) -> bool:
        """Where a window has ended and its least delayed frame has drifted from that of the first, correct it.

        After a silence the drift goes on at its rate so far, at once. Returns whether frames of this batch have moved.
        """
        np.minimum.at(self._least_ms, slot, arrived_ms - at_ms)
        ended = arrived_ms >= self._until_ms[slot]
        moved_now = False
        for one in np.unique(slot[ended]).tolist() if ended.any() else ():
            mine = slot == one
            now_ms = int(arrived_ms[mine].max())
            silent_ms = now_ms - int(self._until_ms[one])
            self._from_ms[one], self._turn_ms[one] = self._to_ms[one], int(since_ms[mine].max())
            drift = int(self._least_ms[one] - self._base_ms[one])
            moved = min(max(drift, -STEP_MS), STEP_MS) if abs(drift) >= STEP_MS else 0
            if self._since_ms[one] < 0:
                self._base_ms[one], moved = self._least_ms[one], 0
                self._since_ms[one], self._moved_ms[one] = now_ms, 0
            else:
                if silent_ms > WINDOW_MS:
                    counted_ms = max(WINDOW_MS, int(self._until_ms[one] - self._since_ms[one]))
                    moved = round(int(self._moved_ms[one]) * silent_ms / counted_ms)
                    self._from_ms[one] += moved
                    moved_now = True
                self._moved_ms[one] += moved
            self._to_ms[one] += moved
            self._least_ms[one], self._until_ms[one] = _NONE, now_ms + WINDOW_MS
        return moved_now

    def _anchor(self, frames: Frames, which: Mask, receiver: SrtpReceiver, arrived_ms: Ints, clock_hz: Ints) -> None:
        """Anchor new sources; one whose key alone is new goes on where it was."""
        for slot in np.unique(frames.slot[which]).tolist():
            self._generation[slot] = receiver.generation[slot]
            parent = int(receiver.parent[slot])
            if parent >= 0 and self._generation[parent] == receiver.generation[parent]:
                self._anchor_ms[slot] = self._anchor_ms[parent]
                self._anchor_timestamp[slot] = self._anchor_timestamp[parent]
                for column in (
                    self._from_ms, self._to_ms, self._turn_ms, self._least_ms, self._until_ms, self._since_ms, self._base_ms,
                    self._moved_ms,
                ):  # fmt: skip
                    column[slot] = column[parent]
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
        self._from_ms[slot] = self._to_ms[slot] = self._turn_ms[slot] = 0
        self._least_ms[slot], self._since_ms[slot] = _NONE, -1
        self._until_ms[slot] = int(arrived_ms[newest]) + WINDOW_MS
