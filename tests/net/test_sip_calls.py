"""Calls over real TLS into the real signalling daemon, with a media worker that speaks the real protocol.

Each piece of bad input gets its stated answer and an event, while another call goes on and ends as if nothing had been.
"""

import asyncio
import json
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from callseal.net.authority import ensure_authority, issue_client
from tests import sip_rig as rig


def run(story: Awaitable[None]) -> None:
    asyncio.run(story)  # type: ignore[arg-type]


def beside_a_live_call(folder: Path, story: Callable[[rig.Rig], Awaitable[None]]) -> None:
    """Run a story while a call is up; then that call is changed and ended over its own connection."""

    async def whole() -> None:
        async with rig.running(folder) as running:
            running.add_peer("other")
            neighbour = await running.connect("other")
            live = await rig.place(neighbour, "live@other")
            recording = running.media.of("media.open")[0]["recording"]
            await story(running)
            changed = await neighbour.ask(rig.request("INVITE", "live@other", 2, rig.sdp(), live.to_tag))
            assert changed.status == 200
            assert (await neighbour.ask(rig.request("BYE", "live@other", 3, to_tag=live.to_tag))).status == 200
            await running.wait(lambda: [o for o in running.media.of("media.close") if o["recording"] == recording])
            ended = [event for event in running.events("CallEnded") if event["recording"] == recording]
            assert [event["data"] for event in ended] == [{"reason": "bye"}]

    asyncio.run(whole())


def test_a_call_is_answered_recorded_and_ended(tmp_path: Path):
    async def story():
        async with rig.running(tmp_path) as running:
            peer = await running.connect()
            answered = await rig.place(peer)
            assert "a=recvonly" in answered.body and "a=sendonly" not in answered.body
            assert answered.values("label") == ["1", "2"]
            assert [value.split()[:2] for value in answered.values("crypto")] == [["1", "AEAD_AES_256_GCM"]] * 2
            assert "+sip.srs" in answered.get("Contact")
            (opened,) = running.media.of("media.open")
            assert all(f"m=audio {port} RTP/SAVP 8 101" in answered.body for port in (20002, 20004))
            assert opened["part"] == 0 and opened["peer"] == "phone" and opened["resume"] is False
            assert opened["meta"]["participants"] == [
                {"number": "+441632960001", "name": "Pat Caller", "party": "customer", "label": "1"},
                {"number": "204", "name": "Sam Staff", "party": "staff", "label": "2"},
            ]
            stream = opened["streams"][0]
            assert stream["codecs"] == [{"pt": 8, "name": "PCMA", "clock_hz": 8000, "channels": 1, "fmtp": ""}]
            assert stream["event_pts"] == [101] and stream["party"] == "customer" and stream["paused"] is False
            ended = await peer.ask(rig.request("BYE", "call-1@pbx", 2, to_tag=answered.to_tag))
            assert ended.status == 200
            event = await running.wait_event("CallEnded")
            assert event["data"] == {"reason": "bye"} and event["recording"] == opened["recording"]
            await running.wait(lambda: running.media.of("media.close"))
            started = running.events("CallStarted")[0]["data"]
            assert started["transport"].startswith("TLSv1.3 ")
            assert [leg["protection"] for leg in started["legs"]] == ["measured", "measured"]
            assert [leg["party"] for leg in started["legs"]] == ["customer", "staff"]
            assert started["legs"][0]["detail"].startswith("not observed")
            assert started["legs"][1]["detail"].startswith("claimed by the phone system")

    run(story())


def test_no_number_name_or_key_reaches_an_event_or_the_log(tmp_path: Path, capfd):
    async def story():
        async with rig.running(tmp_path) as running:
            peer = await running.connect()
            await rig.place(peer, "planted-441632960001@pbx")
            await peer.ask(rig.request("INVITE", "x2@pbx", body=rig.sdp("", "", protocol="RTP/AVP")))
            await peer.ask(rig.request("INVITE", "x3@pbx", body="m=not sdp +441632960001"))
            written = json.dumps(running.events())
            (opened,) = running.media.of("media.open")
            shown = capfd.readouterr()
            for secret in ("1632960001", "Pat", "Caller", opened["streams"][0]["key"]):
                assert secret in json.dumps(opened) and secret not in written + shown.out + shown.err

    run(story())


def test_no_certificate_is_refused_with_an_event_and_harms_no_call(tmp_path: Path):
    async def story(running: rig.Rig):
        try:
            peer = await running.connect(None)
            assert await asyncio.wait_for(peer.reader.read(), 5) == b""
        except (ssl.SSLError, ConnectionError):
            pass
        assert (await running.wait_event("PeerRefused"))["data"] == {"address": "127.0.0.1", "why": "no certificate"}

    beside_a_live_call(tmp_path / "a", story)


def test_a_foreign_and_an_unlisted_certificate_are_refused_with_an_event(tmp_path: Path):
    async def story(running: rig.Rig):
        foreign = tmp_path / "foreign"
        foreign.mkdir()
        (foreign / "peers").mkdir()
        ensure_authority(foreign, foreign / "peers", server_name="localhost", now=datetime.now(UTC))
        issue_client(running.config.data / "tls", "unlisted", datetime.now(UTC))
        stranger = ssl.create_default_context(cafile=str(running.config.data / "tls" / "ca.pem"))
        stranger.load_cert_chain(foreign / "phone.pem", foreign / "phone.key")
        for context in (stranger, running.client_context("unlisted")):
            before = len(running.events("PeerRefused"))
            try:
                peer = await running.connect(context=context)
                await peer.send(rig.request("OPTIONS", "o"))
                assert await asyncio.wait_for(peer.reader.read(), 5) == b""
            except (ssl.SSLError, ConnectionError):
                pass
            await running.wait(lambda before=before: len(running.events("PeerRefused")) > before)
            assert running.events("PeerRefused")[-1]["data"]["why"] == "unknown certificate"

    beside_a_live_call(tmp_path / "a", story)


def test_a_pinned_certificate_of_another_authority_is_admitted_once_listed(tmp_path: Path):
    async def story(running: rig.Rig):
        foreign = tmp_path / "foreign"
        foreign.mkdir()
        (foreign / "peers").mkdir()
        ensure_authority(foreign, foreign / "peers", server_name="localhost", now=datetime.now(UTC))
        context = ssl.create_default_context(cafile=str(running.config.data / "tls" / "ca.pem"))
        context.load_cert_chain(foreign / "phone.pem", foreign / "phone.key")
        peers = running.config.data / "peers"
        (peers / "sbc.pem").write_bytes((foreign / "phone.pem").read_bytes())
        (peers / "sbc.toml").write_bytes((foreign / "peers" / "phone.toml").read_bytes())
        peer = await running.connect(context=context)
        assert (await peer.ask(rig.request("OPTIONS", "o"))).status == 200

    beside_a_live_call(tmp_path / "a", story)


def test_a_plain_offer_is_488_with_an_event_and_no_recording(tmp_path: Path):
    async def story(running: rig.Rig):
        peer = await running.connect()
        refused = await peer.ask(rig.request("INVITE", "plain", body=rig.multipart(rig.sdp("", "", protocol="RTP/AVP"))))
        assert refused.status == 488 and "SRTP" in refused.get("Warning")
        event = await running.wait_event("OfferRefused")
        assert event["data"]["status"] == 488 and event["data"]["peer"] == "phone"
        assert len(running.media.of("media.open")) == 1
        assert (await rig.place(peer, "then-well")).status == 200

    beside_a_live_call(tmp_path, story)


def test_malformed_sdp_is_400_with_an_event(tmp_path: Path):
    async def story(running: rig.Rig):
        peer = await running.connect()
        for body in ("v=0\r\nm=audio x RTP/SAVP 8\r\n", "hello", "v=0\r\ns=-\r\n"):
            assert (await peer.ask(rig.request("INVITE", "bad", body=body))).status == 400
        assert (await running.wait_event("BadRequest"))["data"]["status"] == 400

    beside_a_live_call(tmp_path, story)


def test_an_oversized_body_is_513_with_an_event_and_the_same_connection_goes_on(tmp_path: Path):
    async def story(running: rig.Rig):
        peer = await running.connect()
        assert (await peer.ask(rig.request("INVITE", "big", body="v" * 70_000))).status == 513
        assert (await running.wait_event("BadRequest"))["data"]["status"] == 513
        assert (await peer.ask(rig.request("OPTIONS", "o"))).status == 200
        huge = f"INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/TLS h;branch=z9hG4bKh\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: h\r\nCSeq: 1 INVITE\r\nContent-Length: {1 << 30}\r\n\r\n"
        assert (await peer.ask(huge)).status == 513
        assert await asyncio.wait_for(peer.reader.read(), 5) == b""

    beside_a_live_call(tmp_path, story)


def test_metadata_that_is_not_xml_is_recorded_all_the_same(tmp_path: Path):
    async def story(running: rig.Rig):
        peer = await running.connect()
        answered = await rig.place(peer, "odd", rig.multipart(rig.sdp(), "<naSRCme>Pat</name>"))
        assert answered.values("label") == ["1", "2"]
        meta = running.media.of("media.open")[-1]["meta"]
        assert "metadata-malformed" in meta["session"]["odd"] and meta["raw_metadata"]

    beside_a_live_call(tmp_path, story)


def test_a_second_invite_with_a_live_call_id_from_another_peer_is_403_with_an_event(tmp_path: Path):
    async def story(running: rig.Rig):
        peer = await running.connect()
        for headers in ("", "Replaces: live@other;to-tag=a;from-tag=b\r\n"):
            stolen = rig.request("INVITE", "live@other", 9, rig.multipart(rig.sdp()), headers=headers)
            assert (await peer.ask(stolen)).status == 403
        assert (await running.wait_event("BadRequest"))["data"] == {
            "peer": "phone", "status": 403, "why": "Call-ID of another peer's live call"}  # fmt: skip
        assert len(running.media.of("media.open")) == 1

    beside_a_live_call(tmp_path, story)


def test_a_slow_handshake_and_a_slow_message_are_ended_and_delay_nobody(tmp_path: Path):
    async def story(running: rig.Rig):
        server = running.daemon.server
        usual = server.limits
        server.limits = replace(usual, handshake_seconds=0.2, handshakes_per_address=3)
        host, port = server.address
        slow = [await asyncio.open_connection(host, port) for _ in range(6)]
        peer_task = asyncio.create_task(running.wait(lambda: len(running.events("PeerRefused")) >= 6))
        await peer_task
        whys = {event["data"]["why"] for event in running.events("PeerRefused")}
        assert whys == {"too slow", "too many handshakes from its address"}
        for reader, writer in slow:
            assert await asyncio.wait_for(reader.read(), 5) == b""
            writer.close()
        server.limits = usual
        peer = await running.connect()
        server.limits = replace(usual, message_seconds=0.2)
        await peer.send(rig.request("INVITE", "half", body=rig.sdp())[:-40])
        assert await asyncio.wait_for(peer.reader.read(), 5) == b""
        server.limits = usual
        assert (await (await running.connect()).ask(rig.request("OPTIONS", "o"))).status == 200

    beside_a_live_call(tmp_path, story)


def test_cancel_ends_an_invite_that_waits_for_media(tmp_path: Path):
    async def story(running: rig.Rig):
        peer = await running.connect()
        running.media.held.clear()
        await peer.send(rig.request("INVITE", "c", body=rig.sdp(), branch="z9hG4bKcc"))
        accepted = await peer.ask(rig.request("CANCEL", "c", branch="z9hG4bKcc"))
        terminated = await peer.read()
        running.media.held.set()
        assert (accepted.status, terminated.status) == (200, 487)
        await running.wait(lambda: [order for order in running.media.of("media.close") if order["reason"] == "cancel"])
        assert len(running.media.recordings) == 1

    beside_a_live_call(tmp_path, story)


def test_options_says_what_we_take_on_the_connection_it_came_on(tmp_path: Path):
    async def story(running: rig.Rig):
        peer = await running.connect()
        answered = await peer.ask("\r\n\r\n" + rig.request("OPTIONS", "o"))
        assert answered.status == 200 and "application/rs-metadata+xml" in answered.get("Accept")
        assert "INVITE" in answered.get("Allow") and "siprec" in answered.get("Supported")
        assert (await peer.ask(rig.request("SUBSCRIBE", "s"))).status == 405
        assert (await peer.ask(rig.request("DANCE", "d"))).status == 501

    beside_a_live_call(tmp_path, story)


def test_media_away_is_503_and_a_restarted_worker_gets_live_calls_back_as_their_next_part(tmp_path: Path):
    async def story():
        async with rig.running(tmp_path) as running:
            peer = await running.connect()
            answered = await rig.place(peer)
            first = running.media.of("media.open")[0]
            await running.media.stop()
            refused = await peer.ask(rig.request("INVITE", "while-away", body=rig.sdp()))
            assert refused.status == 503 and refused.get("Retry-After")
            await running.media.start()
            await running.wait(lambda: len(running.media.of("media.open")) == 2)
            again = running.media.of("media.open")[1]
            assert again["recording"] == first["recording"] and again["part"] == 1 and again["resume"] is True
            assert [stream["port"] for stream in again["streams"]] == [20002, 20004]
            assert (await peer.ask(rig.request("BYE", "call-1@pbx", 2, to_tag=answered.to_tag))).status == 200

    run(story())


def test_a_line_that_broke_while_the_worker_lives_opens_nothing_twice(tmp_path: Path):
    async def story():
        async with rig.running(tmp_path) as running:
            await rig.place(await running.connect())
            kept = dict(running.media.recordings)
            await running.media.stop()
            running.media.recordings.update(kept)
            await running.media.start()
            await running.wait(lambda: running.media.of("media.status"))
            await running.wait(lambda: running.daemon.media.is_connected)
            assert len(running.media.of("media.open")) == 1

    run(story())


def test_a_call_goes_on_over_a_new_connection_after_the_first_has_gone(tmp_path: Path):
    async def story():
        async with rig.running(tmp_path) as running:
            peer = await running.connect()
            answered = await rig.place(peer)
            await peer.close()
            again = await running.connect()
            assert (await again.ask(rig.request("BYE", "call-1@pbx", 2, to_tag=answered.to_tag))).status == 200

    run(story())


def test_a_flood_of_strangers_is_counted_rather_than_written(tmp_path: Path):
    async def story(running: rig.Rig):
        for _ in range(200):
            running.daemon._on_refused("192.0.2.66", "no certificate")
        assert len(running.events("PeerRefused")) == 60

    beside_a_live_call(tmp_path, story)


def test_an_invite_is_answered_within_milliseconds(tmp_path: Path):
    async def story():
        async with rig.running(tmp_path) as running:
            peer = await running.connect()
            taken = []
            for number in range(60):
                text = rig.request("INVITE", f"c{number}", body=rig.multipart(rig.sdp()))
                began = time.perf_counter()
                assert (await peer.ask(text)).status == 200
                taken.append((time.perf_counter() - began) * 1000)
            taken.sort()
            print(f"INVITE to 200 OK: p50 {taken[30]:.2f} ms, p95 {taken[57]:.2f} ms")
            assert taken[30] < 100

    run(story())
