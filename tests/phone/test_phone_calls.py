"""The test phone against a recorder of the tests' own: pace, numbers, keys, refusals, and its manners."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from callseal.cli.call import call as call_command
from callseal.errors import ConfigError, Denied, LimitExceeded, NotAcceptable, PeerError, Unauthenticated, Unavailable
from callseal.phone.call import Call, Plan
from callseal.phone.codec import CODECS
from callseal.phone.line import Destination, Line
from callseal.phone.load import Load, Pacer, make_payloads
from callseal.phone.marks import read_marks
from callseal.phone.sdp import SUITES
from callseal.phone.speech import synthetic_speech
from tests.certificates import Authority
from tests.unsealed_recorder import UnsealedRecorder

SPEECH = synthetic_speech("")


@asynccontextmanager
async def recorder(folder: Path) -> AsyncIterator[tuple[UnsealedRecorder, Destination]]:
    authority = Authority(folder)
    phone = authority.issue("phone")
    async with UnsealedRecorder(authority.issue("server"), authority.file) as running:
        yield running, Destination("127.0.0.1", running.port, "localhost", authority.file, phone.certificate, phone.key)


async def load_once(where: Destination, plan: Plan, seconds: float, count: int = 1, tones: str = "", rate: float = 100) -> Load:
    payloads = make_payloads(SPEECH, plan.codec, seconds, len(plan.labels), marked=True)
    load = Load(where, plan, [payloads], count, seconds, rate, tones)
    await load.run(lambda _: None)
    await asyncio.sleep(0)
    return load


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("codec", CODECS)
def test_every_payload_arrives_as_it_was_made_in_order_under_the_answered_suite(tmp_path: Path, suite: str, codec: str) -> None:
    async def story() -> None:
        async with recorder(tmp_path) as (running, where):
            running.suite = suite
            load = await load_once(where, Plan(codec=CODECS[codec]), 0.4)
            (heard,) = running.calls.values()
            assert heard.methods() == ["INVITE", "ACK", "BYE"]
            for stream, sent in zip(heard.streams, load.payloads[0], strict=True):
                assert stream.suite == suite and stream.failed == 0
                assert stream.payloads == sent
                kinds, sequences, timestamps, ssrcs = (np.array(column) for column in zip(*stream.headers, strict=True))
                assert kinds.tolist() == [0x80 | CODECS[codec].payload_type] + [CODECS[codec].payload_type] * 19
                assert (np.diff(sequences) == 1).all() and sequences[0] < 1 << 15
                assert (np.diff(timestamps) % (1 << 32) == CODECS[codec].timestamp_step).all()
                assert len(set(ssrcs.tolist())) == 1

    asyncio.run(story())


def test_one_mixed_stream_holds_both_speakers(tmp_path: Path) -> None:
    both = make_payloads(SPEECH, CODECS["PCMA"], 4, 1, marked=False)
    apart = make_payloads(SPEECH, CODECS["PCMA"], 4, 2, marked=False)
    assert len(both) == 1 and len(both[0]) == len(apart[0]) == 200
    silent = {bytes([0xD5] * 160)}
    for mixed, customer, staff in zip(both[0], *apart, strict=True):
        if customer in silent:
            assert mixed == staff
        elif staff in silent:
            assert mixed == customer


class _SlowTrack:
    """Takes 5 ms to send a packet, which a pace kept by sleeping 20 ms after each would add up to 250 ms in 50 packets."""

    sent = 0

    def send_next(self) -> None:
        time.sleep(0.005)
        self.sent += 1


def test_the_pace_does_not_drift_when_sending_takes_time() -> None:
    async def story() -> float:
        pacer, track = Pacer(), _SlowTrack()
        pacing = asyncio.create_task(pacer.run())
        began = time.monotonic()
        await pacer.play([track], 50)  # type: ignore[list-item]
        took = time.monotonic() - began
        pacing.cancel()
        await asyncio.gather(pacing, return_exceptions=True)
        assert track.sent == 50
        return took

    assert 0.98 <= min(asyncio.run(story()) for _ in range(3)) < 1.15, "a drift is there each time"


def test_fifty_calls_at_once_lose_nothing_on_the_way_out(tmp_path: Path) -> None:
    async def story() -> None:
        async with recorder(tmp_path) as (running, where):
            load = await load_once(where, Plan(suites=("AEAD_AES_128_GCM",)), 1.0, count=50)
            assert [outcome.state for outcome in load.outcomes] == ["ended"] * 50
            streams = [stream for call in running.calls.values() for stream in call.streams]
            assert len(streams) == 100
            assert sum(len(stream.payloads) for stream in streams) == 5000
            assert len({stream.headers[0][3] for stream in streams}) == 100

    asyncio.run(story())


def test_keypad_tones_are_telephone_events_with_three_ends_each(tmp_path: Path) -> None:
    async def story() -> None:
        async with recorder(tmp_path) as (running, where):
            await load_once(where, Plan(), 1.8, tones="4#")
            stream = next(iter(running.calls.values())).streams[0]
            events = [
                (header, payload)
                for header, payload in zip(stream.headers, stream.payloads, strict=True)
                if header[0] & 0x7F == 101
            ]
            assert [payload[0] for _, payload in events] == [4] * 8 + [11] * 8
            assert [bool(payload[1] & 0x80) for _, payload in events] == ([False] * 5 + [True] * 3) * 2
            assert [bool(header[0] & 0x80) for header, _ in events] == ([True] + [False] * 7) * 2
            assert len({header[2] for header, _ in events}) == 2, "one timestamp for each event (RFC 4733 section 2.2)"

    asyncio.run(story())


@pytest.mark.parametrize(
    ("status", "kind"), [(488, NotAcceptable), (403, Denied), (513, LimitExceeded), (503, Unavailable), (400, PeerError)]
)
def test_a_refusal_is_acknowledged_and_raised_by_its_kind(tmp_path: Path, status: int, kind: type[Exception]) -> None:
    async def story() -> None:
        async with recorder(tmp_path) as (running, where):
            running.status = status
            load = await load_once(where, Plan(), 0.1)
            assert load.outcomes[0].state == "failed"
            assert isinstance(load.outcomes[0].error, kind) and str(status) in str(load.outcomes[0].error)
            (heard,) = running.calls.values()
            invite, ack = heard.requests
            assert ack.method == "ACK" and ack.header("Via") == invite.header("Via"), "RFC 3261 section 17.1.1.3"
            assert not heard.streams

    asyncio.run(story())


@pytest.mark.parametrize(
    "change",
    [
        (b"RTP/SAVP", b"RTP/AVP"),
        (b"a=crypto:1", b"a=crypto:9"),
        (b"a=crypto:1 AEAD_AES_256_GCM", b"a=crypto:1 AES_CM_128_HMAC_SHA1_32"),
        (b"a=crypto:", b"a=x:"),
    ],
)
def test_no_voice_is_sent_where_the_answer_takes_none_of_our_keys(tmp_path: Path, change: tuple[bytes, bytes]) -> None:
    async def story() -> None:
        async with recorder(tmp_path) as (running, where):
            line = await Line.connect(where)
            call = Call(line, where, Plan(labels=("1",)), [[b"x" * 160]])
            answer = running._answer(heard := type("Heard", (), {"streams": []})(), _Offer(call.offer()))
            running.answer_with = answer.replace(*change)
            with pytest.raises(NotAcceptable):
                await call.invite()
            assert call.tracks[0].session is None and call.tracks[0].sent == 0
            for stream in heard.streams:
                asyncio.get_running_loop().remove_reader(stream.socket)
                stream.socket.close()
            call.close()
            await line.close()

    asyncio.run(story())


class _Offer:
    def __init__(self, body: bytes) -> None:
        self.body = body


def test_a_recorder_that_another_authority_signed_is_not_spoken_to(tmp_path: Path) -> None:
    async def story() -> None:
        async with recorder(tmp_path) as (running, where):
            (tmp_path / "other").mkdir()
            other = Authority(tmp_path / "other")
            wrong = Destination(where.host, where.port, "localhost", other.file, where.certificate, where.key)
            with pytest.raises(Unauthenticated, match="its CA"):
                await Line.connect(wrong)
            named = Destination(where.host, where.port, "elsewhere.example", where.ca, where.certificate, where.key)
            with pytest.raises(Unauthenticated):
                await Line.connect(named)
            assert not running.calls

    asyncio.run(story())


def test_nobody_there_and_missing_files_say_what_to_do(tmp_path: Path) -> None:
    async def story() -> None:
        async with recorder(tmp_path) as (_, where):
            pass
        with pytest.raises(Unavailable, match="callseal up"):
            await Line.connect(where)
        gone = Destination(where.host, where.port, "localhost", tmp_path / "none.pem", where.certificate, where.key)
        with pytest.raises(ConfigError, match="callseal up"):
            await Line.connect(gone)

    asyncio.run(story())


def test_a_connection_that_breaks_in_mid_call_is_told_and_the_voice_goes_on_till_then(tmp_path: Path) -> None:
    async def story() -> None:
        async with recorder(tmp_path) as (running, where):
            payloads = make_payloads(SPEECH, CODECS["PCMA"], 0.6, 2, marked=False)
            load = Load(where, Plan(), [payloads], 1, 0.6)

            async def cut() -> None:
                while not any(call.streams and call.streams[0].payloads for call in running.calls.values()):
                    await asyncio.sleep(0.01)
                for writer in running.writers:
                    writer.transport.abort()

            await asyncio.gather(load.run(lambda _: None), cut())
            assert isinstance(load.outcomes[0].error, Unavailable)
            (heard,) = running.calls.values()
            assert len(heard.streams[0].payloads) == 30

    asyncio.run(story())


def test_what_the_recorder_asks_in_the_meantime_is_answered(tmp_path: Path) -> None:
    async def story() -> None:
        async with recorder(tmp_path) as (running, where):
            line = await Line.connect(where)
            while not running.writers:
                await asyncio.sleep(0.01)
            for method in ("OPTIONS", "INFO"):
                head = (
                    f"{method} sip:phone SIP/2.0\r\nVia: SIP/2.0/TLS x;branch=z9hG4bK1\r\nFrom: <sip:a>;tag=1\r\nTo: <sip:b>\r\n"
                )
                running.writers[0].write(f"\r\n\r\n{head}Call-ID: c\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n".encode())
            while len(line.requests) < 2:
                await asyncio.sleep(0.01)
            assert [request.method for request in line.requests] == ["OPTIONS", "INFO"]
            await line.close()

    asyncio.run(story())


def test_the_command_places_a_call_writes_its_marks_and_tells_how_it_went(tmp_path: Path) -> None:
    marks = tmp_path / "marks"

    async def story() -> dict[str, object]:
        async with recorder(tmp_path) as (running, where):
            options = ["--to", f"localhost:{where.port}", "--ca", str(where.ca), "--cert", str(where.certificate)]
            options += ["--key", str(where.key), "--synthetic", "--seconds", "0.5", "--count", "2", "--json"]
            app = typer.Typer()
            app.command()(call_command)
            result = await asyncio.to_thread(CliRunner().invoke, app, [*options, "--marks", str(marks)], standalone_mode=False)
            assert result.return_value == 0, result.output
            sent = {(mark.call, mark.label): list(mark.payloads) for mark in read_marks(marks)}
            heard = [stream.payloads for call in running.calls.values() for stream in call.streams]
            assert sorted(heard) == sorted(sent.values()) and len(heard) == 4
            return dict(json.loads(result.output))

    said = asyncio.run(story())
    assert [call["state"] for call in said["calls"]] == ["ended", "ended"]  # type: ignore[index, attr-defined]
    assert oct(marks.stat().st_mode & 0o777) == "0o600"
