"""G.711: A-law and mu-law as tables, both ways.

Source: ITU-T G.711 (11/88), tables 1a to 2b. Samples are signed 16-bit, 8,000 a second, one byte each as coded.
"""

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]

SILENCE = {"PCMA": 0xD5, "PCMU": 0xFF}


def _expand_a() -> Samples:
    code = np.arange(256, dtype=np.int32) ^ 0x55
    exponent, mantissa = code >> 4 & 7, code & 15
    small = (mantissa << 4) + 8
    large = ((mantissa << 4) + 0x108) << np.maximum(exponent - 1, 0)
    magnitude = np.where(exponent == 0, small, large)
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)


def _expand_mu() -> Samples:
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    magnitude = (((code & 15) << 3) + 0x84 << (code >> 4 & 7)) - 0x84
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _compress(expanded: Samples) -> NDArray[np.uint8]:
    """The nearest code for each of the 65,536 samples, found from the expanding table; index is the sample as unsigned."""
    order = np.argsort(expanded, kind="stable")
    levels = expanded[order].astype(np.int32)
    samples = np.arange(65536, dtype=np.int32).astype(np.uint16).view(np.int16).astype(np.int32)
    above = np.clip(np.searchsorted(levels, samples), 1, 255)
    nearest = np.where(samples - levels[above - 1] <= levels[above] - samples, above - 1, above)
    return order[nearest].astype(np.uint8)


_EXPAND = {"PCMA": _expand_a(), "PCMU": _expand_mu()}
_COMPRESS = {law: _compress(table) for law, table in _EXPAND.items()}


def decode(law: str, coded: bytes | memoryview) -> Samples:
    """Coded bytes of `PCMA` or `PCMU` as samples, one a byte."""
    return _EXPAND[law][np.frombuffer(coded, np.uint8)]


def encode(law: str, samples: Samples) -> bytes:
    """Samples as coded bytes of `PCMA` or `PCMU`, each the nearest level."""
    return _COMPRESS[law][samples.astype(np.int16).view(np.uint16)].tobytes()
