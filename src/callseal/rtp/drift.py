"""How each source's clock runs against ours: offset and rate, from how late its least delayed frames come.

A network only ever delays, so the least delayed frame of a window tells most of the clock. A Kalman filter of two states (offset
in ms, rate in ms a second) takes these; what came earlier than expected counts for more than what came later.
Invariants: a column for each slot; a rate is at most `FASTEST`; an offset that leaps by more than `LEAP_MS`, or is far from what
was expected for `DOUBTS` windows, is believed, and teaches nothing of the rate.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from callseal.rtp.header import Ints

Floats = NDArray[np.float64]

FASTEST: Final = 0.5
"""ms a second: 500 ppm, some five times what a telephone's crystal is off."""
UNSURE: Final = 0.02
"""ms a second: a clock that drifts by less may as well not drift at all; one that drifts by twice as much surely does."""
LEAP_MS: Final = 250
FAR_MS: Final = 40
DOUBTS: Final = 4
"""Windows running that were all later than expected by more than jitter hides, `FAR_MS`: then it is no jitter."""
EARLY_VARIANCE: Final = 2.0
LATE_VARIANCE: Final = 12.0
"""Of one measurement, in ms²: of what came earlier, and later, than expected."""
RATE_VARIANCE: Final = 0.15**2
"""Of a clock that was never heard, in (ms/s)²."""
OFFSET_WANDER: Final = 0.02
RATE_WANDER: Final = 1e-7
"""How fast both become uncertain again: ms² and (ms/s)² a second."""


class Drift:
    """Offset and rate of the clock of each slot."""

    def __init__(self, slots: int) -> None:
        self._at_ms = np.zeros(slots, np.int64)
        self._offset, self._rate, self._offset_variance, self._covariance, self._rate_variance = np.zeros((5, slots))
        self._known = np.zeros(slots, np.bool_)
        self._doubts = np.zeros(slots, np.int64)
        """So many windows, one after another, were far later than expected."""
        self.columns = (
            self._at_ms, self._offset, self._rate, self._offset_variance, self._covariance, self._rate_variance, self._known,
            self._doubts,
        )  # fmt: skip

    def begin(self, slot: int, now_ms: int) -> None:
        """A source that has just been anchored."""
        for column in self.columns:
            column[slot] = 0
        self._at_ms[slot], self._rate_variance[slot] = now_ms, RATE_VARIANCE

    def expect(self, slots: Ints, now_ms: Ints) -> Floats:
        """How far, in ms, these clocks have drifted by now."""
        expected: Floats = self._offset[slots] + self._rate[slots] * (now_ms - self._at_ms[slots]) / 1000
        return expected

    def lead(self, slots: Ints) -> Floats:
        """-1 to 1: which way these clocks drift, and how surely."""
        rate = self._rate[slots]
        unsure = np.maximum(np.sqrt(self._rate_variance[slots]), UNSURE)
        lead: Floats = np.sign(rate) * np.clip(np.abs(rate) / unsure - 1, 0, 1)
        return lead

    def come_early(self, slots: Ints, least_ms: Ints) -> None:
        """Frames came before they stand: until a first window has ended, these sources were anchored too late."""
        new = ~self._known[slots]
        self._offset[slots[new]] = np.minimum(self._offset[slots[new]], least_ms[new])

    def measure(self, slots: Ints, now_ms: Ints, least_ms: Ints) -> None:
        """The least delayed frame of a window that ended stood so far from its place; each slot once."""
        seconds = (now_ms - self._at_ms[slots]) / 1000
        expected = self.expect(slots, now_ms)
        surprise = least_ms - expected
        rate_variance = self._rate_variance[slots] + RATE_WANDER * seconds
        covariance = self._covariance[slots] + seconds * self._rate_variance[slots]
        variance = self._offset_variance[slots] + seconds * (self._covariance[slots] + covariance + OFFSET_WANDER)
        error = np.where(surprise < 0, EARLY_VARIANCE, LATE_VARIANCE)
        most = 2 * np.sqrt(variance + error)
        self._doubts[slots] = np.where(surprise > np.maximum(most, FAR_MS), self._doubts[slots] + 1, 0)
        leapt = ~self._known[slots] | (np.abs(surprise) > LEAP_MS) | (self._doubts[slots] >= DOUBTS)
        gain = np.where(leapt, 1, variance / (variance + error))
        rate_gain = np.where(leapt, 0, covariance / (variance + error))
        surprise = np.where(leapt, surprise, np.minimum(surprise, most))
        self._offset[slots] = expected + surprise * gain
        self._rate[slots] = np.clip(self._rate[slots] + surprise * rate_gain, -FASTEST, FASTEST)
        self._offset_variance[slots] = np.where(leapt, LATE_VARIANCE, variance * (1 - gain))
        self._covariance[slots] = np.where(leapt, 0, covariance * (1 - gain))
        self._rate_variance[slots] = rate_variance - rate_gain * covariance
        self._at_ms[slots], self._known[slots] = now_ms, True
