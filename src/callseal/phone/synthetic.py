"""A made-up voice: seconds and pitch in, something with the rhythm and the formants of speech out.

Harmonics of a wavering pitch, weighted by the first three formants of English vowels (Peterson and Barney, 1952), a syllable
every fifth of a second. It means nothing and is never called human. The same arguments always give the same voice.
"""

import numpy as np
from numpy.typing import NDArray

from callseal.phone.codec import RATE_HZ

_VOWELS = ((730, 1090, 2440), (270, 2290, 3010), (570, 840, 2410), (660, 1720, 2410), (300, 870, 2240), (490, 1350, 1690))
_SYLLABLE_SECONDS = 0.21
_TOP_HZ = 3400
_PEAK = 9000


def make_voice(seconds: float, pitch_hz: float) -> NDArray[np.int16]:
    """16-bit mono speech-like sound at 8 kHz."""
    count = max(int(seconds / _SYLLABLE_SECONDS), 1)
    voice = np.concatenate([_syllable(index, pitch_hz) for index in range(count)])
    scaled: NDArray[np.int16] = (voice * (_PEAK / np.abs(voice).max())).astype(np.int16)
    return scaled


def _syllable(index: int, pitch_hz: float) -> NDArray[np.float64]:
    length = int(_SYLLABLE_SECONDS * RATE_HZ)
    at = np.arange(length) / RATE_HZ
    pitch = pitch_hz * (1 + 0.04 * np.sin(2 * np.pi * 5 * at) - 0.15 * at + 0.03 * (index % 5 - 2))
    phase = 2 * np.pi * np.cumsum(pitch) / RATE_HZ
    formants = np.array(_VOWELS[index * 5 % len(_VOWELS)])
    voice = np.zeros(length)
    for harmonic in range(1, int(_TOP_HZ / pitch.max())):
        weight = np.sum(1 / (1 + ((harmonic * pitch_hz - formants) / 90) ** 2) * (1, 0.6, 0.3))
        voice += (0.05 + weight) * np.sin(harmonic * phase)
    envelope = np.minimum(1, np.minimum(at / 0.03, (at[-1] - at) / 0.05))
    return np.asarray(voice * np.maximum(envelope, 0), np.float64)
