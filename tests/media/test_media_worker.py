"""A real media worker with real UDP: what is sent is what opens, and what must not be kept is not."""

import itertools
import os
import signal
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from callseal.audit.note import Signer
from callseal.errors import Conflict, LimitExceeded, NotAcceptable, NotFound, RequestError, Unavailable
from callseal.vault.unseal import new_key_pair
from tests.media_rig import PCMA, PROFILES, MediaRig, Sender, draw_key, running, speak
from tests.stopped import stopped

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def rig() -> Iterator[MediaRig]:
    with TemporaryDirectory(prefix="cs-m-", dir="/tmp") as folder, running(Path(folder)) as started:
        yield started


@pytest.fixture
def own_rig() -> Iterator[MediaRig]:
    with TemporaryDirectory(prefix="cs-m-", dir="/tmp") as folder:
        rig = MediaRig(Path(folder))
        yield rig
        if rig.process is not None and rig.process.poll() is None:
            rig.stop()
        rig.disconnect()


class Call:
    """One open recording of one stream."""

    def __init__(self, rig: MediaRig, sender: Sender | None = None, **more: Any) -> None:
        self.rig, self.sender, self.recording = rig, sender or Sender(), os.urandom(16).hex()
        (self.sender.port,) = rig.open(self.recording, [self.sender.stream(**more)])

    def send(self, count: int, **fields: Any) -> list[bytes]:
        payloads = [os.urandom(160) for _ in range(count)]
        for payload in payloads:
            self.sender.send(payload, **fields)
        return payloads

    def wait_packets(self, count: int) -> dict[str, Any]:
        return self.rig.wait_status(self.recording, lambda status: status["streams"][0]["packets"] >= count)["streams"][0]

    def close(self) -> list[bytes]:
        self.rig.ask("media.close", recording=self.recording, reason="bye")
        self.sender.close()
        return [payload for part in self.rig.open_parts(self.recording) for payload in part.payloads]


def test_fifty_calls_at_once_lose_no_packet_and_open_to_what_was_sent(rig: MediaRig) -> None:
    suites = sorted(PROFILES)
    calls = [(os.urandom(16).hex(), [Sender(suites[n % 3]), Sender(suites[n % 3])]) for n in range(50)]
    for recording, senders in calls:
        ports = rig.open(recording, [sender.stream(str(at)) for at, sender in enumerate(senders)])
        for sender, port in zip(senders, ports, strict=True):
            sender.port = port
    everyone = [sender for _recording, senders in calls for sender in senders]
    speak(everyone, 150, lambda stream, number: struct.pack(">HH", stream, number) * 40)
    for recording, _senders in calls:
        done = rig.ask("media.close", recording=recording, reason="bye")
        assert (done["packets"], done["lost"], done["failed"]) == (300, 0, 0)
        assert done["sealed_through_ms"] >= 2900
    for at in (0, 1, 49):
        (part,) = rig.open_parts(calls[at][0])
        for track in (1, 2):
            stream = at * 2 + track - 1
            assert [p for t, _at, p in part.blocks if t == track] == [struct.pack(">HH", stream, n) * 40 for n in range(150)]
        assert part.end is not None
        assert part.end["reason"] == "bye"
        assert part.end["messages"] == part.messages
    for sender in everyone:
        sender.close()


def test_times_of_frames_follow_their_timestamps_and_loss_is_a_hole(rig: MediaRig) -> None:
    assert rig.process is not None
    call = Call(rig)
    with stopped(rig.process.pid):  # all of it comes in one wake
        call.send(50)
        call.sender.sent += 30
        call.send(20)
    assert call.wait_packets(70)["lost"] == 30
    call.close()
    (part,) = rig.open_parts(call.recording)
    times = [at for _track, at, _payload in part.blocks]
    steps = [b - a for a, b in itertools.pairwise(times)]
    assert steps == [20] * 49 + [620] + [20] * 19


def test_packets_before_the_keys_are_nothing(rig: MediaRig) -> None:
    first = Call(rig)
    port = first.sender.port
    first.close()
    sender = Sender()
    sender.port = port
    for _ in range(5):
        sender.send(b"early")
    second = Call(rig, sender, port=port)
    assert second.sender.port == port
    sent = second.send(5)
    assert second.wait_packets(5)["packets"] == 5
    assert second.close() == sent


def test_forged_replayed_and_foreign_packets_are_counted_and_hurt_no_other_call(rig: MediaRig) -> None:
    attacked, neighbour = Call(rig), Call(rig)
    sent = attacked.send(10)
    packet = attacked.sender.protect(b"real" * 40)
    stranger = Sender()
    stranger.port = attacked.sender.port
    for at in range(10):
        changed = bytearray(packet)
        changed[-1 - at] ^= 1
        attacked.sender.send_raw(bytes(changed))
        stranger.send_raw(b"\x80\x08" + os.urandom(180))
        stranger.send(b"stranger" * 20)
    attacked.sender.send_raw(packet)
    for _ in range(4):
        attacked.sender.send_raw(packet)
    kept = neighbour.send(10)
    status = rig.wait_status(attacked.recording, lambda s: s["streams"][0]["packets"] >= 11 and s["streams"][0]["replayed"] >= 4)
    assert (status["streams"][0]["failed"], status["streams"][0]["replayed"]) == (30, 4)
    assert neighbour.wait_packets(10)["failed"] == 0
    assert attacked.close() == [*sent, b"real" * 40]
    assert neighbour.close() == kept
    told = [e["data"] for e in rig.events("PacketsFailed") if e["recording"] == attacked.recording]
    assert sum(data["failed"] for data in told) == 30
    assert sum(data["replayed"] for data in told) == 4
    assert not [e for e in rig.events("PacketsFailed") if e["recording"] == neighbour.recording]
    stranger.close()


def test_the_same_packet_from_another_address_is_the_same_packet(rig: MediaRig) -> None:
    call, elsewhere = Call(rig), Sender()
    elsewhere.port = call.sender.port
    packet = call.sender.protect(b"x" * 160)
    elsewhere.send_raw(packet)
    call.sender.send_raw(packet)
    status = rig.wait_status(call.recording, lambda s: s["streams"][0]["replayed"] == 1)["streams"][0]
    assert status["packets"] == 1
    assert call.close() == [b"x" * 160]
    elsewhere.close()


def test_a_new_ssrc_goes_on_in_the_same_track(rig: MediaRig) -> None:
    call = Call(rig)
    sent = call.send(10)
    call.sender.ssrc ^= 0x5555
    sent += call.send(10)
    call.wait_packets(20)
    assert sorted(call.close()) == sorted(sent)
    (part,) = rig.open_parts(call.recording)
    assert len(part.tracks) == 1


@pytest.mark.parametrize(
    ("name", "pt", "clock_hz", "step", "sizes"),
    [
        ("G729", 18, 8000, 160, [20] * 40 + [10] + [2] + [20] * 20),
        ("opus", 96, 48000, 960, [80, 117, 3, 1, 2, 1, 3, 60] * 6),
        ("L16", 97, 16000, 320, [640] * 20),
    ],
)
def test_small_and_uneven_payloads_are_kept_as_they_came(
    rig: MediaRig, name: str, pt: int, clock_hz: int, step: int, sizes: list[int]
) -> None:
    codec = {"pt": pt, "name": name, "clock_hz": clock_hz, "channels": 1, "fmtp": ""}
    call = Call(rig, Sender(pt=pt, step=step), codecs=[codec])
    sent = [os.urandom(size) for size in sizes]
    for number, payload in enumerate(sent):
        call.sender.send(payload, timestamp=step * number * (10 if len(payload) < 4 else 1))
    call.wait_packets(len(sent))
    assert sorted(call.close()) == sorted(sent)
    (part,) = rig.open_parts(call.recording)
    assert [(track.codec, track.clock_hz) for track in part.tracks] == [(name, clock_hz)]


def test_keypad_tones_and_the_voice_of_their_time_are_never_sealed(rig: MediaRig) -> None:
    call = Call(rig)
    before = call.send(25)
    begin = call.sender.sent
    for step in range(8):
        end = 0x80 if step >= 5 else 0
        event = struct.pack(">BBH", 5, end | 10, min(step + 1, 6) * 160)
        call.sender.send(event, pt=101, timestamp=begin * 160)
    during = [os.urandom(160) for _ in range(3)]
    for at, payload in enumerate(during):
        call.sender.send(payload, timestamp=(begin + 2 + at) * 160)
    after = call.send(25)
    assert call.wait_packets(61)["withheld"] == 1
    opened = call.close()
    assert not set(opened) & set(during)
    assert all(len(payload) == 160 for payload in opened)
    assert set(before[:20]) | set(after[5:]) <= set(opened)
    told = [e for e in rig.events("TonesWithheld") if e["recording"] == call.recording]
    assert [e["data"]["count"] for e in told] == [1]
    assert "withheld" in [e["data"]["why"] for e in rig.events("Gap") if e["recording"] == call.recording]


def test_a_pause_keeps_nothing_and_is_a_named_gap(rig: MediaRig) -> None:
    call = Call(rig)
    sent = call.send(10)
    call.wait_packets(10)
    rig.ask("media.update", recording=call.recording, streams=[call.sender.stream(paused=True)])
    call.send(10)
    call.wait_packets(20)
    rig.ask("media.update", recording=call.recording, streams=[call.sender.stream()])
    sent += call.send(10)
    call.wait_packets(30)
    assert call.close() == sent
    (part,) = rig.open_parts(call.recording)
    assert part.end is not None
    assert [gap["why"] for gap in part.end["gaps"]] == ["paused"]


@pytest.mark.parametrize("suite", sorted(PROFILES))
def test_a_new_key_takes_effect_at_once(rig: MediaRig, suite: str) -> None:
    call = Call(rig)
    sent = call.send(10)
    in_flight = call.sender.protect(b"old key, still on its way".ljust(160))
    key = draw_key(suite)
    call.sender.rekey(suite, key)
    rig.ask("media.update", recording=call.recording, streams=[call.sender.stream()])
    call.sender.send_raw(in_flight)
    sent += [b"old key, still on its way".ljust(160), *call.send(10)]
    assert call.wait_packets(21)["failed"] == 0
    assert call.close() == sent


def test_a_second_codec_begins_the_next_part_and_both_open(rig: MediaRig) -> None:
    pcmu = {"pt": 0, "name": "PCMU", "clock_hz": 8000, "channels": 1, "fmtp": ""}
    call = Call(rig, codecs=[PCMA, pcmu])
    first = call.send(30)
    rig.wait_status(call.recording, lambda status: status["sealed_through_ms"] > 0 and rig.open_parts(call.recording))
    second = call.send(30, pt=0)
    call.wait_packets(60)
    call.close()
    parts = rig.open_parts(call.recording)
    assert [part.payloads for part in parts] == [first, second]
    assert [[track.codec for track in part.tracks] for part in parts] == [["PCMA"], ["PCMA", "PCMU"]]
    assert [part.end["reason"] for part in parts if part.end] == ["codec", "bye"]


def test_a_payload_type_that_nobody_named_is_not_kept(rig: MediaRig) -> None:
    call = Call(rig)
    call.send(5, pt=77)
    sent = call.send(5)
    call.wait_packets(10)
    assert call.close() == sent


def test_a_stream_that_is_added_later_has_its_own_track(rig: MediaRig) -> None:
    call, second = Call(rig), Sender()
    call.send(10)
    call.wait_packets(10)
    streams = [call.sender.stream("1"), second.stream("2", party="staff")]
    ports = rig.ask("media.update", recording=call.recording, streams=streams)["ports"]
    assert ports[0] == call.sender.port
    second.port = ports[1]
    for _ in range(10):
        second.send(b"two" * 40)
    rig.wait_status(call.recording, lambda status: status["streams"][1]["packets"] == 10)
    call.close()
    last = rig.open_parts(call.recording)[-1]
    assert [track.party for track in last.tracks] == ["customer", "staff"]
    assert [payload for track, _at, payload in last.blocks if track == 2] == [b"two" * 40] * 10
    second.close()


def test_metadata_is_sealed_at_the_start_and_when_it_changes(rig: MediaRig) -> None:
    call = Call(rig)
    call.send(5)
    call.wait_packets(5)
    rig.wait_status(call.recording, lambda _status: bool(rig.open_parts(call.recording)))
    rig.ask("media.meta", recording=call.recording, meta={"participants": [{"number": "+442079460000"}]})
    call.close()
    (part,) = rig.open_parts(call.recording)
    assert [bool(meta["participants"]) for meta in part.meta] == [False, True]
    raw = b"".join(path.read_bytes() for path in rig.data.rglob("*") if path.is_file())
    assert b"442079460000" not in raw


def test_a_recording_without_a_packet_still_has_head_metadata_and_end(rig: MediaRig) -> None:
    call = Call(rig)
    assert call.close() == []
    (part,) = rig.open_parts(call.recording)
    assert (len(part.tracks), len(part.meta), part.messages) == (1, 1, 3)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"suite": "AES_CM_128_HMAC_SHA1_32"}, NotAcceptable),
        ({"key": "AAAA"}, NotAcceptable),
        ({"key": 7}, RequestError),
        ({"codecs": [{"pt": 300, "name": "PCMA", "clock_hz": 8000}]}, RequestError),
    ],
)
def test_what_cannot_be_recorded_is_refused_and_leaves_no_port_bound(
    rig: MediaRig, change: dict[str, Any], error: type[Exception]
) -> None:
    sender, recording = Sender(), os.urandom(16).hex()
    with pytest.raises(error):
        rig.open(recording, [sender.stream("1"), sender.stream("2", **change)])
    assert recording not in [entry["recording"] for entry in rig.ask("media.status")["recordings"]]
    (sender.port,) = rig.open(recording, [sender.stream()])
    sender.send(b"x" * 160)
    rig.wait_status(recording, lambda status: status["streams"][0]["packets"] == 1)
    rig.ask("media.close", recording=recording, reason="bye")
    sender.close()


def test_requests_that_make_no_sense_are_refused(rig: MediaRig) -> None:
    call = Call(rig)
    with pytest.raises(Conflict):
        rig.open(call.recording, [call.sender.stream()])
    with pytest.raises(NotFound):
        rig.ask("media.close", recording="00" * 16, reason="bye")
    with pytest.raises(RequestError):
        rig.ask("media.dance")
    with pytest.raises(RequestError):
        rig.open(os.urandom(16).hex(), [])
    with pytest.raises(RequestError):
        rig.ask("media.open", recording=os.urandom(16).hex(), streams=[{}], started_at="2026-11-24T00:00:00Z")
    with pytest.raises(LimitExceeded):
        rig.open(os.urandom(16).hex(), [call.sender.stream()] * 17)
    call.close()


def test_a_malformed_frame_ends_its_own_connection_and_no_recording(rig: MediaRig) -> None:
    call = Call(rig)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.connect(str(rig.data / "run" / "media-0.sock"))
        line.settimeout(10)
        line.sendall(b"\0\0\0\4nope")
        assert line.recv(10) == b""
    sent = call.send(3)
    call.wait_packets(3)
    assert call.close() == sent


def test_reports_are_counted_and_never_kept(rig: MediaRig) -> None:
    call = Call(rig)
    before = rig.ask("media.status")["reports"]
    report = struct.pack(">BBHI", 0x81, 200, 6, call.sender.ssrc) + bytes(20)
    protected = call.sender.session.protect_rtcp(report)
    call.sender.socket.sendto(protected, ("127.0.0.1", call.sender.port + 1))
    rig.wait_status(call.recording, lambda _s: rig.ask("media.status")["reports"]["verified"] == before["verified"] + 1)
    call.sender.send_raw(call.sender.session.protect_rtcp(report))
    call.sender.send_raw(protected)
    wanted = {"verified": before["verified"] + 2, "failed": before["failed"] + 1}
    rig.wait_status(call.recording, lambda _s: rig.ask("media.status")["reports"] == wanted)
    assert call.close() == []


def test_without_any_card_nothing_is_recorded(own_rig: MediaRig) -> None:
    own_rig.start()
    with pytest.raises(Unavailable):
        Call(own_rig)
    own_rig.write_card(epoch=2, signer=Signer.from_seed("test/2026", os.urandom(32)))
    with pytest.raises(Unavailable):
        Call(own_rig)
    own_rig.write_card(epoch=3)
    call = Call(own_rig)
    sent = call.send(2)
    call.wait_packets(2)
    assert call.close() == sent


def test_the_newest_valid_card_is_used_and_a_stale_one_with_an_alarm(own_rig: MediaRig) -> None:
    _other, other_public = new_key_pair()
    own_rig.write_card(days=-1, epoch=5, public_key=other_public)
    own_rig.write_card(days=-2, epoch=4)
    (own_rig.data / "cards" / "5.card").unlink()
    own_rig.start()
    call = Call(own_rig)
    sent = call.send(2)
    call.wait_packets(2)
    assert call.close() == sent
    assert [e["data"]["epoch"] for e in own_rig.events("CardStale")] == [4]
    assert [e["data"]["epoch"] for e in own_rig.events("PartStarted")] == [4]


def test_a_clean_stop_ends_every_recording(own_rig: MediaRig) -> None:
    own_rig.write_card()
    own_rig.start()
    call = Call(own_rig)
    sent = call.send(20)
    call.wait_packets(20)
    assert own_rig.stop() == 0
    (part,) = own_rig.open_parts(call.recording)
    assert part.payloads == sent
    assert part.end is not None
    assert part.end["reason"] == "worker_stopped"
    assert [e["type"] for e in own_rig.events()][-2:] == ["PartEnded", "WorkerStopped"]
    call.sender.close()


def test_recordings_outlive_the_control_line_and_end_when_their_packets_do(own_rig: MediaRig) -> None:
    own_rig.write_card()
    own_rig.start()
    call = Call(own_rig)
    own_rig.disconnect()
    sent = []
    for _ in range(4):
        sent += call.send(10)
        time.sleep(0.25)
    own_rig.connect()
    own_rig.wait_status(call.recording, lambda status: status["streams"][0]["packets"] == 40)
    end = time.monotonic() + 20
    while not own_rig.events("PartEnded"):
        assert time.monotonic() < end, own_rig.log()
        time.sleep(0.2)
    (part,) = own_rig.open_parts(call.recording)
    assert part.payloads == sent
    assert part.end is not None
    assert part.end["reason"] == "signalling_lost"
    assert [gap["why"] for gap in part.end["gaps"]] == ["no packets"]
    call.sender.close()


def test_a_worker_that_stood_still_catches_up_without_loss(own_rig: MediaRig) -> None:
    own_rig.write_card()
    own_rig.start()
    assert own_rig.process is not None
    call = Call(own_rig)
    own_rig.process.send_signal(signal.SIGSTOP)
    sent = call.send(100)
    own_rig.process.send_signal(signal.SIGCONT)
    call.wait_packets(100)
    assert call.close() == sent
