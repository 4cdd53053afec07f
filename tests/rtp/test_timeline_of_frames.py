"""Frames stand where their timestamps say, from where their source was first heard."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callseal.rtp.srtp import SrtpReceiver
from callseal.rtp.telephone_event import read_durations
from callseal.rtp.timeline import JUMP_MS, LATE_MS, PLAY_MS, STEP_MS, Timeline
from tests.media_rig import Sender, draw_key
from tests.rtp_batch import unprotect


class Heard:
    """One stream as a recorder hears it; its newest packet is `age_ms` old when it is read."""

    def __init__(self, clock_hz: int = 8000) -> None:
        self.age_ms = 0
        self.sender, self.receiver, self.timeline = Sender(), SrtpReceiver(4), Timeline(4, lambda _stream: self.age_ms)
        self.receiver.add_stream(0, self.sender.suite, self.sender.key)
        self.clock_hz = clock_hz

    def hear(self, arrived_ms: int, timestamps: list[int], numbers: list[int] | None = None) -> list[int]:
        packets = [
            self.sender.protect(b"x", timestamp=t, **({} if numbers is None else {"number": numbers[n]}))
            for n, t in enumerate(timestamps)
        ]
        frames = unprotect(self.receiver, packets)
        size = len(frames)
        return [
            int(at) for at in self.timeline.place(frames, self.receiver, np.full(size, arrived_ms), np.full(size, self.clock_hz))
        ]


    def go_on(self, wakes: range, late_ms: int = 0) -> list[int]:
        """A frame of each wake, spoken `late_ms` before it; returns where the last one stands."""
        return [self.hear(wake, [(wake - late_ms) * self.clock_hz // 1000])[0] for wake in wakes][-1:]


@pytest.fixture
def heard() -> Any:
    return Heard()


def test_the_newest_frame_of_the_first_batch_stands_where_it_arrived(heard: Heard) -> None:
    assert heard.hear(1000, [0, 160, 320]) == [960, 980, 1000]


def test_jitter_and_loss_move_nothing(heard: Heard) -> None:
    heard.hear(1000, [0])
    assert heard.hear(1190, [160, 480]) == [1020, 1060]
    assert heard.hear(1201, [1600]) == [1200]


def test_nothing_stands_before_the_beginning(heard: Heard) -> None:
    assert heard.hear(5, [0, 160, 320]) == [0, 20, 40]


def test_the_timestamp_wraps_and_time_goes_on(heard: Heard) -> None:
    assert heard.hear(1000, [2**32 - 160, 2**32]) == [980, 1000]
    assert heard.hear(1020, [160]) == [1020]


def test_a_clock_of_48_khz_counts_as_one() -> None:
    heard = Heard(48_000)
    assert heard.hear(1000, [0, 960, 1920]) == [960, 980, 1000]


def test_a_timestamp_that_jumps_is_anchored_anew_and_a_late_frame_is_not(heard: Heard) -> None:
    heard.hear(1000, [0])
    assert heard.hear(1020, [8000 * 60]) == [1020]
    assert heard.hear(1040, [8000 * 60 + 160]) == [1040]


def test_a_new_key_alone_leaves_time_as_it_was(heard: Heard) -> None:
    heard.hear(1000, [0])
    key = draw_key(heard.sender.suite)
    heard.receiver.rekey(0, heard.sender.suite, key)
    heard.sender.rekey(heard.sender.suite, key)
    assert heard.hear(1095, [160]) == [1020]
    heard.receiver.drop_old_keys(0)
    assert heard.hear(1100, [320]) == [1040]


def test_a_new_ssrc_is_anchored_where_it_arrives(heard: Heard) -> None:
    heard.hear(1000, [0])
    heard.sender.ssrc ^= 1
    assert heard.hear(1500, [77, 237]) == [1480, 1500]


def test_the_first_batch_stands_where_the_kernel_says_that_it_arrived(heard: Heard) -> None:
    heard.age_ms = 13
    assert heard.hear(1000, [0, 160]) == [967, 987]
    assert heard.hear(1200, [320]) == [1007]


def test_a_first_frame_that_came_late_is_put_right_in_steps_that_nobody_hears(heard: Heard) -> None:
    first = heard.hear(1000, [(1000 - 31) * 8])[0]
    assert first == 1000, "31 ms after it should have come"
    times = [(wake, heard.go_on(range(wake, wake + 1))[0]) for wake in range(1197, 6000, 197)]
    moves = [(b - a) - (at - before) for (before, a), (at, b) in pairwise(times)]
    assert all(-STEP_MS <= move <= 0 for move in moves)
    assert times[-1][1] - times[-1][0] == PLAY_MS


@pytest.mark.parametrize("ppm", [-200, 200])
def test_after_a_silence_a_drift_is_put_right_at_once(heard: Heard, ppm: int) -> None:
    for wake in [*range(1000, 100_000, 197), 220_000]:
        at = heard.hear(wake, [round((wake - 1000) * 8 * (1 + ppm / 1e6))])[0]
        assert abs(at - wake) <= PLAY_MS + 4


def test_what_a_busy_machine_reads_late_moves_nothing(heard: Heard) -> None:
    chance = np.random.default_rng(1)
    heard.hear(1000, [1000 * 8])
    for wake in range(1197, 120_000, 197):
        late = int(chance.exponential(3) + chance.uniform(0, 20))
        assert heard.hear(wake, [(wake - late) * 8]) == [wake - late]


def test_a_clock_that_stood_still_in_a_pause_leaps_by_as_much(heard: Heard) -> None:
    heard.go_on(range(1000, 20_000, 197))
    assert heard.go_on(range(21_500, 30_000, 197), late_ms=1500) != heard.go_on(range(30_000, 30_001), late_ms=1500)
    (at,) = heard.go_on(range(30_197, 40_000, 197), late_ms=1500)
    assert abs(at - 39_850) <= PLAY_MS


def test_frames_before_a_jump_of_the_timestamp_stay_where_they_were(heard: Heard) -> None:
    heard.hear(1000, [0])
    far = 160 * 1_000_000
    assert heard.hear(1060, [160, 320, far]) == [1020, 1040, 1060]


def test_a_sender_that_runs_ahead_of_its_time_overlays_nothing(heard: Heard) -> None:
    times: list[int] = []
    for wake, frame in ((1000, 0), (1100, 30), (1300, 60), (2000, 90), (2200, 120)):
        times += heard.hear(wake, [160 * n for n in range(frame, frame + 30)])
    assert all(before < after for before, after in pairwise(times))


def test_one_frame_with_an_odd_timestamp_teaches_nothing(heard: Heard) -> None:
    heard.hear(1000, [0])
    assert heard.hear(1060, [160, 8000 * 3600, 480])[::2] == [1020, 1060]
    for wake in range(1197, 20_000, 197):
        assert heard.hear(wake, [(wake - 1000) * 8]) == [wake]


def test_a_drift_goes_on_under_a_new_key(heard: Heard) -> None:
    def speak(wakes: range) -> int:
        return [heard.hear(wake, [round((wake - 1000) * 8 * 1.0002)])[0] - wake for wake in wakes][-1]

    before = speak(range(1000, 100_000, 197))
    key = draw_key(heard.sender.suite)
    heard.receiver.rekey(0, heard.sender.suite, key)
    heard.sender.rekey(heard.sender.suite, key)
    after = speak(range(100_051, 130_000, 197))
    assert abs(before) <= PLAY_MS + 1 and abs(after) <= PLAY_MS + 1


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 2**32 - 1)), min_size=1, max_size=30))
def test_whatever_the_timestamps_a_frame_stands_near_its_arrival(steps: list[tuple[int, int]]) -> None:
    heard, arrived = Heard(), 0
    for step, timestamp in steps:
        arrived += step
        (at,) = heard.hear(arrived, [timestamp])
        assert max(0, arrived - LATE_MS) <= at <= arrived + JUMP_MS


def test_the_length_of_an_event_is_read_and_a_short_one_has_none() -> None:
    payload = np.array([[5, 0x8A, 0x04, 0xB0], [5, 0, 0, 0]], np.uint8)
    assert read_durations(payload, np.array([4, 2])).tolist() == [1200, 0]
    assert read_durations(payload[:, :2], np.array([2, 2])).tolist() == [0, 0]
