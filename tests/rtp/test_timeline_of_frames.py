"""Frames stand where their timestamps say, from where their source was first heard."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callseal.rtp.srtp import SrtpReceiver
from callseal.rtp.telephone_event import read_durations
from callseal.rtp.timeline import JUMP_MS, LATE_MS, Timeline
from tests.media_rig import Sender, draw_key
from tests.rtp_batch import unprotect


class Heard:
    """One stream as a recorder hears it."""

    def __init__(self, clock_hz: int = 8000) -> None:
        self.sender, self.receiver, self.timeline = Sender(), SrtpReceiver(4), Timeline(4)
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
