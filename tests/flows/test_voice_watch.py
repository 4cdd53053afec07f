"""Voice that should be there and is not: found by packets and, of G.711, by what it measures; told once, and never of a pause."""

import numpy as np
import pytest

from callseal.audio.g711 import SILENCE, encode
from callseal.flows.recording import Codec, Recording, VoiceStream
from callseal.flows.stream_table import StreamTable
from callseal.flows.voice_watch import VoiceWatch
from callseal.model.ids import new_recording_id

FRAME = 160
SPEECH = (8000 * np.sin(np.arange(FRAME) * 0.31)).astype(np.int16)
NOISE = (np.arange(FRAME) % 2 * 120).astype(np.int16)


class Rig:
    """A recording of two streams, its table and the watch; packets are said, not sent."""

    def __init__(self, codec: str = "PCMA") -> None:
        self.codec = codec
        self.pt = 8 if codec == "PCMA" else 0
        self.table, self.watch = StreamTable(4), VoiceWatch(4)
        self.packets = np.zeros(4, np.int64)
        self.streams = [self.stream(number, party) for number, party in ((0, "customer"), (1, "staff"))]
        self.recording = Recording(new_recording_id(), 0, self.streams, b"{}", 0)
        for stream in self.streams:
            self.table.enter(stream, 1, 0, 0)
            self.watch.enter(stream, 0)

    def stream(self, number: int, party: str) -> VoiceStream:
        codecs = {self.pt: Codec(self.pt, self.codec, 8000, 1)}
        return VoiceStream(number, str(number + 1), party, "AEAD_AES_256_GCM", b"", 0, codecs, frozenset(), False)

    def second(self, at_ms: int, *payloads: bytes | None) -> list[tuple[str, str]]:
        """One second in which each stream sends 50 frames of a payload, or none; returns (why, party) of what is then missing."""
        for number, payload in enumerate(payloads):
            if payload is None:
                continue
            of = np.full(50, number)
            self.packets[number] += 50
            self.table.hear(of, np.full(50, at_ms + 1000))
            rows = np.zeros((50, FRAME + 40), np.uint8)
            rows[:, :FRAME] = np.frombuffer(payload, np.uint8)
            at = at_ms + np.arange(50) * 20
            self.watch.measure(of, np.full(50, self.pt, np.uint8), at // 20, at, np.full(50, FRAME), rows)
        now = at_ms + 1000
        self.recording.watch_silence(self.table, now)
        found = self.watch.find_missing({1: self.recording}, self.table, self.packets, now)
        return [(missing["why"], missing["party"]) for _recording, missing in found]

    def run(self, seconds: int, *payloads: bytes | None, first: int = 0) -> dict[int, list[tuple[str, str]]]:
        """Seconds in a row; what was missing, by the second after which it was told."""
        told = {first + n + 1: self.second((first + n) * 1000, *payloads) for n in range(seconds)}
        return {second: found for second, found in told.items() if found}


def silence(codec: str = "PCMA") -> bytes:
    return bytes([SILENCE[codec]]) * FRAME


VOICE = encode("PCMA", SPEECH)


def test_a_call_without_any_packet_is_told_of_after_five_seconds_and_once() -> None:
    assert Rig().run(20, None, None) == {6: [("none-yet", "")]}


def test_a_side_that_never_begins_is_told_of_while_the_other_flows() -> None:
    assert Rig().run(20, VOICE, None) == {6: [("one-side", "staff")]}


def test_packets_that_stop_are_told_of_within_three_seconds_and_again_after_they_came_back() -> None:
    rig = Rig()
    assert rig.run(5, VOICE, VOICE) == {}
    assert rig.run(10, None, None, first=5) == {8: [("no-packets", "")]}
    assert rig.run(3, VOICE, VOICE, first=15) == {}
    assert rig.run(10, VOICE, None, first=18) == {21: [("one-side", "staff")]}


@pytest.mark.parametrize("codec", ["PCMA", "PCMU"])
def test_constant_silence_is_told_of_when_the_other_has_spoken_for_ten_seconds(codec: str) -> None:
    told = Rig(codec).run(30, encode(codec, SPEECH), silence(codec))
    assert told == {11: [("flat", "staff")]}


def test_a_constant_offset_is_no_sound_either() -> None:
    assert Rig().run(12, VOICE, encode("PCMA", np.full(FRAME, 5000, np.int16))) == {11: [("flat", "staff")]}


def test_who_has_spoken_may_be_muted_for_a_minute() -> None:
    rig = Rig()
    rig.run(2, VOICE, VOICE)
    assert list(rig.run(90, VOICE, silence(), first=2)) == [62]


def test_a_quiet_line_with_its_noise_is_a_listener_and_not_told_of() -> None:
    assert Rig().run(120, VOICE, encode("PCMA", NOISE)) == {}


def test_two_silent_sides_are_not_one_silent_side() -> None:
    assert Rig().run(120, silence(), silence()) == {}


def test_a_paused_stream_is_expected_to_be_silent() -> None:
    rig = Rig()
    rig.run(2, VOICE, VOICE)
    rig.recording.pause(rig.streams[1], True, rig.table, 2000)
    rig.table.paused[1] = True
    assert rig.run(120, VOICE, None, first=2) == {}


def test_another_codec_is_watched_by_its_packets_alone() -> None:
    assert Rig("G729").run(60, silence(), silence()) == {}
    assert Rig("G729").run(10, silence(), None) == {6: [("one-side", "staff")]}


def test_a_gap_between_two_looks_is_still_a_gap() -> None:
    """Packets that stop right after one look and come back right before the third: 2.1 s are missing, and it says so."""
    rig = Rig()
    heard = np.zeros(1, np.int64)
    rig.table.hear(heard, np.array([1000]))
    rig.recording.watch_silence(rig.table, 1000)
    rig.table.hear(heard, np.array([3100]))
    (gap,) = rig.recording.watch_silence(rig.table, 3100)
    assert (gap["from_ms"], gap["to_ms"], gap["why"]) == (1000, 3100, "no packets")
