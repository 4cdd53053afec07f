"""Bad voice into the whole line: none of it is kept, it is counted in an event, and good voice beside and after it is sealed."""

import asyncio
from collections.abc import Callable

import pytest

from callseal.phone.call import Call, Plan
from callseal.phone.codec import CODECS
from callseal.phone.line import Destination, Line
from callseal.phone.load import Pacer, make_payloads
from callseal.phone.speech import synthetic_speech
from callseal.phone.track import Track
from tests import misbehaviour
from tests.conftest import Stack

pytestmark = pytest.mark.real

SPOKEN = make_payloads(synthetic_speech(""), CODECS["PCMA"], 2, 2, marked=False)


def destination(stack: Stack) -> Destination:
    host, _, port = stack.address("sip").rpartition(":")
    tls = stack.data / "tls"
    return Destination(host, int(port), "localhost", tls / "ca.pem", tls / "phone.pem", tls / "phone.key")


@pytest.mark.parametrize(
    ("send", "field"),
    [
        (misbehaviour.send_clear, "failed"),
        (misbehaviour.send_forged, "failed"),
        (lambda track: misbehaviour.send_under_another_key(track, "AEAD_AES_256_GCM"), "failed"),
        (misbehaviour.send_replayed, "replayed"),
    ],
    ids=["before its keys, in the clear", "forged tag", "before its keys, under others", "replayed"],
)
def test_bad_voice_is_counted_and_good_voice_is_sealed(stack: Stack, send: Callable[[Track], None], field: str) -> None:
    seen, ended = len(stack.events("PacketsFailed")), len(stack.events("PartEnded"))

    async def story() -> None:
        where = destination(stack)
        line = await Line.connect(where)
        call = Call(line, where, Plan(), SPOKEN)
        await call.invite()
        send(call.tracks[0])
        pacer = Pacer()
        pacing = asyncio.create_task(pacer.run())
        await pacer.play(call.tracks, 100)
        pacing.cancel()
        await asyncio.gather(pacing, return_exceptions=True)
        await call.bye()
        call.close()
        await line.close()

    asyncio.run(story())
    part = stack.wait_event("PartEnded", after=ended)
    failed = [event for event in stack.events("PacketsFailed")[seen:] if event["recording"] == part["recording"]]
    assert sum(event["data"][field] for event in failed) >= 50, failed
    assert all(event["data"]["label"] == "1" for event in failed)
    # A flood ahead of a stream's very first good packet uses up that wake's trials for its source: 200 ms of 20 ms packets, and
    # more where the wake is late.
    assert part["data"]["packets"] >= 200 - 25, "the good packets of both tracks"
    stack.wait_call("sealed", recording=part["recording"])
    assert stack.cli(["verify"]).returncode == 0
