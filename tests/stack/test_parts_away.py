"""A part that is away hurts no call: INVITE gets its 200, what was spoken is sealed and waits, and is taken in order afterwards."""

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from callseal.phone.call import Call, Plan
from callseal.phone.line import Line
from callseal.phone.load import Pacer
from tests.conftest import Stack
from tests.stack.test_recording_assurance import VOICE, line_of

pytestmark = pytest.mark.real

SECONDS = 3
FULL_SECONDS = 8
SPOOL_BYTES = 3 << 20


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
    connection = sqlite3.connect(stack.data / "database" / "callseal.db", isolation_level=None, timeout=30)
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
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "callseal-test", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


async def speak(stack: Stack, calls: int = 1) -> list[str]:
    """Calls one after another, each answered, spoken and hung up; returns their recordings."""
    line, pacer = await Line.connect(line_of(stack, "")), Pacer()
    pacing = asyncio.create_task(pacer.run())
    recordings = []
    try:
        for _ in range(calls):
            before = len(stack.events("CallStarted"))
            call = Call(line, line_of(stack, ""), Plan(), VOICE)
            await call.invite()
            await pacer.play(call.tracks, SECONDS * 50)
            await call.bye()
            call.close()
            recordings.append(str((await asyncio.to_thread(stack.wait_event, "CallStarted", after=before))["recording"]))
    finally:
        pacing.cancel()
        await line.close()
    return recordings


@pytest.mark.parametrize("away", [custodian_away, database_away, objects_away])
def test_calls_go_on_and_are_taken_in_order_when_it_is_back(stack: Stack, away) -> None:  # type: ignore[no-untyped-def]
    with away(stack):
        recordings = asyncio.run(speak(stack, calls=2))
        for recording in recordings:
            (ended,) = [stack.wait_event("PartEnded", recording)]
            assert (ended["data"]["lost"], ended["data"]["packets"]) == (0, 2 * SECONDS * 50)
            assert ended["data"]["sealed_through_ms"] >= (SECONDS - 1) * 1000, "sealed and durable, whoever else is away"
        assert not stack.events("PartAdopted", recordings[0]) or away is objects_away
    for recording in recordings:
        stack.wait_call("sealed", recording)
        assert not stack.events("Gap", recording)
    assert stack.cli(["verify"]).returncode == 0


def test_a_full_disk_is_a_named_gap_and_an_alarm_and_the_call_goes_on(new_stack: Stack) -> None:
    new_stack.data.mkdir(parents=True, mode=0o700)
    spool = new_stack.data / "spool"
    spool.mkdir(mode=0o700)
    with mounted(spool, f"size={SPOOL_BYTES},mode=0700"):
        new_stack.start()
        try:
            asyncio.run(_fill_and_free(new_stack, spool))
        finally:
            new_stack.stop()


def _fill(path: Path) -> None:
    """Write until nothing more fits."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        with suppress(OSError):
            while os.write(file, bytes(4096)):
                pass
    finally:
        os.close(file)


async def _fill_and_free(stack: Stack, spool: Path) -> None:
    line, pacer = await Line.connect(line_of(stack, "")), Pacer()
    pacing = asyncio.create_task(pacer.run())
    call, during = (Call(line, line_of(stack, ""), Plan(), VOICE) for _ in range(2))
    try:
        await call.invite()
        playing = asyncio.create_task(pacer.play(call.tracks, FULL_SECONDS * 50))
        recording = str((await asyncio.to_thread(stack.wait_event, "CallStarted"))["recording"])
        await asyncio.to_thread(stack.wait_event, "Sealed", recording)
        filler = spool / "media-0" / "filler"
        _fill(filler)
        assert shutil.disk_usage(spool).free < 8192
        await asyncio.to_thread(stack.wait_event, "DiskLow", timeout=20)
        await during.invite()
        await during.bye()
        filler.unlink()
        await playing
        await call.bye()
    finally:
        call.close()
        during.close()
        pacing.cancel()
        await line.close()
    ended = await asyncio.to_thread(stack.wait_event, "PartEnded", recording)
    assert (ended["data"]["reason"], ended["data"]["packets"]) == ("bye", 2 * FULL_SECONDS * 50)
    gaps = [event["data"] for event in stack.events("Gap", recording)]
    assert all(gap["why"] == "disk full" for gap in gaps), gaps
