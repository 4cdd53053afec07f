"""Many encrypted calls for a long time: the real media worker on one core, the voice and everything else on the other.

Calls begin and end by the clock, one slot after another. What is counted: packets that were sent and not taken, by the worker's
own count at each call's end; gaps; the worker's memory and CPU while it lasts; and of a few calls the sealed messages, which are
taken from the spool before it is swept away, opened with the private key and compared with what was spoken. The watcher, which
would take the spool in, is not part of this; a sweeper in its place keeps the disk from filling.
"""

import argparse
import json
import math
import os
import queue
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from bench.live import SUITE, TICKS, LiveVoice, Stream
from bench.sweep import Sweeper
from bench.traffic import SLICES
from bench.ways import SENDER_CORE, cpu_of, memory_of, pin
from callseal.model.clock import format_time
from callseal.model.message import to_text
from tests.media_rig import PCMA, MediaRig, OpenedPart, running

SAMPLES = 4
"""Slots whose first and last calls are opened."""
LOOK_SECONDS = 10
LINES = 8
"""Control lines: a call's end waits for the disk, and those behind it in silence, which would be a gap after two seconds."""
SETTLE_SECONDS = 60
"""Memory is compared, and gaps are counted, from here on."""


@dataclass
class Slot:
    """One of the places for a call: the call that is in it, and its two streams."""

    number: int
    recording: str = ""
    ends_at: float = 0.0
    """Second of the run; infinite while no call speaks here."""
    sent: int = 0
    """Packets of each stream."""
    spoken: list[Stream] = field(default_factory=list)


class Control(threading.Thread):
    """A control line of its own to the worker: ends a slot's call, begins the next."""

    def __init__(
        self, rig: MediaRig, orders: "queue.Queue[Slot | None]", done: Callable[[Slot, list[int], dict[str, Any]], None]
    ) -> None:
        super().__init__(daemon=True)
        self._orders, self._done = orders, done
        self._line = MediaRig.on(rig)

    def run(self) -> None:
        """Until told None."""
        while (slot := self._orders.get()) is not None:
            counts = self._line.ask("media.close", recording=slot.recording, reason="bye")
            recording, streams = os.urandom(16).hex(), [Stream(), Stream()]
            ports = self._line.open(recording, fields_of(streams))
            self._done(slot, ports, {**counts, "recording": recording, "streams": streams})
        self._line.disconnect()


def fields_of(streams: list[Stream]) -> list[dict[str, Any]]:
    """What a `media.open` says of them."""
    return [
        {"label": str(n), "suite": SUITE, "key": to_text(stream.key), "tag": 1, "codecs": [PCMA], "event_pts": [101]}
        for n, stream in enumerate(streams)
    ]


class Run:
    """All slots, from the first packet to the last call's end."""

    def __init__(self, rig: MediaRig, sweeper: Sweeper, calls: int, seconds: int, call_seconds: float, fault: str = "") -> None:
        assert rig.process is not None
        self.rig, self.sweeper, self.seconds, self.call_seconds, self._fault = rig, sweeper, seconds, call_seconds, fault
        self.pid = rig.process.pid
        self.empty_bytes = memory_of(self.pid)
        self.voice = LiveVoice(2 * calls)
        self.slots = [Slot(number) for number in range(calls)]
        self.looks: list[tuple[float, int, float]] = []
        """Seconds, bytes of memory, CPU seconds."""
        self.counts = dict.fromkeys(("calls", "packets", "lost", "failed"), 0)
        self.samples: list[tuple[str, list[Stream], int]] = []
        self.late = 0.0
        self.gaps: list[dict[str, Any]] = []
        """Once settled, and before everybody hangs up: calls are opened and ended one after another, which takes seconds."""
        self._kept: set[str] = set()
        self._begun: queue.Queue[tuple[Slot, list[int], dict[str, Any]]] = queue.Queue()
        self._orders: queue.Queue[Slot | None] = queue.Queue()
        self._lines = [Control(rig, self._orders, lambda *begun: self._begun.put(begun)) for _ in range(LINES)]

    def run(self) -> None:
        """Speak for `seconds`, hang up, and count."""
        for slot in self.slots:
            mine = self.voice.streams[2 * slot.number : 2 * slot.number + 2]
            slot.recording, slot.spoken = os.urandom(16).hex(), mine
            slot.ends_at = self.call_seconds * (1 + slot.number / len(self.slots))
            for at, port in enumerate(self.rig.open(slot.recording, fields_of(mine))):
                self.voice.lead(2 * slot.number + at, port)
        self._keep(self.slots[:SAMPLES])
        self.voice.make(0, 0, len(self.voice.streams))
        for line in self._lines:
            line.start()
        began, settled = time.monotonic(), datetime.now(UTC) + timedelta(seconds=min(SETTLE_SECONDS, self.seconds / 2))
        for second in range(self.seconds):
            if second % LOOK_SECONDS == 0:
                self.looks.append((time.monotonic() - began, memory_of(self.pid), cpu_of(self.pid)))
            self._turn(second)
            self._speak(began + second, second % 2)
        self.looks.append((time.monotonic() - began, memory_of(self.pid), cpu_of(self.pid)))
        self.gaps = [event["data"] for event in self.rig.events("Gap") if event["at"] > format_time(settled)]
        self._hang_up()

    def _turn(self, second: int) -> None:
        """Calls whose time is over end; slots whose next call has been answered speak from now on."""
        for slot in self.slots:
            if second >= slot.ends_at:
                self._end(slot)
                self._orders.put(slot)
        while not self._begun.empty():
            slot, ports, said = self._begun.get()
            self._count(slot, said)
            slot.recording, slot.spoken, slot.sent = said["recording"], said["streams"], 0
            slot.ends_at = second + self.call_seconds
            if slot.number < SAMPLES and slot.ends_at >= self.seconds:
                self._keep([slot])
            for at, port in enumerate(ports):
                number = 2 * slot.number + at
                self.voice.streams[number] = slot.spoken[at]
                self.voice.make(second % 2, number, number + 1)
                self.voice.lead(number, port)

    def _speak(self, began: float, half: int) -> None:
        """One second of everybody, and the making of the next."""
        streams, steps = len(self.voice.streams), TICKS * SLICES
        for step in range(steps):
            tick, slice_ = divmod(step, SLICES)
            wait = began + step / steps - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            self.late = max(self.late, -wait)
            first = streams * slice_ // SLICES
            if self._fault == "lose" and step == 7 * SLICES:
                first += 1
            self.voice.send(half, tick, first, streams * (slice_ + 1) // SLICES)
            self.voice.make(1 - half, streams * step // steps, streams * (step + 1) // steps)
        for slot in self.slots:
            slot.sent += TICKS if slot.ends_at < math.inf else 0

    def _keep(self, slots: list[Slot]) -> None:
        self._kept |= {slot.recording for slot in slots}
        self.sweeper.keep([slot.recording for slot in slots])

    def _end(self, slot: Slot) -> None:
        for number in (2 * slot.number, 2 * slot.number + 1):
            self.voice.lead(number, None)
        if slot.recording in self._kept:
            self.samples.append((slot.recording, slot.spoken, slot.sent))
        slot.ends_at = math.inf

    def _count(self, slot: Slot, said: dict[str, Any]) -> None:
        self.counts["calls"] += 1
        self.counts["packets"] += 2 * slot.sent
        self.counts["lost"] += 2 * slot.sent - said["packets"] + said["failed"]
        self.counts["failed"] += said["failed"]

    def _hang_up(self) -> None:
        for slot in self.slots:
            if slot.ends_at < math.inf:
                self._end(slot)
                self._orders.put(slot)
        for _line in self._lines:
            self._orders.put(None)
        for line in self._lines:
            line.join()
        while not self._begun.empty():
            slot, _ports, said = self._begun.get()
            self._count(slot, said)
            slot.sent = 0
        self.voice.close()


def compare(part: OpenedPart, streams: list[Stream], sent: int, fault: str = "") -> int:
    """How many packets of an opened call differ from what was spoken, or are not there, or stand out of order."""
    differ = 0
    for track, stream in enumerate(streams, 1):
        opened = [payload for of, _at, payload in part.blocks if of == track]
        spoken = [row.tobytes() for row in stream.plain(np.arange(sent))]
        if fault == "alter":
            spoken[sent // 2] = bytes(len(spoken[0]))
        differ += abs(len(opened) - len(spoken)) + sum(a != b for a, b in zip(opened, spoken, strict=False))
    return differ


def usual(looks: list[tuple[float, int, float]], since: float) -> int:
    """The median memory in the minute from `since` on: one look finds a second of voice in it, the next what was just sealed."""
    found = [memory for at, memory, _cpu in looks if since <= at <= since + SETTLE_SECONDS]
    return int(statistics.median(found or [looks[-1][1]]))


def run(calls: int, seconds: int, call_seconds: float, tell: Callable[[str], None] = print, fault: str = "") -> dict[str, Any]:
    """So many calls at once for so long, each of `call_seconds`; returns counts. `fault` plants one, for the control."""
    with tempfile.TemporaryDirectory(prefix="cs-long-", dir="/tmp") as folder, running(Path(folder)) as rig:
        assert rig.process is not None
        pin(rig.process.pid)
        with Sweeper(rig.data / "spool" / "media-0", Path(folder) / "samples") as sweeper:
            os.sched_setaffinity(0, {SENDER_CORE})
            work = Run(rig, sweeper, calls, seconds, call_seconds, fault)
            work.run()
            late = rig.ask("media.status")["late_ms_p99"]
            frames = sweeper.finish()
        opened = 0, 0, 0
        for recording, streams, sent in work.samples:
            (part,) = rig.open_parts(recording, frames)
            opened = opened[0] + 1, opened[1] + 2 * sent, opened[2] + compare(part, streams, sent, fault)
    for at, memory, cpu in work.looks:
        tell(f"{at:8.1f} s  {memory / (1 << 20):8.1f} MiB  {cpu:9.2f} CPU s")
    for gap in work.gaps:
        tell(f"gap ({gap['why']}) from {gap['from_ms']} to {gap['to_ms']} ms of its call")
    (_t0, _m0, cpu_first), (_t1, _m1, cpu_last) = work.looks[0], work.looks[-1]
    return {
        **work.counts, "seconds": seconds, "at_once": calls, "gaps": len(work.gaps),
        "samples_opened": opened[0], "sample_packets": opened[1], "samples_differ": opened[2],
        "ns_a_packet": round((cpu_last - cpu_first) / max(1, work.counts["packets"]) * 1e9),
        "memory_first_kib": usual(work.looks, SETTLE_SECONDS) >> 10,
        "memory_last_kib": usual(work.looks, work.looks[-1][0] - SETTLE_SECONDS) >> 10,
        "bytes_a_stream": (max(memory for _at, memory, _cpu in work.looks) - work.empty_bytes) // (2 * calls),
        "sender_late_ms": round(work.late * 1000), "worker_late_p99_ms": late,
    }  # fmt: skip


def main() -> int:
    """`python -m bench.long`: print what was counted; exit code 1 where a packet was lost or a sample differs."""
    parser = argparse.ArgumentParser(prog="python -m bench.long", description=__doc__)
    parser.add_argument("--calls", type=int, default=1640, help="At once; one worker takes 2,048.")
    parser.add_argument("--seconds", type=int, default=3600)
    parser.add_argument("--call-seconds", type=float, default=900.0, help="How long each call lasts.")
    arguments = parser.parse_args()
    counts = run(arguments.calls, arguments.seconds, arguments.call_seconds)
    print(json.dumps(counts, indent=2))
    return int(bool(counts["lost"] or counts["samples_differ"]))


if __name__ == "__main__":
    sys.exit(main())
