"""G.722 at 64 kbit/s: speech in, one byte for each pair of 16 kHz samples out.

ITU-T G.722 (09/2012) sections 3 and 6, in its names (el, ril, dlow, det, nb). The phone's speech has 8,000 samples a second and
is interpolated to 16,000 first. Plain Python, about 0.1 s of work for each second of speech: for a test phone, not a recorder.
"""

from bisect import bisect_right

import numpy as np
from numpy.typing import NDArray

_QMF = (3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11)
_Q6 = (
    35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1023, 1121, 1219, 1339, 1458, 1612,
    1765, 1980, 2195, 2557, 2919,
)  # fmt: skip
_ILN = (63, 62, *range(31, 3, -1))
_ILP = tuple(range(61, 31, -1))
_WL = (-60, -30, 58, 172, 334, 538, 1198, 3042)
_RL42 = (0, 7, 6, 5, 4, 3, 2, 1, 7, 6, 5, 4, 3, 2, 1, 0)
_ILB = (
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834, 2896, 2960, 3025, 3091, 3158,
    3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
)  # fmt: skip
_QM4 = (0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584, 1200, 0)
_QM2 = (-7408, -1616, 7408, 1616)
_WH = (0, -214, 798)
_RH2 = (2, 1, 2, 1)


def _saturate(value: int) -> int:
    return -32768 if value < -32768 else 32767 if value > 32767 else value


class _Band:
    """The adaptive predictor and quantiser scale of one sub-band (section 3.6, figures 9 and 10)."""

    def __init__(self, det: int, nb_limit: int, shift: int) -> None:
        self.det = det
        self.s = 0
        self._nb, self._nb_limit, self._shift = 0, nb_limit, shift
        self._sz = 0
        self._r1 = self._p1 = self._p2 = self._a1 = self._a2 = 0
        self._d = [0] * 6
        self._b = [0] * 6

    def scale(self, step: int) -> None:
        """LOGSCL and SCALEL: the logarithmic scale factor moves by `step`."""
        self._nb = min(max((self._nb * 127 >> 7) + step, 0), self._nb_limit)
        table, shift = _ILB[self._nb >> 6 & 31], self._shift - (self._nb >> 11)
        self.det = (table << -shift if shift < 0 else table >> shift) << 2

    def adapt(self, d: int) -> None:
        """UPPOL2, UPPOL1, UPZERO, FILTEP and FILTEZ: learn from the quantised difference and predict the next sample."""
        r0, p0 = _saturate(self.s + d), _saturate(self._sz + d)
        same1, same2 = (p0 < 0) == (self._p1 < 0), (p0 < 0) == (self._p2 < 0)
        lean = _saturate(self._a1 << 2)
        lean = min(-lean if same1 else lean, 32767)
        a2 = min(max((128 if same2 else -128) + (lean >> 7) + (self._a2 * 32512 >> 15), -12288), 12288)
        limit = _saturate(15360 - a2)
        a1 = min(max(_saturate((192 if same1 else -192) + (self._a1 * 32640 >> 15)), -limit), limit)
        step, negative = 128 if d else 0, d < 0
        self._b = [
            _saturate((step if (old < 0) == negative else -step) + (b * 32640 >> 15))
            for old, b in zip(self._d, self._b, strict=True)
        ]
        self._d = [d, *self._d[:5]]
        sp = _saturate((a1 * _saturate(2 * r0) >> 15) + (a2 * _saturate(2 * self._r1) >> 15))
        self._sz = _saturate(sum(b * _saturate(2 * old) >> 15 for b, old in zip(self._b, self._d, strict=True)))
        self.s = _saturate(sp + self._sz)
        self._r1, self._p2, self._p1, self._a1, self._a2 = r0, self._p1, p0, a1, a2


def _split_bands(samples: NDArray[np.int16]) -> tuple[list[int], list[int]]:
    """The transmit quadrature mirror filter (section 3.1): 16 kHz in, low and high band at 8 kHz out."""
    wide = np.zeros(2 * len(samples), np.float64)
    wide[0::2] = samples
    wide[1::2] = (samples.astype(np.float64) + np.append(samples[1:], samples[-1:])) / 2
    padded = np.concatenate([np.zeros(22, np.int64), wide.astype(np.int64)])
    odd = np.convolve(padded[0::2], _QMF[::-1], mode="valid")
    even = np.convolve(padded[1::2], _QMF, mode="valid")
    return ((even + odd) >> 14).tolist(), ((even - odd) >> 14).tolist()


def encode_g722(samples: NDArray[np.int16]) -> bytes:
    """Encode 8 kHz mono speech; one byte out for each sample in, at 64 kbit/s."""
    if not len(samples):
        return b""
    low, high = _Band(32, 18432, 8), _Band(8, 22528, 10)
    coded = bytearray()
    for x_low, x_high in zip(*_split_bands(samples), strict=True):
        el = _saturate(x_low - low.s)
        wanted = (el if el >= 0 else -(el + 1)) << 12
        step = bisect_right(_Q6, (wanted | 0xFFF) // low.det)
        i_low = _ILN[step] if el < 0 else _ILP[step]
        ril = i_low >> 2
        d_low = low.det * _QM4[ril] >> 15
        low.scale(_WL[_RL42[ril]])
        low.adapt(d_low)
        eh = _saturate(x_high - high.s)
        outer = (eh if eh >= 0 else -(eh + 1)) >= 564 * high.det >> 12
        i_high = (0 if outer else 1) if eh < 0 else (2 if outer else 3)
        d_high = high.det * _QM2[i_high] >> 15
        high.scale(_WH[_RH2[i_high]])
        high.adapt(d_high)
        coded.append(i_high << 6 | i_low)
    return bytes(coded)
