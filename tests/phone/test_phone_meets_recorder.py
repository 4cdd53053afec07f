"""The test phone and the recorder's signalling, written apart from one RFC, understand each other over real TLS."""

import asyncio
from pathlib import Path

import pytest

from callseal.errors import CallsealError, NotAcceptable, Unauthenticated
from callseal.phone.call import Call, Plan
from callseal.phone.codec import CODECS
from callseal.phone.line import Destination, Line
from callseal.phone.load import Load
from callseal.phone.sdp import SUITES
from tests import sip_rig as rig
from tests.certificates import Authority

SPOKEN = [bytes([n % 256] * 160) for n in range(25)]


def destination(running: rig.Rig, name: str = "phone") -> Destination:
    host, port = running.daemon.server.address
    tls = running.config.data / "tls"
    return Destination(host, port, "localhost", tls / "ca.pem", tls / f"{name}.pem", tls / f"{name}.key")


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("codec", CODECS)
def test_a_call_is_recorded_under_the_keys_that_the_phone_drew(tmp_path: Path, suite: str, codec: str) -> None:
    async def story() -> None:
        async with rig.running(tmp_path) as running:
            where = destination(running)
            line = await Line.connect(where)
            call = Call(line, where, Plan(codec=CODECS[codec], suites=(suite,)), [SPOKEN, SPOKEN])
            await call.invite()
            (opened,) = running.media.of("media.open")
            assert [answer.crypto.suite for answer in call.answers] == [suite, suite]
            assert [stream["suite"] for stream in opened["streams"]] == [suite, suite]
            assert [stream["party"] for stream in opened["streams"]] == ["customer", "staff"]
            assert opened["streams"][0]["codecs"][0]["pt"] == CODECS[codec].payload_type
            assert [person["number"] for person in opened["meta"]["participants"]] == ["+441632960001", "205"]
            assert {answer.direction for answer in call.answers} == {"recvonly"}
            await call.bye()
            call.close()
            await line.close()
            assert (await running.wait_event("CallEnded"))["data"] == {"reason": "bye"}

    asyncio.run(story())


def test_with_all_suites_offered_the_best_is_taken(tmp_path: Path) -> None:
    async def story() -> None:
        async with rig.running(tmp_path) as running:
            load = Load(destination(running), Plan(), [[SPOKEN, SPOKEN]], count=1, seconds=0.1)
            await load.run(lambda _: None)
            assert load.outcomes[0].state == "ended"
            call = load.outcomes[0].call
            assert call is not None and {answer.crypto.suite for answer in call.answers} == {"AEAD_AES_256_GCM"}

    asyncio.run(story())


@pytest.mark.parametrize("plan", [Plan(metadata=False), Plan(labels=("1",)), Plan(metadata=False, labels=("mixed",))])
def test_a_call_without_metadata_or_with_one_stream_is_recorded(tmp_path: Path, plan: Plan) -> None:
    async def story() -> None:
        async with rig.running(tmp_path) as running:
            load = Load(destination(running), plan, [[SPOKEN] * len(plan.labels)], count=1, seconds=0.1)
            await load.run(lambda _: None)
            assert load.outcomes[0].error is None
            (opened,) = running.media.of("media.open")
            assert [stream["label"] for stream in opened["streams"]] == list(plan.labels)

    asyncio.run(story())


def test_an_unknown_certificate_is_told_what_to_do(tmp_path: Path) -> None:
    async def story() -> None:
        async with rig.running(tmp_path) as running:
            stranger = Authority(running.config.data / "tls", "stranger-ca").issue("stranger")
            assert stranger.key.exists()
            load = Load(destination(running, "stranger"), Plan(), [[SPOKEN, SPOKEN]], count=1, seconds=0.1)
            with pytest.raises(CallsealError, match=r"peers/NAME\.toml") as refused:
                await load.run(lambda _: None)
                raise load.outcomes[0].error or AssertionError("the stranger was let in")
            assert isinstance(refused.value, Unauthenticated)
            assert not running.events("CallStarted")
            assert await running.wait_event("PeerRefused")

    asyncio.run(story())


def test_a_suite_that_the_recorder_refuses_is_told_as_488(tmp_path: Path) -> None:
    async def story() -> None:
        async with rig.running(tmp_path) as running:
            where = destination(running)
            line = await Line.connect(where)
            call = Call(line, where, Plan(), [SPOKEN, SPOKEN])
            weak = call.offer().replace(b"AEAD_AES_256_GCM", b"NULL").replace(b"AEAD_AES_128_GCM", b"NULL")
            body = call.body(weak.replace(b"AES_CM_128_HMAC_SHA1_80", b"AES_CM_128_HMAC_SHA1_32"))
            with pytest.raises(NotAcceptable, match="488"):
                await call.invite(body)
            call.close()
            await line.close()
            assert (await running.wait_event("OfferRefused"))["data"]["status"] == 488

    asyncio.run(story())


def test_fifty_calls_on_one_connection_are_all_answered_and_ended(tmp_path: Path) -> None:
    async def story() -> None:
        async with rig.running(tmp_path) as running:
            load = Load(destination(running), Plan(), [[SPOKEN, SPOKEN]], count=50, seconds=0.2, rate=200)
            await load.run(lambda _: None)
            assert [outcome.state for outcome in load.outcomes] == ["ended"] * 50
            await running.wait(lambda: len(running.events("CallEnded")) == 50)

    asyncio.run(story())
