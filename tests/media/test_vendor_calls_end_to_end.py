"""Signalling and media together, on real TLS and UDP: each sender's call is sealed under its own labels, over IPv4 and IPv6.

The real signalling daemon, a real media worker, voice protected by libsrtp, and what was sealed opened with the private key.
"""

import asyncio
import base64
import re
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from callseal.config.settings import Config, Media, Sip
from callseal.daemons.sip import SipDaemon
from callseal.net.authority import ensure_authority
from callseal.store.events import EventWriter
from callseal.store.memory_log import MemoryLog, make_memory_files
from tests import media_rig, sip_rig
from tests import vendor_messages as vendors
from tests.media_rig import MediaRig, OpenedPart, Sender

_KEYS = re.compile(r"a=crypto:\d+ (\S+) inline:(\S+)")
_LINES = re.compile(r"m=audio (\d+) \S+ (\d+)")


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MediaRig]:
    with media_rig.running(tmp_path_factory.mktemp("media")) as rig:
        yield rig


@asynccontextmanager
async def signalling(worker: MediaRig, host: str) -> AsyncIterator[sip_rig.Rig]:
    """The signalling daemon in front of the worker, both at `host`."""
    config = Config(data=worker.data, sip=Sip(host=host, port=0), media=Media(host=host))
    for name in ("tls", "peers", "events"):
        (worker.data / name).mkdir(exist_ok=True)
    ensure_authority(worker.data / "tls", worker.data / "peers", server_name="localhost", now=datetime.now(UTC))
    with EventWriter(worker.data / "events", "sip") as events:
        daemon = SipDaemon(config, events, MemoryLog(make_memory_files("sip")))
        daemon.server.open(host, 0)
        daemon.start_tasks()
        await asyncio.wait_for(daemon.media.wait_connected(), 10)
        running = sip_rig.Rig(config, daemon, None)  # type: ignore[arg-type]
        try:
            yield running
        finally:
            for connection in running.connections:
                await connection.close()
            await daemon.close()
            daemon.events.close()


class Voice(Sender):
    """One stream of a call that was answered: its key from the offer, its port from the answer; `mki` stands in each packet."""

    def __init__(self, host: str, crypto: tuple[str, str], line: tuple[str, str], mki: bytes = b"") -> None:
        super().__init__(crypto[0], base64.b64decode(crypto[1].partition("|")[0]), pt=int(line[1]))
        self.mki = mki
        self.host, self.port = host, int(line[0])
        self.socket.close()
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)

    def protect(self, payload: bytes, **fields: Any) -> bytes:
        """RFC 3711 section 3.1: the MKI stands before the tag; with AES-GCM, whose tag is in the ciphertext, at the end."""
        packet = super().protect(payload, **fields)
        end = len(packet) if self.suite.startswith("AEAD") else len(packet) - 10
        return packet[:end] + self.mki + packet[end:]

    def send_raw(self, packet: bytes) -> None:
        self.socket.sendto(packet, (self.host, self.port))


def voices(host: str, offer: str, answer: str) -> list[Voice]:
    return [Voice(host, *pair) for pair in zip(_KEYS.findall(offer), _LINES.findall(answer), strict=False)]


async def heard(worker: MediaRig, recording: str, packets: int) -> None:
    """Until the worker has taken so many packets of a recording."""
    done = lambda status: sum(stream["packets"] for stream in status["streams"]) >= packets  # noqa: E731
    await asyncio.to_thread(worker.wait_status, recording, done)


async def record(worker: MediaRig, running: sip_rig.Rig, host: str, text: str, call_id: str) -> tuple[str, list[OpenedPart], list[list[bytes]]]:
    """Place, speak, end; returns the recording, its opened parts, and what each line said."""
    before = {event["recording"] for event in running.events("CallStarted")}
    peer = await running.connect()
    answered = await peer.ask(text)
    assert answered.status == 200, answered.head
    await peer.send(sip_rig.request("ACK", call_id, to_tag=answered.to_tag))
    (recording,) = {event["recording"] for event in running.events("CallStarted")} - before
    lines = voices(host, text, answered.body)
    said = [[bytes([65 + at]) * 40 + bytes([n]) * 120 for n in range(8)] for at in range(len(lines))]
    for voice, words in zip(lines, said, strict=True):
        for word in words:
            voice.send(word)
    await heard(worker, recording, 8 * len(lines))
    assert (await peer.ask(sip_rig.request("BYE", call_id, 2, to_tag=answered.to_tag))).status == 200
    await running.wait(lambda: [e for e in worker.events("PartEnded") if e["recording"] == recording], 10)
    for voice in lines:
        voice.close()
    return recording, worker.open_parts(recording), said


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_every_senders_call_is_sealed_under_its_own_labels_with_every_word_of_every_line(worker: MediaRig, host: str):
    async def story() -> None:
        async with signalling(worker, host) as running:
            for shape in vendors.SHAPES:
                name = f"{shape.name}{len(host)}"
                _, (part,), said = await record(worker, running, host, shape.write(True, name), name)
                labels = list(shape.labels) or ["0"]
                assert [track.label for track in part.tracks] == labels, shape.name
                for at in range(len(labels)):
                    assert sorted(payload for track, _, payload in part.blocks if track == at + 1) == sorted(said[at]), shape.name
                assert part.meta[0]["raw_metadata"], shape.name

    asyncio.run(story())


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_row_25_a_new_port_ssrc_and_key_after_a_hold_go_on_in_the_same_track_with_the_gap_named(worker: MediaRig, host: str):
    async def story() -> None:
        async with signalling(worker, host) as running:
            peer, call_id, key = await running.connect(), f"hold{len(host)}", sip_rig.crypto()
            first = sip_rig.sdp(key, labels=("7",))
            answered = await peer.ask(sip_rig.request("INVITE", call_id, body=first))
            await peer.send(sip_rig.request("ACK", call_id, to_tag=answered.to_tag))
            recording = running.events("CallStarted")[-1]["recording"]
            (voice,) = voices(host, first, answered.body)
            said = [voice.packet(b"before".ljust(160))[12:] for _ in range(5)]
            for word in said:
                voice.send(word)
            await heard(worker, recording, 5)
            held = await peer.ask(sip_rig.request("INVITE", call_id, 2, sip_rig.sdp(key, labels=("7",), extra="a=inactive\r\n"), answered.to_tag))
            assert held.status == 200
            voice.send(b"music on hold".ljust(160))
            await heard(worker, recording, 6)
            later = sip_rig.sdp(sip_rig.crypto(), labels=("7",)).replace("m=audio 30000", "m=audio 31500")
            again = await peer.ask(sip_rig.request("INVITE", call_id, 3, later, answered.to_tag))
            assert _LINES.findall(again.body) == _LINES.findall(answered.body) and int(_LINES.findall(again.body)[0][0]) % 2 == 0
            (after,) = voices(host, later, again.body)
            for number in range(5):
                after.send(b"after".ljust(160), timestamp=90_000 + 160 * number)
            await heard(worker, recording, 11)
            assert (await peer.ask(sip_rig.request("BYE", call_id, 4, to_tag=answered.to_tag))).status == 200
            await running.wait(lambda: [e for e in worker.events("PartEnded") if e["recording"] == recording], 10)
            (part,) = worker.open_parts(recording)
            assert len(part.tracks) == 1 and part.payloads == [b"before".ljust(160)] * 5 + [b"after".ljust(160)] * 5
            assert part.end is not None and "paused" in [gap["why"] for gap in part.end["gaps"]]
            assert "port-changed" in [name for event in running.events("OddityNoticed") if event["recording"] == recording for name in event["data"]["odd"]]
            for each in (voice, after):
                each.close()

    asyncio.run(story())


@pytest.mark.parametrize("suite", sorted(media_rig.PROFILES))
def test_a_downgrade_is_488_and_the_voice_goes_on_under_the_old_key_with_its_mki_and_a_new_key_counts_at_once(worker: MediaRig, suite: str):
    async def story() -> None:
        async with signalling(worker, "127.0.0.1") as running:
            peer, call_id = await running.connect(), f"lower-{suite}"
            first = sip_rig.sdp(sip_rig.crypto(1, suite, "|2^20|7:4"), labels=("7",))
            answered = await peer.ask(sip_rig.request("INVITE", call_id, body=first))
            await peer.send(sip_rig.request("ACK", call_id, to_tag=answered.to_tag))
            recording = running.events("CallStarted")[-1]["recording"]
            voice = Voice("127.0.0.1", _KEYS.findall(first)[0], _LINES.findall(answered.body)[0], mki=bytes([0, 0, 0, 7]))
            voice.send(b"before".ljust(160))
            await heard(worker, recording, 1)
            weaker = (sip_rig.sdp("", labels=("7",), protocol="RTP/AVP"), sip_rig.sdp(sip_rig.crypto(1, "AES_CM_128_HMAC_SHA1_32"), labels=("7",)))
            for number, (method, body) in enumerate([(method, body) for method in ("INVITE", "UPDATE") for body in weaker], 2):
                assert (await peer.ask(sip_rig.request(method, call_id, number, body, answered.to_tag))).status == 488
            voice.send_raw(voice.packet(b"in the clear".ljust(160)))
            voice.send(b"still under the old key".ljust(160))
            await heard(worker, recording, 2)
            again = sip_rig.sdp(sip_rig.crypto(2, suite), labels=("7",))
            rekeyed = await peer.ask(sip_rig.request("INVITE", call_id, 9, again, answered.to_tag))
            assert rekeyed.status == 200 and rekeyed.values("crypto")[0].split()[:2] == ["2", suite]
            (later,) = voices("127.0.0.1", again, rekeyed.body)
            later.send(b"under the new key".ljust(160), timestamp=voice.step * 9)
            await heard(worker, recording, 3)
            assert (await peer.ask(sip_rig.request("BYE", call_id, 10, to_tag=answered.to_tag))).status == 200
            await running.wait(lambda: [e for e in worker.events("PartEnded") if e["recording"] == recording], 10)
            (part,) = worker.open_parts(recording)
            said = [payload.rstrip() for payload in part.payloads]
            assert said == [b"before", b"still under the old key", b"under the new key"]
            assert sum(e["data"]["failed"] for e in worker.events("PacketsFailed") if e["recording"] == recording) == 1
            refused = [e["data"]["status"] for e in running.events("OfferRefused") if e["recording"] == recording]
            assert refused == [488] * 4
            for each in (voice, later):
                each.close()

    asyncio.run(story())


def test_in_a_guarded_class_what_no_guard_can_look_into_is_withheld_with_a_named_gap_and_elsewhere_sealed(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("guarded")
    rig = MediaRig(folder)
    rig.file.write_text(f'{rig.file.read_text()}[cards]\nguarded_classes = "payments other"\n', encoding="utf-8")
    rig.write_card()
    rig.start()
    secret = {"pt": 97, "name": "SECRETVOICE", "clock_hz": 16000, "channels": 1, "fmtp": ""}
    try:
        opened: dict[str, OpenedPart] = {}
        for number, recording_class in enumerate(("payments", "default")):
            sender, recording = Sender(), f"{number + 1:032x}"
            (sender.port,) = rig.open(recording, [sender.stream(codecs=[media_rig.PCMA, secret])], **{"class": recording_class})
            for at in range(40):
                sender.send(bytes([at]) * 160, pt=8 if at < 20 else 97)
            rig.wait_status(recording, lambda status: status["streams"][0]["packets"] == 40)
            rig.ask("media.close", recording=recording, reason="bye")
            parts = rig.open_parts(recording)
            opened[recording_class] = parts[-1]
            said = [payload[0] for part in parts for payload in part.payloads]
            assert said == (list(range(20)) if recording_class == "payments" else list(range(40)))
            sender.close()
        assert "withheld" in [gap["why"] for gap in (opened["payments"].end or {})["gaps"]]
        assert "SECRETVOICE" in [track.codec for track in opened["default"].tracks]
    finally:
        rig.stop()
