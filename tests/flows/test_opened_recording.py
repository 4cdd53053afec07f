"""What an opening plays: every block at its own time, gaps as silence, and nothing after the keys are wiped."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callseal.errors import NotFound
from callseal.flows.opened import FITTED_MS, KEPT_MESSAGES, Block, OpenedRecording, Track
from callseal.model.call import Gap
from callseal.rtp.timeline import STEP_MS

NARROW = Track(1, "1", "customer", "PCMA", 8000, True)
WIDE = Track(2, "2", "staff", "G722", 16000, True)


class Part:
    """A part whose blocks are given; counts what is unsealed."""

    def __init__(self, tracks: tuple[Track, ...], messages: dict[int, tuple[int, list[Block]]]) -> None:
        self.tracks = tracks
        self._given = messages
        self.unsealed: list[int] = []
        self.wiped = False

    @property
    def messages(self) -> Sequence[tuple[int, int]]:
        return [(at_ms, n) for n, (at_ms, _blocks) in self._given.items()]

    def blocks(self, n: int) -> list[Block]:
        self.unsealed.append(n)
        return [Block(block.track, block.at_ms, block.samples.copy()) for block in self._given[n][1]]

    def matroska(self) -> list[bytes]:
        return []

    def wipe(self) -> None:
        self.wiped = True


def ramp(seconds: int, rate: int = 8000) -> np.ndarray:
    return (np.arange(seconds * rate) % 30011 - 15005).astype(np.int16)


def seconds_of(sound: np.ndarray, track: int = 1, rate: int = 8000) -> dict[int, tuple[int, list[Block]]]:
    count = len(sound) // rate
    return {n + 1: (n * 1000, [Block(track, n * 1000, sound[n * rate : (n + 1) * rate])]) for n in range(count)}


def opened(*parts: Part, duration_ms: int, gaps: tuple[Gap, ...] = ()) -> OpenedRecording:
    return OpenedRecording(parts, duration_ms, gaps, 7, weaker=False, participants=[{"party": "customer", "number": "1"}])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_span_is_what_was_spoken_there(data: st.DataObject) -> None:
    sound = ramp(7)
    recording = opened(Part((NARROW,), seconds_of(sound)), duration_ms=7000)
    first = data.draw(st.integers(0, len(sound) - 1))
    last = data.draw(st.integers(first + 1, len(sound)))
    assert np.array_equal(recording.samples([1], first, last)[:, 0], sound[first:last])


def test_a_gap_is_a_silence_of_its_own_length() -> None:
    sound = ramp(5)
    messages = seconds_of(sound)
    del messages[3]
    recording = opened(Part((NARROW,), messages), duration_ms=5000)
    heard = recording.samples([1], 0, 40000)[:, 0]
    assert np.array_equal(heard[:16000], sound[:16000])
    assert not heard[16000:24000].any()
    assert np.array_equal(heard[24000:], sound[24000:])


def test_a_block_is_placed_by_its_true_time_and_not_by_its_messages() -> None:
    recording = opened(Part((NARROW,), {1: (1000, [Block(1, 420, ramp(1))])}), duration_ms=2000)
    heard = recording.samples([1], 0, 16000)[:, 0]
    assert not heard[: 420 * 8].any()
    assert np.array_equal(heard[420 * 8 : 1420 * 8], ramp(1))


@pytest.mark.parametrize("step_ms", [-FITTED_MS, -1, 1, FITTED_MS])
def test_where_the_timeline_followed_a_clock_one_block_is_fitted_and_all_others_are_as_they_were(step_ms: int) -> None:
    sound = (np.sin(np.arange(2 * 8000) / 9) * 8000).astype(np.int16)
    at_ms = [20 * n + (step_ms if n >= 50 else 0) for n in range(100)]
    messages = {
        second + 1: (second * 1000, [Block(1, at_ms[n], sound[n * 160 : n * 160 + 160]) for n in range(second * 50, second * 50 + 50)])
        for second in range(2)
    }
    recording = opened(Part((NARROW,), messages), duration_ms=2100)
    heard = recording.samples([1], 0, 2100 * 8)[:, 0]
    step = step_ms * 8
    assert np.array_equal(heard[: 49 * 160], sound[: 49 * 160])
    assert np.array_equal(heard[50 * 160 + step : 100 * 160 + step], sound[50 * 160 :])
    assert int(np.abs(np.diff(heard[: 100 * 160 + step].astype(int))).max()) < 1100, "no jump and no hole"
    assert np.array_equal(heard[7900:8100], recording.samples([1], 7900, 8100)[:, 0]), "the same from wherever it is asked"


def test_what_is_more_than_a_step_is_a_gap() -> None:
    assert FITTED_MS >= STEP_MS
    blocks = [Block(1, 0, ramp(1)[:160]), Block(1, 20 + FITTED_MS + 1, ramp(1)[160:320])]
    heard = opened(Part((NARROW,), {1: (0, blocks)}), duration_ms=100).samples([1], 0, 800)[:, 0]
    assert np.array_equal(heard[:160], ramp(1)[:160])
    assert not heard[160 : 160 + 8 * (FITTED_MS + 1)].any()


def test_two_tracks_are_two_columns_in_the_order_asked_and_at_one_rate() -> None:
    both = Part((NARROW, WIDE), {1: (0, [Block(1, 0, ramp(1)), Block(2, 0, ramp(1, 16000))])})
    recording = opened(both, duration_ms=1000)
    assert (recording.rate_hz, recording.frames) == (16000, 16000)
    heard = recording.samples([2, 1], 0, 16000)
    assert np.array_equal(heard[:, 0], ramp(1, 16000))
    assert np.array_equal(heard[::2, 1], ramp(1))


def test_parts_follow_one_another_on_one_timeline() -> None:
    sound = ramp(4)
    messages = seconds_of(sound)
    first = Part((NARROW,), {n: messages[n] for n in (1, 2)})
    second = Part((NARROW,), {n: messages[n] for n in (3, 4)})
    recording = opened(first, second, duration_ms=4000)
    assert np.array_equal(recording.samples([1], 0, 32000)[:, 0], sound)


def test_only_the_seconds_near_what_is_asked_are_unsealed() -> None:
    part = Part((NARROW,), seconds_of(ramp(60)))
    recording = opened(part, duration_ms=60000)
    recording.samples([1], 30 * 8000, 31 * 8000)
    assert part.unsealed and all(26 <= n <= 36 for n in part.unsealed)


def test_decoded_sound_is_kept_for_a_few_seconds_only() -> None:
    part = Part((NARROW,), seconds_of(ramp(60)))
    recording = opened(part, duration_ms=60000)
    for second in range(60):
        recording.samples([1], second * 8000, (second + 1) * 8000)
    assert len(part.unsealed) == 60, "each second is unsealed once when played in order"
    assert len(recording._kept) <= KEPT_MESSAGES


def test_peaks_show_where_it_is_loud() -> None:
    sound = np.zeros(8000 * 4, dtype=np.int16)
    sound[16000:24000] = -32768
    recording = opened(Part((NARROW,), seconds_of(sound)), duration_ms=4000)
    assert recording.peaks(4) == {1: [0, 0, 100, 0]}


@pytest.mark.parametrize("columns", [1, 7, 1200])
def test_peaks_have_at_most_the_columns_asked_for(columns: int) -> None:
    recording = opened(Part((NARROW,), seconds_of(ramp(2))), duration_ms=2345)
    assert len(recording.peaks(columns)[1]) == min(columns, 234)


def test_nothing_is_heard_after_the_keys_are_wiped_and_what_was_decoded_is_overwritten() -> None:
    part = Part((NARROW,), seconds_of(ramp(3)))
    recording = opened(part, duration_ms=3000)
    recording.samples([1], 0, 24000)
    kept = [block.samples for blocks in recording._kept.values() for block in blocks]
    assert kept and any(samples.any() for samples in kept)
    recording.wipe()
    assert part.wiped
    assert not any(samples.any() for samples in kept)
    assert recording.participants == ()
    with pytest.raises(NotFound):
        recording.samples([1], 0, 8000)
    with pytest.raises(NotFound):
        recording.peaks(10)


def test_a_recording_with_a_codec_we_cannot_decode_says_so() -> None:
    odd = Track(1, "1", "customer", "opus", 48000, False)
    recording = opened(Part((odd,), {1: (0, [])}), duration_ms=1000)
    assert not recording.playable
    assert recording.peaks(10) == {1: []}
