"""Two media workers on the running line: calls are spread, and kill -9 of one, of signalling, or of both costs no other call a packet."""

import asyncio
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from callseal.phone.call import Call, Plan
from callseal.phone.line import Line
from callseal.phone.load import Pacer
from tests.conftest import Stack
from tests.media_rig import media_ports
from tests.officer_client import OfficerClient
from tests.stack.test_recording_assurance import VOICE, line_of
from tests.stack.test_signalling_killed import gaps_of, kill

BEFORE_SECONDS, AFTER_SECONDS = 2, 2
"""At most so much is lost before a kill, and from when its successor is ready; how long that takes, `make assure-failures` says."""

pytestmark = pytest.mark.real

SECONDS = 8
CALLS = 4
WORKERS = ("media-0", "media-1")


@pytest.fixture(scope="module")
def pair() -> Iterator[Stack]:
    """The line with two workers."""
    with TemporaryDirectory(prefix="cs-", dir="/tmp") as folder:
        running = Stack(Path(folder), "workers = 2\n" + media_ports())
        running.start()
        try:
            yield running
        finally:
            running.stop()


async def speak_through(stack: Stack, kills: Sequence[str]) -> tuple[dict[str, str], float]:
    """Calls at once, daemons killed in their middle, all hung up; returns the worker of each recording, and the seconds until all
    daemons were back."""
    before = len(stack.events("CallStarted"))
    line = await Line.connect(line_of(stack, ""))
    calls = [Call(line, line_of(stack, ""), Plan(), VOICE) for _ in range(CALLS)]
    pacer = Pacer()
    pacing = asyncio.create_task(pacer.run())
    try:
        await asyncio.gather(*(call.invite() for call in calls))
        playing = [asyncio.create_task(pacer.play(call.tracks, SECONDS * 50)) for call in calls]
        await asyncio.to_thread(stack.wait_event, "CallStarted", after=before + CALLS - 1)
        recordings = [str(event["recording"]) for event in stack.events("CallStarted")[before:]]
        for recording in recordings:
            await asyncio.to_thread(stack.wait_event, "Sealed", recording)
        away = await kill(stack, kills)
        if "sip" in kills:
            await line.close()
            line = await Line.connect(line_of(stack, ""))
            for call in calls:
                call.line = line
                await call.invite()  # a refresh within the dialog, as session timers send it
        await asyncio.gather(*playing)
        await asyncio.gather(*(call.bye() for call in calls))
        return {recording: str(stack.events("PartStarted", recording)[0]["source"]) for recording in recordings}, away
    finally:
        for call in calls:
            call.close()
        pacing.cancel()
        await line.close()


def check(stack: Stack, placed: dict[str, str], away: float, kills: Sequence[str]) -> None:
    """Two calls on each worker; the killed worker's have one named gap and a new part, the others every packet in one part."""
    assert sorted(placed.values()) == ["media-0", "media-0", "media-1", "media-1"], "not spread by load"
    for recording, worker in placed.items():
        assert stack.wait_event("CallEnded", recording)["data"] == {"reason": "bye"}
        was_killed = worker in kills
        ended = stack.wait_event("PartEnded", recording)
        parts = stack.events("PartStarted", recording)
        assert [(part["data"]["part"], part["source"]) for part in parts] == [(at, worker) for at in range(1 + was_killed)]
        gaps = gaps_of(stack, recording)
        if was_killed:
            (gap,) = [gap for gap in gaps if gap["why"] == "worker restarted"]
            assert 0 < int(str(gap["to_ms"])) - int(str(gap["from_ms"])) <= (BEFORE_SECONDS + away + AFTER_SECONDS) * 1000
        else:
            data = ended["data"]
            assert (gaps, data["reason"], data["lost"], data["packets"]) == ([], "bye", 0, 2 * SECONDS * 50)
        stack.wait_call("interrupted" if was_killed else "sealed", recording)


@pytest.fixture(scope="module")
def undisturbed(pair: Stack) -> dict[str, str]:
    """Calls during which nothing was killed."""
    placed, away = asyncio.run(speak_through(pair, []))
    check(pair, placed, away, [])
    return placed


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kills", [["media-1"], ["sip"], ["sip", "media-0"], ["sip", *WORKERS]], ids=" and ".join)
def test_a_kill_costs_the_calls_of_the_killed_worker_one_named_gap_and_no_other_a_packet(pair: Stack, kills: list[str]) -> None:
    check(pair, *asyncio.run(speak_through(pair, kills)), kills)


@pytest.mark.timeout(120)
def test_calls_are_spread_and_what_each_worker_sealed_opens_and_verifies(pair: Stack, undisturbed: dict[str, str]) -> None:
    with OfficerClient(pair) as officer:
        for recording in {worker: recording for recording, worker in undisturbed.items()}.values():
            asked = {"recording": recording, "action": "listen", "reason_class": "quality", "reason": "To hear each worker", "case": ""}
            opened = officer.touch("/api/openings", officer.post("/api/openings/begin", **asked))
            assert SECONDS * 1000 - 600 <= opened["duration_ms"] <= SECONDS * 1000 + 3000 and opened["playable"]
            assert opened["codecs"] == ["PCMA"] and len(opened["tracks"]) == 2
    assert pair.cli(["verify"]).returncode == 0


def test_both_are_shown_pinned_and_examined(pair: Stack) -> None:
    cores = sorted(os.sched_getaffinity(0))
    found = [os.sched_getaffinity(pair.pid(name)) for name in WORKERS]
    assert found == [{core} for core in cores[-2:]] if len(cores) > 1 else [set(cores)] * 2
    assert os.sched_getaffinity(pair.pid("sip")) == set(cores), "the control: others go where the kernel sends them"
    said = pair.cli(["doctor"]).stdout
    assert "media workers" in said and "does not run" not in said
    assert {path.stem for path in (pair.data / "logs").glob("media-*.log")} == set(WORKERS)
