"""G.722 at 64 kbit/s: the decoder, wideband speech at 16,000 samples a second from 8,000 bytes.

Source: ITU-T G.722 (09/2012) sections 3.6 and 4: two ADPCM bands and a quadrature mirror filter; tables 9 to 21.
Invariant: a decoder is one stream's state; bytes go in in their order, after a loss the state adapts again within milliseconds.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

_QMF = (3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11)
_WL = (-60, -30, 58, 172, 334, 538, 1198, 3042)
_RL42 = (0, 7, 6, 5, 4, 3, 2, 1, 7, 6, 5, 4, 3, 2, 1, 0)
_ILB = (
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834,
    2896, 2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
)  # fmt: skip
_WH = (0, -214, 798)
_RH2 = (2, 1, 2, 1)
_QM2 = (-7408, -1616, 7408, 1616)
_QM4 = (0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584, 1200, 0)
_QM6 = (
    -136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232, -9360, -8576, -7856,
    -7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776, -2400, -2032, -1688, -1360, -1040, -728,
    24808, 21904, 19008, 16704, 14984, 13512, 12280, 11192, 10232, 9360, 8576, 7856, 7192, 6576, 6000, 5456,
    4944, 4464, 4008, 3576, 3168, 2776, 2400, 2032, 1688, 1360, 1040, 728, 432, 136, -432, -136,
)  # fmt: skip


def _clip(value: int) -> int:
    return -32768 if value < -32768 else 32767 if value > 32767 else value


@dataclass
class _Band:
    """One band's predictor (block 4L/4H of the recommendation) and quantiser scale (block 3)."""

    det: int
    nb: int = 0
    s: int = 0
    sz: int = 0
    r: list[int] = field(default_factory=lambda: [0] * 3)
    p: list[int] = field(default_factory=lambda: [0] * 3)
    a: list[int] = field(default_factory=lambda: [0] * 3)
    d: list[int] = field(default_factory=lambda: [0] * 7)
    b: list[int] = field(default_factory=lambda: [0] * 7)

    def adapt(self, difference: int) -> None:
        """RECONS, PARREC, UPPOL2, UPPOL1, UPZERO, DELAYA, FILTEP, FILTEZ and PREDIC."""
        d, b, a, p, r = self.d, self.b, self.a, self.p, self.r
        d[0] = difference
        r[0] = _clip(self.s + difference)
        p[0] = _clip(self.sz + difference)
        same1, same2 = (p[0] < 0) == (p[1] < 0), (p[0] < 0) == (p[2] < 0)
        first = _clip(a[1] << 2)
        second = (128 if same2 else -128) + (min(-first if same1 else first, 32767) >> 7) + (a[2] * 32512 >> 15)
        second = max(-12288, min(12288, second))
        limit = 15360 - second
        pole = max(-limit, min(limit, (192 if same1 else -192) + (a[1] * 32640 >> 15)))
        step = 0 if difference == 0 else 128
        for tap in range(1, 7):
            b[tap] = _clip((step if (d[tap] < 0) == (difference < 0) else -step) + (b[tap] * 32640 >> 15))
        d[2:7] = d[1:6]
        d[1] = difference
        r[2], r[1] = r[1], r[0]
        p[2], p[1] = p[1], p[0]
        a[1], a[2] = pole, second
        poles = (a[1] * _clip(r[1] + r[1]) >> 15) + (a[2] * _clip(r[2] + r[2]) >> 15)
        zeros = sum(b[tap] * _clip(d[tap] + d[tap]) >> 15 for tap in range(6, 0, -1))
        self.sz = _clip(zeros)
        self.s = _clip(_clip(poles) + self.sz)

    def scale(self, weight: int, limit: int, shift: int) -> None:
        """LOGSCL and SCALEL, or LOGSCH and SCALEH."""
        self.nb = max(0, min(limit, (self.nb * 127 >> 7) + weight))
        exponent = shift - (self.nb >> 11)
        mantissa = _ILB[self.nb >> 6 & 31]
        self.det = (mantissa << -exponent if exponent < 0 else mantissa >> exponent) << 2


class G722Decoder:
    """One stream's decoder."""

    def __init__(self) -> None:
        self._low = _Band(det=32)
        self._high = _Band(det=8)
        self._history = [0] * 24

    def decode(self, coded: bytes) -> NDArray[np.int16]:
        """Coded bytes as samples, two a byte."""
        out = np.empty(2 * len(coded), np.int16)
        history = self._history
        for index, byte in enumerate(coded):
            low, high = self._step_low(byte & 63), self._step_high(byte >> 6)
            del history[:2]
            history += (low + high, low - high)
            odd = sum(history[2 * tap] * _QMF[tap] for tap in range(12))
            even = sum(history[2 * tap + 1] * _QMF[11 - tap] for tap in range(12))
            out[2 * index] = _clip(even >> 11)
            out[2 * index + 1] = _clip(odd >> 11)
        return out

    def _step_low(self, code: int) -> int:
        band = self._low
        sound = max(-16384, min(16383, band.s + (band.det * _QM6[code] >> 15)))
        coarse = code >> 2
        difference = band.det * _QM4[coarse] >> 15
        band.scale(_WL[_RL42[coarse]], 18432, 8)
        band.adapt(difference)
        return sound

    def _step_high(self, code: int) -> int:
        band = self._high
        difference = band.det * _QM2[code] >> 15
        sound = max(-16384, min(16383, band.s + difference))
        band.scale(_WH[_RH2[code]], 22528, 10)
        band.adapt(difference)
        return sound
