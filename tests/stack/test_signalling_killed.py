"""kill -9 of the signalling daemon in mid-call: the phone system's dialog goes on, without a gap. Other kills: test_outages."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Sequence

import pytest

from callseal.phone.call import Call, Plan
from callseal.phone.line import Line
from callseal.phone.load import Pacer
from tests.conftest import Stack
from tests.stack.test_recording_assurance import VOICE, line_of

pytestmark = pytest.mark.real

SECONDS = 7


async def kill(stack: Stack, names: Sequence[str]) -> float:
    """Kill daemons, and wait until their successors are ready; voice goes on meanwhile. Returns the seconds that it took."""
    before = {name: stack.pid(name) for name in names}
    began = time.monotonic()
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    end = began + 30
    while not all(is_back(stack, name, pid) for name, pid in before.items()):
        assert time.monotonic() < end, stack.logs()
        await asyncio.sleep(0.02)
    return time.monotonic() - began


def is_back(stack: Stack, name: str, before: int) -> bool:
    state = json.loads((stack.config.run / "supervisor.json").read_text())[name]
    return bool(state["ready"]) and state["pid"] not in (None, before)


async def speak_through_a_kill(stack: Stack, names: Sequence[str]) -> str:
    """A call of two voices, killed in its middle and hung up on a connection of its own; returns its recording."""
    before = len(stack.events("CallStarted"))
    line = await Line.connect(line_of(stack, ""))
    call = Call(line, line_of(stack, ""), Plan(), VOICE)
    pacer = Pacer()
    pacing = asyncio.create_task(pacer.run())
    try:
        await call.invite()
        playing = asyncio.create_task(pacer.play(call.tracks, SECONDS * 50))
        recording = str((await asyncio.to_thread(stack.wait_event, "CallStarted", after=before))["recording"])
        await asyncio.to_thread(stack.wait_event, "Sealed", recording)
        await kill(stack, names)
        if "sip" in names:
            await line.close()
            call.line = await Line.connect(line_of(stack, ""))
            await call.invite()  # a refresh within the dialog, as session timers send it
        await playing
        await call.bye()
        return recording
    finally:
        call.close()
        pacing.cancel()
        await call.line.close()


def gaps_of(stack: Stack, recording: str) -> list[dict[str, object]]:
    return [event["data"] for event in stack.events("Gap", recording)]


@pytest.fixture
def running(new_stack: Stack) -> Stack:
    new_stack.start()
    return new_stack


def test_a_call_outlives_its_signalling_daemon_without_a_gap(running: Stack) -> None:
    recording = asyncio.run(speak_through_a_kill(running, ["sip"]))
    assert running.wait_event("CallEnded", recording)["data"] == {"reason": "bye"}
    running.wait_call("sealed", recording)
    assert [event["data"]["part"] for event in running.events("PartStarted", recording)] == [0]
    assert gaps_of(running, recording) == []
    (ended,) = running.events("PartEnded", recording)
    assert (ended["data"]["reason"], ended["data"]["lost"], ended["data"]["packets"]) == ("bye", 0, 2 * SECONDS * 50)
