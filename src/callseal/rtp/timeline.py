"""Where frames stand on a recording's timeline: RTP timestamps, anchored to their arrival.

RFC 3550 section 5.1 (a timestamp's start is random, its clock the payload's). Each source is anchored once: its newest frame of
the first batch stands at the moment it arrived. From then on only the timestamp counts, so jitter and loss move nothing. Clocks
differ, though, and two tracks would leave each other by some 0.7 s in two hours at 100 ppm; and a first frame may come late. So a
source that stands more than `PLAY_MS` from where its least delayed frames say (`rtp.drift`) is moved: by at most `STEP_MS` a wake
while it speaks; at once after a silence, or a leap, if nothing that was said before is overlaid. Where clocks agree nothing is
moved, and what is heard is sample for sample what was sent.
Invariants: times are whole milliseconds from the recording's start, never below 0; within a batch a source's frames stand exactly
as far apart as their timestamps; steps are shorter than a frame, so that none overtakes the one before it; a source whose
timestamps leave its arrivals by more than `JUMP_MS` is anchored anew.
"""

from collections.abc import Callable
from typing import Final

import numpy as np

from callseal.rtp.drift import LEAP_MS, Drift
from callseal.rtp.frames import Frames
from callseal.rtp.header import Ints, Mask
from callseal.rtp.srtp import SrtpReceiver

JUMP_MS: Final = 2000
LATE_MS: Final = 10_000
"""A frame stands at most so far from its arrival, whatever its timestamp says."""
WINDOW_MS: Final = 5000
BATCHES: Final = 15
"""So long, and in so many batches, the least delayed frame is looked for: no packet time divides the time between two wakes, so
that some batch ends in a packet that has just arrived."""
PLAY_MS: Final = 3
"""Less than this is left alone: so much is the grain of whole milliseconds, and of a busy machine that reads its clock late."""
STEP_MS: Final = 2
"""One frame of 20 ms is at most a tenth longer or shorter, and the next nine are as they were: nobody hears anything of it."""
SILENT_MS: Final = 500
AGAIN_MS: Final = 1000
"""So soon a window that has not had its batches is looked at again."""
_NONE: Final = 1 << 60


def unknown_age(_stream: int) -> int:
    """The age of what was read last of a stream, where nobody knows it: as if it had come this moment."""
    return 0


class Timeline:
    """The anchors of all sources of a worker, by slot of `SrtpReceiver`.

    `age_ms(stream)` says how long before it was in our hands the newest packet of a batch had arrived.
    """

    def __init__(self, max_streams: int = 4096, age_ms: Callable[[int], int] = unknown_age) -> None:
        slots = 2 * max_streams
        self._age_ms = age_ms
        self._generation = np.full(slots, -1, np.int64)
        self._anchor_timestamp, self._anchor_ms, self._moved_ms = (np.zeros(slots, np.int64) for _ in range(3))
        """A timestamp, where it stands now, and how far that was moved."""
        self._heard_ms, self._began_ms, self._due_ms = (np.zeros(slots, np.int64) for _ in range(3))
        """When it was heard last, when its window began, when its place is looked at again."""
        self._batches = np.zeros(slots, np.int64)
        """Of its window, so far."""
        self._least_ms = np.full(slots, _NONE, np.int64)
        """How much later than its place, had that never been moved, the least delayed frame of the window arrived."""
        self._drift = Drift(slots)
        self._columns = (
            self._anchor_timestamp, self._anchor_ms, self._moved_ms, self._heard_ms, self._began_ms, self._due_ms, self._batches,
            self._least_ms, *self._drift.columns,
        )  # fmt: skip

    def place(self, frames: Frames, receiver: SrtpReceiver, arrived_ms: Ints, clock_hz: Ints) -> Ints:
        """The time of each frame in ms. By frame: when it was in our hands (ms of its recording) and its RTP clock."""
        starts = np.flatnonzero(np.diff(frames.slot, prepend=-1))
        slots, now_ms = frames.slot[starts], arrived_ms[starts]
        stale = self._generation[slots] != receiver.generation[slots]
        if stale.any():
            self._anchor(frames, slots[stale], receiver, arrived_ms, clock_hz)
        due = now_ms >= np.minimum(self._due_ms[slots], self._heard_ms[slots] + SILENT_MS)
        if due.any():
            which, first = np.unique(slots[due], return_index=True)
            self._look(which, now_ms[due][first])
        self._heard_ms[slots] = now_ms
        late_ms, at_ms = self._late(frames, arrived_ms, clock_hz)
        astray = np.abs(late_ms) > JUMP_MS
        if astray.any():
            if self._anchor_jumped(frames, astray, arrived_ms, clock_hz):
                late_ms, anew_ms = self._late(frames, arrived_ms, clock_hz)
                at_ms = np.where(astray, anew_ms, at_ms)
            late_ms = np.where(np.abs(late_ms) > JUMP_MS, 2 * _NONE, late_ms)
        self._learn(slots, np.minimum.reduceat(late_ms, starts))
        return np.maximum(np.clip(at_ms, arrived_ms - LATE_MS, arrived_ms + JUMP_MS), 0)

    def _late(self, frames: Frames, arrived_ms: Ints, clock_hz: Ints) -> tuple[Ints, Ints]:
        """How much later than its place each frame arrived, and that place."""
        since = (frames.timestamp - self._anchor_timestamp[frames.slot]) * 1000 // clock_hz
        at_ms = self._anchor_ms[frames.slot] + since
        return arrived_ms - at_ms, at_ms

    def _learn(self, slots: Ints, late_ms: Ints) -> None:
        """Keep each source's least delay; what stands after it arrived is looked at in the next batch."""
        self._batches[slots] += 1
        least_ms = late_ms + self._moved_ms[slots]
        np.minimum.at(self._least_ms, slots, least_ms)
        early = late_ms < -PLAY_MS
        if early.any():
            self._drift.come_early(slots[early], least_ms[early])
            self._due_ms[slots[early]] = 0

    def _look(self, slots: Ints, now_ms: Ints) -> None:
        """Measure the windows that have ended; move these sources, each named once, towards where their clocks run."""
        silent_ms = now_ms - self._heard_ms[slots]
        if (gone := silent_ms > WINDOW_MS).any():
            self._begin_window(slots[gone], now_ms[gone])
        heard = (self._batches[slots] >= BATCHES) & (self._least_ms[slots] < _NONE)
        ended = heard & (now_ms >= self._began_ms[slots] + WINDOW_MS)
        if ended.any():
            over = slots[ended]
            self._drift.measure(over, (self._began_ms[over] + now_ms[ended]) // 2, self._least_ms[over])
            self._begin_window(over, now_ms[ended])
        astray = self._drift.expect(slots, now_ms) - self._moved_ms[slots]
        led = astray + self._drift.lead(slots) * PLAY_MS
        beyond = np.ceil(np.maximum(np.abs(led) - PLAY_MS, 0))
        later = (astray > 0) & ((silent_ms >= SILENT_MS) | (beyond > LEAP_MS))
        at_once = (beyond > 0) & (later | (np.abs(astray) < silent_ms / 100))
        step = np.where(at_once, np.rint(astray), np.sign(led) * np.minimum(beyond, STEP_MS)).astype(np.int64)
        self._anchor_ms[slots] += step
        self._moved_ms[slots] += step
        more = (beyond > STEP_MS) & ~at_once
        self._due_ms[slots] = np.where(more, 0, np.maximum(self._began_ms[slots] + WINDOW_MS, now_ms + AGAIN_MS))

    def _begin_window(self, slots: Ints, now_ms: Ints) -> None:
        self._least_ms[slots], self._batches[slots], self._began_ms[slots] = _NONE, 0, now_ms

    def _anchor(self, frames: Frames, stale: Ints, receiver: SrtpReceiver, arrived_ms: Ints, clock_hz: Ints) -> None:
        """Anchor new sources; one whose key alone is new goes on where it was."""
        for slot in np.unique(stale).tolist():
            self._generation[slot] = receiver.generation[slot]
            parent = int(receiver.parent[slot])
            if parent >= 0 and self._generation[parent] == receiver.generation[parent]:
                for column in self._columns:
                    column[slot] = column[parent]
            else:
                self._anchor_newest(frames, slot, frames.slot == slot, arrived_ms, clock_hz)

    def _anchor_jumped(self, frames: Frames, astray: Mask, arrived_ms: Ints, clock_hz: Ints) -> bool:
        """Anchor anew the sources whose newest frame is astray; a frame that is merely late is left where it belongs."""
        jumped = False
        for slot in np.unique(frames.slot[astray]).tolist():
            mine = np.flatnonzero(frames.slot == slot)
            if astray[mine[np.argmax(frames.index[mine])]]:
                self._anchor_newest(frames, slot, astray & (frames.slot == slot), arrived_ms, clock_hz)
                jumped = True
        return jumped

    def _anchor_newest(self, frames: Frames, slot: int, which: Mask, arrived_ms: Ints, clock_hz: Ints) -> None:
        """The newest of these frames stands where it arrived, or so much later that the oldest of them stands at 0."""
        mine = np.flatnonzero(which)
        newest = mine[np.argmax(frames.index[mine])]
        span = int(frames.timestamp[newest] - frames.timestamp[mine].min()) * 1000 // int(clock_hz[newest])
        now_ms = int(arrived_ms[newest])
        arrived = now_ms - self._age_ms(int(frames.stream[newest]))
        self._anchor_ms[slot] = max(arrived, min(span, JUMP_MS))
        self._anchor_timestamp[slot] = frames.timestamp[newest]
        self._moved_ms[slot] = self._least_ms[slot] = self._batches[slot] = 0
        self._heard_ms[slot] = self._began_ms[slot] = now_ms
        self._due_ms[slot] = now_ms + WINDOW_MS
        self._drift.begin(slot, now_ms)
