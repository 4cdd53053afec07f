"""Calls that go wrong on the running line: each is told of within seconds, none is closed before its BYE."""

import asyncio
import hashlib
import ssl
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import pytest
from sqlalchemy import Connection

from callseal.audio.g711 import SILENCE
from callseal.model.call import CallState
from callseal.model.clock import parse_time
from callseal.phone.call import Call, Plan
from callseal.phone.codec import CODECS
from callseal.phone.line import Destination, Line
from callseal.phone.load import Pacer, make_payloads
from callseal.phone.speech import synthetic_speech
from callseal.store.calls import list_alerts, list_calls
from callseal.store.database import Database
from tests.certificates import Authority
from tests.conftest import Stack
from tests.files import contents

pytestmark = pytest.mark.real
T = TypeVar("T")

VOICE = make_payloads(synthetic_speech(""), CODECS["PCMA"], 4, 2, marked=False)
TALK = CODECS["PCMA"].encode((8000 * np.sin(np.arange(8000) * 0.31)).astype(np.int16))
FLAT = [bytes([SILENCE["PCMA"]]) * 160]
SECONDS = 14


def line_of(stack: Stack, name: str) -> Destination:
    """The test phone's line, or that of another phone system which dies."""
    host, _, port = stack.address("sip").rpartition(":")
    tls = stack.data / "tls"
    if name != "lost":
        return Destination(host, int(port), "localhost", tls / "ca.pem", tls / "phone.pem", tls / "phone.key")
    if not (tls / "branch.pem").exists():
        issued = Authority(tls, "branch-ca").issue("branch")
        certificate = issued.certificate.read_bytes()
        (stack.data / "peers" / "branch.pem").write_bytes(certificate)
        digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.decode())).hexdigest()
        (stack.data / "peers" / "branch.toml").write_text(f'certificate_sha256 = "{digest}"\n')
    return Destination(host, int(port), "localhost", tls / "ca.pem", tls / "branch.pem", tls / "branch.key")


class Story:
    """Calls at once on one line, each named by what goes wrong with it; `recording[name]` as the recorder calls it."""

    def __init__(self, stack: Stack) -> None:
        self.stack, self.pacer = stack, Pacer()
        self.recording: dict[str, str] = {}
        self.began: dict[str, float] = {}
        self.calls: dict[str, Call] = {}
        self.playing: list[asyncio.Task[None]] = []

    async def place(self, line: Line, name: str, voices: Sequence[Sequence[bytes]], speaks: int, seconds: int) -> None:
        """Place a call of which the first `speaks` tracks speak for so many seconds; it is hung up unless its line has ended."""
        call = Call(line, line_of(self.stack, name), Plan(), voices)
        self.calls[name] = call
        before = len(self.stack.events("CallStarted"))
        await call.invite()
        self.began[name] = time.time()
        self.recording[name] = str(self.stack.wait_event("CallStarted", after=before)["recording"])
        self.playing.append(asyncio.create_task(self.pacer.play(call.tracks[:speaks], seconds * 50)))

    async def tell(self) -> None:
        line, dying = await Line.connect(line_of(self.stack, "")), await Line.connect(line_of(self.stack, "lost"))
        pacing = asyncio.create_task(self.pacer.run())
        await self.place(dying, "lost", VOICE, 2, 2)
        await self.place(line, "good", VOICE, 2, SECONDS)
        await self.place(line, "no voice", VOICE, 0, 1)
        await self.place(line, "one side", VOICE, 1, SECONDS)
        await self.place(line, "stops", VOICE, 2, 3)
        await self.place(line, "flat", [TALK, FLAT], 2, SECONDS)
        await self.playing[0]
        await dying.close()  # the phone system dies: its connection ends, and no BYE comes
        await asyncio.gather(*self.playing)
        self.known = {call.recording: call.state for call in read(self.stack, list_calls)}
        for name, call in self.calls.items():
            if name != "lost":
                await call.bye()
            call.close()
        await line.close()
        pacing.cancel()
        await asyncio.gather(pacing, return_exceptions=True)


def read(stack: Stack, question: Callable[[Connection], list[T]]) -> list[T]:
    """What the database answers."""
    database = Database(stack.config.database_url)
    try:
        with database.read() as connection:
            return question(connection)
    finally:
        database.close()


def wait_for(holds: Callable[[], bool], stack: Stack, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, stack.logs()
        time.sleep(0.2)


def entries(stack: Stack) -> bytes:
    """Every entry of the log, as the tiles hold them."""
    return b"".join(content for _path, content in contents(stack.data / "log", "entries/**/*"))


@pytest.fixture(scope="module")
def story(stack: Stack) -> Story:
    told = Story(stack)
    asyncio.run(told.tell())
    return told


@pytest.mark.parametrize(
    ("name", "kind", "why", "party", "seconds"),
    [
        ("no voice", "VoiceMissing", "none-yet", "", 5),
        ("one side", "VoiceMissing", "one-side", "staff", 5),
        ("stops", "VoiceMissing", "no-packets", "", 3 + 2),
        ("flat", "VoiceMissing", "flat", "staff", 10),
        ("lost", "SignallingLost", "no-connection", None, 2 + 3),
    ],
)
def test_each_fault_is_an_event_within_seconds_and_an_alert(
    stack: Stack, story: Story, name: str, kind: str, why: str, party: str | None, seconds: int
) -> None:
    event = stack.wait_event(kind, recording=story.recording[name])
    assert (event["data"]["why"], event["data"].get("party")) == (why, party)
    told_at = parse_time(event["at"]).timestamp()
    assert seconds - 1.5 <= told_at - story.began[name] <= seconds + 5
    alerts = {"none-yet": "no_packets", "one-side": "one_side", "flat": "one_side", "no-packets": "long_gap", "no-connection": "no_bye"}
    wait_for(lambda: (alerts[why], story.recording[name]) in {(a.kind, a.recording) for a in read(stack, list_alerts)}, stack)


def test_no_call_was_closed_before_its_bye_because_packets_stopped(stack: Stack, story: Story) -> None:
    assert [story.known[story.recording[name]] for name in ("no voice", "one side", "stops", "lost")] == [CallState.LIVE] * 4
    hung_up = {story.recording[name] for name in ("good", "no voice", "one side", "stops", "flat")}
    assert {stack.wait_event("CallEnded", recording)["data"]["reason"] for recording in hung_up} == {"bye"}
    wait_for(lambda: hung_up <= {call.recording for call in read(stack, list_calls) if call.state is CallState.SEALED}, stack)


def test_nothing_is_said_of_the_good_call(stack: Stack, story: Story) -> None:
    kinds = {event["type"] for event in stack.events(recording=story.recording["good"])}
    assert not kinds & {"VoiceMissing", "SignallingLost", "Gap"}


def test_the_log_takes_these_events_with_their_why(stack: Stack, story: Story) -> None:
    wait_for(lambda: b'"event":"VoiceMissing"' in entries(stack) and b'"event":"SignallingLost"' in entries(stack), stack)
    assert b'"why":"none-yet"' in entries(stack)
    assert stack.cli(["verify"]).returncode == 0
