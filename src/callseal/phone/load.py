"""Places many calls at once from one process: one connection, one timer loop, payloads made beforehand.

Invariants: the time at which a packet is due depends on its number alone, so a late wake never becomes a drift; calls start on a
grid of 5 ms, so that the loop wakes at most 200 times a second however many there are; every call that was answered is hung up.
"""

import asyncio
import math
import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from callseal.errors import CallsealError
from callseal.phone.call import Call, Plan
from callseal.phone.codec import FRAME_MS, PACKETS_PER_SECOND, RATE_HZ, Codec, Samples
from callseal.phone.line import Destination, Line
from callseal.phone.marks import add_marks
from callseal.phone.shape import ShapedCall
from callseal.phone.speech import Speech
from callseal.phone.track import Track

GRID_SECONDS = 0.005
MAX_BURST = 25
"""Packets of one track sent in one wake after a stall: half a second's."""
MAX_CALLS = 500
REPORT_EVERY_SECONDS = 0.25

_FRAME_SECONDS = FRAME_MS / 1000


@dataclass
class Outcome:
    """How one call went. `state` runs waiting, calling, talking, ended or failed."""

    call: Call | None = None
    state: str = "waiting"
    error: CallsealError | None = None


@dataclass
class _Job:
    tracks: Sequence[Track]
    packets: int
    start: float
    sent: int = 0
    done: asyncio.Event = field(default_factory=asyncio.Event)


def make_payloads(speech: Speech, codec: Codec, seconds: float, streams: int, marked: bool) -> list[list[bytes]]:
    """What each stream of one call says for so long: customer and staff apart, or both mixed in one stream."""
    length = math.ceil(seconds * PACKETS_PER_SECOND) * RATE_HZ // PACKETS_PER_SECOND
    customer, staff = (np.resize(side, length) for side in (speech.customer, speech.staff))
    sides: list[Samples] = [customer, staff]
    if streams == 1:
        sides = [np.clip(customer.astype(np.int32) + staff, -32768, 32767).astype(np.int16)]
    coded = [codec.encode(side) for side in sides]
    return [add_marks(payloads, codec.mark_bits) for payloads in coded] if marked else coded


class Pacer:
    """One loop that sends every packet of every call when it is due."""

    def __init__(self) -> None:
        self._jobs: list[_Job] = []
        self._more = asyncio.Event()
        self.late_ms = array("f")
        """How late each wake was for the packet that it was for."""

    async def play(self, tracks: Sequence[Track], packets: int) -> None:
        """Send so many packets on each of these tracks, 50 a second, and return when the last has had its time."""
        start = math.ceil(time.monotonic() / GRID_SECONDS) * GRID_SECONDS
        job = _Job(tracks, packets, start)
        self._jobs.append(job)
        self._more.set()
        try:
            await job.done.wait()
        finally:
            if job in self._jobs:
                self._jobs.remove(job)

    async def run(self) -> None:
        """Pace until cancelled."""
        while True:
            if not self._jobs:
                self._more.clear()
                await self._more.wait()
            now = time.monotonic()
            due = min(job.start + job.sent * _FRAME_SECONDS for job in self._jobs)
            if due <= now:
                self.late_ms.append((now - due) * 1000)
                self._send_due(now)
                due = min((job.start + job.sent * _FRAME_SECONDS for job in self._jobs), default=now)
            await asyncio.sleep(max(due - time.monotonic(), 0))

    def _send_due(self, now: float) -> None:
        for job in self._jobs:
            if job.sent == 0 and len(self._jobs) == 1:
                job.start = max(job.start, now)  # a call alone starts its clock with its first packet, as a telephone does
            wanted = (
                min(int((now - job.start) / _FRAME_SECONDS) + 1, job.packets, job.sent + MAX_BURST) if now >= job.start else 0
            )
            for _ in range(wanted - job.sent):
                for track in job.tracks:
                    track.send_next()
            job.sent = max(job.sent, wanted)
            if job.sent == job.packets and now >= job.start + job.packets * _FRAME_SECONDS:
                job.done.set()
        self._jobs = [job for job in self._jobs if not job.done.is_set()]


@dataclass
class Load:
    """A number of like calls, and how they went."""

    destination: Destination
    plan: Plan
    payloads: Sequence[Sequence[Sequence[bytes]]]
    """Of each call, of each track; a call without its own takes those of the last."""
    count: int
    seconds: float
    rate: float = 10.0
    """New calls a second."""
    tones: str = ""
    tls: str = ""
    outcomes: list[Outcome] = field(default_factory=list)
    pacer: Pacer = field(default_factory=Pacer)

    async def run(self, report: Callable[["Load"], None]) -> None:
        """Place all calls, let them talk, hang up. Raises only what concerns all of them: no connection."""
        self.outcomes = [Outcome() for _ in range(self.count)]
        line = await Line.connect(self.destination)
        self.tls = line.tls
        pacing = asyncio.create_task(self.pacer.run())
        reporting = asyncio.create_task(self._report(report))
        talking = [asyncio.create_task(self._talk(line, index)) for index in range(self.count)]
        try:
            await asyncio.gather(*talking)
        finally:
            for task in (pacing, reporting, *talking):
                task.cancel()
            ended = await asyncio.gather(pacing, reporting, *talking, return_exceptions=True)
            await line.close()
        for result in ended:
            if isinstance(result, Exception):
                raise result

    async def _speak(self, call: Call) -> None:
        """Talk; in a vendor's shape, with a hold in the middle that lasts as long as its signalling."""
        packets = math.ceil(self.seconds * PACKETS_PER_SECOND)
        if not isinstance(call, ShapedCall):
            await self.pacer.play(call.tracks, packets)
            return
        await call.begin()
        await self.pacer.play(call.tracks, packets // 2)
        await call.hold()
        await call.resume()
        await self.pacer.play(call.tracks, packets - packets // 2)

    async def _report(self, report: Callable[["Load"], None]) -> None:
        while True:
            report(self)
            await asyncio.sleep(REPORT_EVERY_SECONDS)

    async def _talk(self, line: Line, index: int) -> None:
        outcome = self.outcomes[index]
        await asyncio.sleep(index / self.rate)
        make = ShapedCall if self.plan.shape else Call
        call = make(line, self.destination, self.plan, self.payloads[min(index, len(self.payloads) - 1)])
        outcome.call, outcome.state = call, "calling"
        try:
            await call.invite()
            outcome.state = "talking"
            if self.tones:
                call.tracks[0].dial(self.tones, PACKETS_PER_SECOND)
            try:
                await self._speak(call)
            finally:
                await asyncio.shield(asyncio.wait_for(call.bye(), 5))
            outcome.state = "ended"
        except CallsealError as error:
            outcome.state, outcome.error = "failed", error
        finally:
            call.close()
