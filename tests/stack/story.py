"""The story of a failure on the running line, told with what it cost, in seconds and milliseconds.

One call of two voices speaks from before the failure until after it; beside it new calls are placed one after another, before,
during and after, and timed; each is followed by one on a second line that nothing fails on, so that what else the machine does
slows both. At the end everything is opened that was sealed, and compared with what was spoken.
"""

import asyncio
import contextlib
import os
import signal
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select

from callseal.errors import CallsealError
from callseal.phone.call import Call, Plan
from callseal.phone.line import Line
from callseal.phone.load import Pacer
from callseal.store import schema
from callseal.store.accounts import read_accounts
from tests.conftest import Stack
from tests.stack.outages import KILLS, OUTAGES, Away
from tests.stack.spoken import Listener, Loss, draw_voices, started_at
from tests.stack.test_recording_assurance import VOICE, line_of, read, wait_for

EVERY_SECONDS = 0.25
"""A new call is placed so often, or less in a failure that lasts: `MOST_CALLS` of them."""
MOST_CALLS = 400
QUIET_SECONDS = 5.0
"""Before the failure and after it."""
ANSWER_SECONDS = 32
"""Timer B: so long a phone system waits for an answer."""


@dataclass
class Told:
    """One failure, and what it cost. Times of INVITE are to its 200 OK, in ms."""

    failure: str
    seconds: float
    calls: int = 0
    invite_usual_p50: float = 0.0
    invite_usual_p99: float = 0.0
    invite_p50: float = 0.0
    invite_p99: float = 0.0
    refused: int = 0
    """New calls of that time that did not get 200 OK."""
    back_seconds: float = 0.0
    """Until what was killed was ready again."""
    lost_before_seconds: float = 0.0
    lost_after_seconds: float = 0.0
    lost_seconds: float = 0.0
    unnamed_seconds: float = 0.0
    claimed_seconds: float = 0.0
    """Lost though it had been called sealed."""
    gaps: int = 0
    gap_seconds: float = 0.0
    sealed_through_worst_lag_seconds: float = 0.0
    parts: int = 0
    dropped_events: int = 0
    alerts: list[str] = field(default_factory=list)
    taken_in_order: bool = False

    def row(self) -> dict[str, Any]:
        """As it stands in the result: rounded."""
        return {name: round(value, 2) if isinstance(value, float) else value for name, value in asdict(self).items()}


class Story:
    """One stack, one failure after another; `well` is the second line."""

    def __init__(self, stack: Stack, well: Stack, quiet_seconds: float = QUIET_SECONDS) -> None:
        self.stack, self.well, self.listener, self.quiet_seconds = stack, well, Listener(stack), quiet_seconds

    def tell_outage(self, failure: str, seconds: float, timeout: float = 120) -> Told:
        """As long as the failure lasts, calls are placed and nothing is lost."""
        return asyncio.run(self._tell(failure, seconds, self._be_away(OUTAGES[failure], seconds), timeout))

    def tell_kill(self, failure: str, timeout: float = 120) -> Told:
        """kill -9 in mid-call; voice goes on, and so does the dialog."""
        return asyncio.run(self._tell(failure, self.quiet_seconds, self._kill(KILLS[failure]), timeout))

    async def _tell(self, failure: str, seconds: float, fail: "Callable[[_Stage], Any]", timeout: float) -> Told:
        told = Told(failure, seconds)
        stage = _Stage(self.stack, self.well, seconds, self.quiet_seconds)
        try:
            before = await stage.begin()
            stage.usual.clear()
            failed_at, during = await fail(stage)
            usual = list(stage.usual)
            quiet = [*before, *await stage.place(self.quiet_seconds)]
            await stage.end()
        finally:
            await stage.close()
        told.calls, told.refused = 1 + len(quiet) + len(during), sum(ms is None for ms in during)
        assert None not in [*quiet, *usual], "a call was refused where nothing had failed"
        told.back_seconds = stage.back_seconds
        told.invite_usual_p50, told.invite_usual_p99 = _percentiles(usual)
        told.invite_p50, told.invite_p99 = _percentiles(during)
        told.sealed_through_worst_lag_seconds = stage.worst_lag_ms / 1000
        self._judge(told, stage, failed_at, timeout)
        return told

    def _be_away(self, away: Away, seconds: float) -> "Callable[[_Stage], Any]":
        async def fail(stage: "_Stage") -> tuple[float, list[float | None]]:
            failure = away(self.stack)
            failed_at = time.time()
            await asyncio.to_thread(failure.__enter__)
            try:
                return failed_at, await stage.place(seconds)
            finally:
                await asyncio.to_thread(failure.__exit__, None, None, None)

        return fail

    def _kill(self, names: Sequence[str]) -> "Callable[[_Stage], Any]":
        async def fail(stage: "_Stage") -> tuple[float, list[float | None]]:
            workers = [stage.worker if name == "media" else name for name in names]
            before = {name: self.stack.pid(name) for name in workers}
            failed_at, stage.claimed_at_kill_ms = time.time(), stage.claimed_ms
            for pid in before.values():
                os.kill(pid, signal.SIGKILL)
            for name, pid in before.items():
                await asyncio.to_thread(self.stack.wait_started_again, name, pid)
            stage.back_seconds = time.time() - failed_at
            if "sip" in names:
                await stage.reconnect()
            return failed_at, await stage.place(self.quiet_seconds)

        return fail

    def _judge(self, told: Told, stage: "_Stage", failed_at: float, timeout: float) -> None:
        stack = self.stack
        wait_for(lambda: not _unsealed(stack, stage.recordings), stack, timeout)
        gaps = [event["data"] for event in stack.events("Gap", stage.recording)]
        opened = self.listener.open(stage.recording, stage.length_seconds)
        loss = Loss(stage.call.tracks, opened, started_at(stack, stage.recording), gaps)
        told.lost_before_seconds, told.lost_after_seconds = loss.before(failed_at), loss.after(failed_at)
        told.lost_seconds, told.unnamed_seconds = loss.seconds, loss.unnamed
        told.claimed_seconds = loss.claimed(stage.claimed_at_kill_ms)
        told.gaps, told.gap_seconds = len(gaps), sum(gap["to_ms"] - gap["from_ms"] for gap in gaps) / 1000
        told.parts = len(stack.events("PartStarted", stage.recording))
        told.dropped_events = sum(event["data"]["count"] for event in stack.events("EventsDropped"))
        told.alerts = kinds_of_alerts(stack, stage.began)
        told.taken_in_order = self._is_in_order(stage)

    def _is_in_order(self, stage: "_Stage") -> bool:
        """No event's number is missing, parts were adopted in the order in which they ended, and the verifier is content."""
        stack = self.stack
        ended = [event["recording"] for event in stack.events("PartEnded") if event["recording"] in stage.recordings]
        adopted = [event["recording"] for event in stack.events("PartAdopted") if event["recording"] in stage.recordings]
        numbers = [event["n"] for event in stack.events() if event["source"] == stage.worker]
        return (
            set(ended) == set(adopted)
            and numbers == list(range(1, len(numbers) + 1))
            and not stack.events("EventsMissing")
            and stack.cli(["verify"], timeout=300).returncode == 0
        )


class _Stage:
    """The call that lives through it, the new calls beside it, and what the workers say meanwhile."""

    def __init__(self, stack: Stack, well: Stack, seconds: float, quiet_seconds: float) -> None:
        self.stack, self.well, self.pacer, self.began = stack, well, Pacer(), time.time()
        self.back_seconds = 0.0
        self._quiet_seconds = quiet_seconds
        self.length_seconds = seconds + 4 * quiet_seconds + 40
        self.usual: list[float | None] = []
        """Times of INVITE on the second line."""
        self.recordings: list[str] = []
        self.recording = self.worker = ""
        self.claimed_ms = self.worst_lag_ms = self.claimed_at_kill_ms = 0
        self._tasks: list[asyncio.Task[Any]] = []
        self._known = len(stack.events("CallStarted"))

    async def begin(self) -> list[float | None]:
        """Place the call, let it speak, and time other calls until it is sealed for a while."""
        self.line, self.well_line = await Line.connect(line_of(self.stack, "")), await Line.connect(line_of(self.well, ""))
        self.call = Call(self.line, line_of(self.stack, ""), Plan(), draw_voices(self.length_seconds))
        self._tasks.append(asyncio.create_task(self.pacer.run()))
        await self.call.invite()
        packets = round(self.length_seconds * 50)
        self.playing = asyncio.create_task(self.pacer.play(self.call.tracks, packets))
        self._tasks.append(self.playing)
        started = await asyncio.to_thread(self.stack.wait_event, "CallStarted", after=self._known)
        self.recording = str(started["recording"])
        self._tasks.append(asyncio.create_task(self._watch()))
        return await self.place(self._quiet_seconds)

    async def place(self, seconds: float) -> list[float | None]:
        """Place calls one after another for so long; returns how long each INVITE took, None for one without 200 OK."""
        found: list[float | None] = []
        end, every = time.monotonic() + seconds, max(EVERY_SECONDS, seconds / MOST_CALLS)
        while time.monotonic() < end:
            due = time.monotonic() + every
            found.append(await self._place_one(self.line, self.stack))
            self.usual.append(await self._place_one(self.well_line, self.well))
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        return found

    @staticmethod
    async def _place_one(line: Line, stack: Stack) -> float | None:
        call = Call(line, line_of(stack, ""), Plan(), VOICE)
        began = time.perf_counter()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await call.invite()
                took = (time.perf_counter() - began) * 1000
                await call.bye()
            return took
        except (CallsealError, TimeoutError):
            return None
        finally:
            call.close()

    async def reconnect(self) -> None:
        """The line to a restarted signalling daemon; the call goes on, with a refresh as session timers send it."""
        await self.line.close()
        self.line = self.call.line = await Line.connect(line_of(self.stack, ""))
        await self.call.invite()

    async def end(self) -> None:
        """Hang up, and know every call that was placed."""
        self.playing.cancel()
        await self.call.bye()
        await asyncio.to_thread(self.stack.wait_event, "CallEnded", self.recording)
        self.recordings = [str(event["recording"]) for event in self.stack.events("CallStarted")[self._known :]]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.call.close()
        for line in (self.line, self.well_line):
            with contextlib.suppress(OSError, CallsealError):
                await line.close()

    async def _watch(self) -> None:
        """How far the call is called sealed, and the worst that this stood behind."""
        while True:
            now = datetime.now(UTC)
            for account in read_accounts(self.stack.config.run).workers:
                for live in account.recordings:
                    if live.recording == self.recording:
                        self.worker = account.worker
                        self.claimed_ms = max(self.claimed_ms, live.sealed_through_ms)
                        self.worst_lag_ms = max(self.worst_lag_ms, live.lag_ms + account.age_ms(now))
            await asyncio.sleep(0.1)


def kinds_of_alerts(stack: Stack, since: float = 0) -> list[str]:
    """Every kind of alert with evidence since then."""
    query = select(schema.alerts.c.kind).where(schema.alerts.c.last_at >= datetime.fromtimestamp(since, UTC)).distinct()
    return read(stack, lambda connection: sorted(connection.scalars(query)))


def _unsealed(stack: Stack, recordings: Sequence[str]) -> list[str]:
    """Those that are not brought in yet."""
    query = select(schema.calls.c.recording).where(schema.calls.c.state.in_(("sealed", "interrupted")))
    sealed = set(read(stack, lambda connection: list(connection.scalars(query))))
    return [recording for recording in recordings if recording not in sealed]


def _percentiles(times: Sequence[float | None]) -> tuple[float, float]:
    """The median, and the value that 99 of 100 do not exceed."""
    known = sorted(time for time in times if time is not None)
    return (statistics.median(known), known[min(len(known) - 1, len(known) * 99 // 100)]) if known else (0.0, 0.0)
