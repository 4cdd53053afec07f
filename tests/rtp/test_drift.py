"""What the least delays of windows say of a clock."""

import numpy as np
import pytest

from callseal.rtp.drift import DOUBTS, FASTEST, LEAP_MS, Drift

SLOT = np.array([1])


def tell(drift: Drift, late_ms: list[float], from_s: int = 0) -> int:
    """A window of 5 s each; returns when the last one was."""
    for n, late in enumerate(late_ms, 1):
        drift.measure(SLOT, np.array([(from_s + 5 * n) * 1000]), np.array([round(late)]))
    return from_s + 5 * len(late_ms)


def expected(drift: Drift, at_s: float) -> float:
    return float(drift.expect(SLOT, np.array([int(at_s * 1000)]))[0])


@pytest.fixture
def drift() -> Drift:
    drift = Drift(3)
    drift.begin(1, 0)
    return drift


@pytest.mark.parametrize("ppm", [-200, -20, 0, 50, 200])
def test_a_rate_is_learnt_and_goes_on_through_a_silence(drift: Drift, ppm: int) -> None:
    chance = np.random.default_rng(abs(ppm))
    tell(drift, [ppm * n * 0.005 + chance.exponential(2) for n in range(60)])
    assert abs(expected(drift, 900) - ppm * 0.9) < 25


def test_an_offset_that_comes_and_goes_is_not_believed_and_one_that_stays_is(drift: Drift) -> None:
    at = tell(drift, [0.0] * 10)
    at = tell(drift, [120.0] * (DOUBTS - 2) + [0.0] * 3, at)
    assert abs(expected(drift, at)) < 5
    at = tell(drift, [120.0] * DOUBTS, at)
    assert abs(expected(drift, at) - 120) < 5


def test_a_leap_is_believed_at_once_and_is_no_rate(drift: Drift) -> None:
    at = tell(drift, [0.0] * 10)
    at = tell(drift, [LEAP_MS + 50.0], at)
    assert abs(expected(drift, at + 100) - LEAP_MS - 50) < 5


def test_no_clock_is_faster_than_any_crystal_and_slots_do_not_touch(drift: Drift) -> None:
    tell(drift, [-10.0 * n for n in range(20)])
    assert abs(float(drift._rate[1])) <= FASTEST
    assert not drift._offset[[0, 2]].any()
