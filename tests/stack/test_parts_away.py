"""A spool that is full, on a disk of its own: a named gap at most, an alarm, and the call goes on. Other failures: test_outages."""

import asyncio
import shutil
from pathlib import Path

import pytest

from callseal.phone.call import Call, Plan
from callseal.phone.line import Line
from callseal.phone.load import Pacer
from tests.conftest import Stack
from tests.stack.outages import fill, mounted
from tests.stack.test_recording_assurance import VOICE, line_of

pytestmark = pytest.mark.real

FULL_SECONDS = 8
SPOOL_BYTES = 3 << 20


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
        fill(filler)
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
