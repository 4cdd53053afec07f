"""Failures of the running line: each is made here for real, and its story told with what it cost, in seconds and milliseconds.

A story: one call of two voices speaks from before the failure until after it; beside it new calls are placed one after another,
before, during and after, and timed. At the end everything is opened that was sealed, and compared with what was spoken.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import sqlite3
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select

from callseal.errors import CallsealError
from callseal.phone.call import Call, Plan
from callseal.phone.line import Line
from callseal.phone.load import Pacer
from callseal.store import schema
from callseal.store.accounts import read_accounts
from tests.conftest import Stack
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


@contextmanager
def custodian_away(stack: Stack) -> Iterator[None]:
    """It is there and answers nothing, which is worse than gone."""
    pid = stack.pid("custodian")
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def database_away(stack: Stack) -> Iterator[None]:
    """Nobody else may write, as long as this lasts."""
    path = stack.data / "database" / "callseal.db"
    connection = sqlite3.connect(path, isolation_level=None, timeout=30, check_same_thread=False)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
    finally:
        connection.close()


@contextmanager
def objects_away(stack: Stack) -> Iterator[None]:
    """The place of objects is another file system, which lets nobody in."""
    with mounted(stack.data / "objects", "ro"):
        yield


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A file system in memory over a folder."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "callseal-test", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def disk_stands_still(stack: Stack) -> Iterator[None]:
    """Whoever writes waits: fsfreeze(8) on the disk of the whole data folder."""
    _freeze(stack, "-f")
    try:
        yield
    finally:
        _freeze(stack, "-u")


@contextmanager
def disk_slow(stack: Stack) -> Iterator[None]:
    """It takes writes for a tenth of a second, and then none for one and a half, over and over."""
    over = threading.Event()

    def slow() -> None:
        while not over.wait(0.1):
            _freeze(stack, "-f")
            over.wait(1.5)
            _freeze(stack, "-u")

    thread = threading.Thread(target=slow)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def disk_full(stack: Stack) -> Iterator[None]:
    """Not a byte more fits on the disk of the whole data folder."""
    filler = stack.data / "filler"
    fill(filler)
    assert shutil.disk_usage(stack.data).free < 64 << 10
    try:
        yield
    finally:
        filler.unlink()


def _freeze(stack: Stack, option: str) -> None:
    place = subprocess.run(["findmnt", "-no", "TARGET", "--target", str(stack.data)], capture_output=True, text=True, check=True)
    subprocess.run(["fsfreeze", option, place.stdout.strip()], check=True)


def fill(path: Path) -> None:
    """Write until nothing more fits."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        for size in (1 << 20, 4096, 1):
            with suppress(OSError):
                while os.write(file, bytes(size)):
                    pass
    finally:
        os.close(file)


Away = Callable[[Stack], AbstractContextManager[None]]
OUTAGES: dict[str, Away] = {
    "custodian away": custodian_away,
    "database away": database_away,
    "object store away": objects_away,
    "disk stands still": disk_stands_still,
    "disk slow": disk_slow,
    "disk full": disk_full,
}
KILLS: dict[str, Sequence[str]] = {
    "media worker killed": ("media",), "signalling killed": ("sip",), "both killed": ("sip", "media"),
}  # fmt: skip


class Story:
    """One stack, one failure after another."""

    def __init__(self, stack: Stack, quiet_seconds: float = QUIET_SECONDS) -> None:
        self.stack, self.listener, self.quiet_seconds = stack, Listener(stack), quiet_seconds

    def tell_outage(self, failure: str, seconds: float, timeout: float = 120) -> Told:
        """As long as the failure lasts, calls are placed and nothing is lost."""
        return asyncio.run(self._tell(failure, seconds, self._be_away(OUTAGES[failure], seconds), timeout))

    def tell_kill(self, failure: str, timeout: float = 120) -> Told:
        """kill -9 in mid-call; voice goes on, and so does the dialog."""
        return asyncio.run(self._tell(failure, self.quiet_seconds, self._kill(KILLS[failure]), timeout))

    async def _tell(self, failure: str, seconds: float, fail: "Callable[[_Stage], Any]", timeout: float) -> Told:
        told = Told(failure, seconds)
        stage = _Stage(self.stack, seconds, self.quiet_seconds)
        try:
            await stage.begin()
            failed_at, during = await fail(stage)
            after = await stage.place(self.quiet_seconds)
            await stage.end()
        finally:
            await stage.close()
        usual = [*stage.usual, *after]
        told.calls, told.refused = 1 + len(usual) + len(during), sum(ms is None for ms in during)
        assert None not in usual, "a call at a quiet time was refused"
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

    def __init__(self, stack: Stack, seconds: float, quiet_seconds: float) -> None:
        self.stack, self.pacer, self.began = stack, Pacer(), time.time()
        self._quiet_seconds = quiet_seconds
        self.length_seconds = seconds + 4 * quiet_seconds + 40
        self.usual: list[float | None] = []
        self.recordings: list[str] = []
        self.recording = self.worker = ""
        self.claimed_ms = self.worst_lag_ms = self.claimed_at_kill_ms = 0
        self._tasks: list[asyncio.Task[Any]] = []
        self._known = len(stack.events("CallStarted"))

    async def begin(self) -> None:
        """Place the call, let it speak, and time other calls until it is sealed for a while."""
        self.line = await Line.connect(line_of(self.stack, ""))
        self.call = Call(self.line, line_of(self.stack, ""), Plan(), draw_voices(self.length_seconds))
        self._tasks.append(asyncio.create_task(self.pacer.run()))
        await self.call.invite()
        packets = round(self.length_seconds * 50)
        self.playing = asyncio.create_task(self.pacer.play(self.call.tracks, packets))
        self._tasks.append(self.playing)
        started = await asyncio.to_thread(self.stack.wait_event, "CallStarted", after=self._known)
        self.recording = str(started["recording"])
        self._tasks.append(asyncio.create_task(self._watch()))
        self.usual = await self.place(self._quiet_seconds)

    async def place(self, seconds: float) -> list[float | None]:
        """Place calls one after another for so long; returns how long each INVITE took, None for one without 200 OK."""
        found: list[float | None] = []
        end, every = time.monotonic() + seconds, max(EVERY_SECONDS, seconds / MOST_CALLS)
        while time.monotonic() < end:
            due = time.monotonic() + every
            found.append(await self._place_one())
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        return found

    async def _place_one(self) -> float | None:
        call = Call(self.line, line_of(self.stack, ""), Plan(), VOICE)
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
        with contextlib.suppress(OSError, CallsealError):
            await self.line.close()

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
