"""What the phone's pieces do wrong on purpose is wrong in the way they say, and the recorder's signalling gives its stated answer."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from callseal.errors import CallsealError, LimitExceeded, NotAcceptable
from callseal.phone.call import Call, Plan
from callseal.phone.line import Destination, Line
from callseal.phone.track import Track
from tests import misbehaviour
from tests import sip_rig as rig
from tests.certificates import Authority
from tests.unsealed_recorder import HeardStream, UnsealedRecorder

SPOKEN = [os.urandom(160) for _ in range(200)]


@asynccontextmanager
async def two_calls(folder: Path) -> AsyncIterator[tuple[rig.Rig, Line, Destination, Call, Call]]:
    """A recorder with one live call, which must come to no harm, and one call that is about to misbehave."""
    async with rig.running(folder) as running:
        host, port = running.daemon.server.address
        tls = running.config.data / "tls"
        where = Destination(host, port, "localhost", tls / "ca.pem", tls / "phone.pem", tls / "phone.key")
        line = await Line.connect(where)
        live, bad = (Call(line, where, Plan(), [SPOKEN, SPOKEN]) for _ in range(2))
        await live.invite()
        yield running, line, where, live, bad
        await live.bye()
        assert (await running.wait_event("CallEnded"))["recording"] == running.media.of("media.open")[0]["recording"]
        live.close()
        bad.close()
        await line.close()


@pytest.mark.parametrize("make", [misbehaviour.plaintext_offer, misbehaviour.keyless_offer, misbehaviour.weak_offer])
def test_an_offer_without_good_srtp_gets_488_and_an_event(tmp_path: Path, make: Callable[[Call], misbehaviour.Body]) -> None:
    async def story() -> None:
        async with two_calls(tmp_path) as (running, _, _, _, bad):
            with pytest.raises(NotAcceptable, match="488"):
                await bad.invite(make(bad))
            assert (await running.wait_event("OfferRefused"))["data"]["status"] == 488
            assert len(running.media.of("media.open")) == 1

    asyncio.run(story())


def test_sdp_that_cannot_be_read_is_refused_with_an_event(tmp_path: Path) -> None:
    async def story() -> None:
        async with two_calls(tmp_path) as (running, line, where, _, bad):
            for number, (name, body) in enumerate(misbehaviour.malformed_offers(bad), 1):
                another = Call(line, where, Plan(), [SPOKEN, SPOKEN])
                with pytest.raises(CallsealError, match="got 4"):
                    await another.invite(body)
                another.close()
                seen = len(running.events("BadRequest")) + len(running.events("OfferRefused"))
                assert seen == number, f"{name}: no event"
            assert len(running.media.of("media.open")) == 1

    asyncio.run(story())


def test_a_body_over_the_limit_is_refused_with_513_and_the_line_goes_on(tmp_path: Path) -> None:
    async def story() -> None:
        async with two_calls(tmp_path) as (running, _, _, _, bad):
            with pytest.raises(LimitExceeded, match="513"):
                await bad.invite(misbehaviour.oversized_body(bad, 100 << 10))
            assert (await running.wait_event("BadRequest"))["data"]["status"] == 513

    asyncio.run(story())


def test_metadata_that_is_not_xml_does_not_stop_the_recording(tmp_path: Path) -> None:
    async def story() -> None:
        async with two_calls(tmp_path) as (running, _, _, _, bad):
            await bad.invite(misbehaviour.metadata_not_xml(bad))
            opened = running.media.of("media.open")
            assert len(opened) == 2 and opened[1]["meta"]["raw_metadata"] and not opened[1]["meta"]["participants"]

    asyncio.run(story())


def test_a_live_call_id_from_another_peer_takes_over_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        async with two_calls(tmp_path) as (running, _, where, live, _):
            running.add_peer("other")
            tls = running.config.data / "tls"
            theirs = Destination(where.host, where.port, "localhost", where.ca, tls / "other.pem", tls / "other.key")
            line = await Line.connect(theirs)
            thief = Call(line, theirs, Plan(), [SPOKEN, SPOKEN], call_id=live.dialog.call_id)
            thief.dialog.local_tag, thief.dialog.remote_tag = live.dialog.local_tag, live.dialog.remote_tag
            with pytest.raises(CallsealError, match="got 4"):
                await thief.bye()
            with pytest.raises(CallsealError, match="got 4"):
                await thief.invite()
            assert not running.events("CallEnded") and len(running.media.of("media.open")) == 1
            thief.close()
            await line.close()

    asyncio.run(story())


@pytest.mark.parametrize(
    ("send", "good", "failed"),
    [
        (misbehaviour.send_clear, 0, 50),
        (misbehaviour.send_forged, 0, 50),
        (misbehaviour.send_replayed, 1, 50),
        (lambda track: misbehaviour.send_under_another_key(track, "AEAD_AES_256_GCM"), 0, 50),
        (misbehaviour.send_noise, 0, 7),
    ],
)
def test_bad_voice_is_bad_to_libsrtp_too_and_good_voice_after_it_is_heard(
    tmp_path: Path, send: Callable[[Track], None], good: int, failed: int
) -> None:
    async def story() -> None:
        authority = Authority(tmp_path)
        phone = authority.issue("phone")
        async with UnsealedRecorder(authority.issue("server"), authority.file) as running:
            where = Destination("127.0.0.1", running.port, "localhost", authority.file, phone.certificate, phone.key)
            line = await Line.connect(where)
            call = Call(line, where, Plan(labels=("1",)), [SPOKEN])
            await call.invite()
            (stream,) = next(iter(running.calls.values())).streams
            send(call.tracks[0])
            await _heard(stream, good + failed)
            assert (len(stream.payloads), stream.failed) == (good, failed)
            call.tracks[0].send_next()
            await _heard(stream, good + failed + 1)
            assert (len(stream.payloads), stream.failed) == (good + 1, failed)
            await call.bye()
            call.close()
            await line.close()

    asyncio.run(story())


async def _heard(stream: HeardStream, packets: int) -> None:
    async with asyncio.timeout(5):
        while len(stream.payloads) + stream.failed < packets:
            await asyncio.sleep(0.005)
