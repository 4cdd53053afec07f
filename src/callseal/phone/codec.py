"""Speech in, RTP payloads of 20 ms out, for each codec that the test phone offers.

ITU-T G.711 (A-law and mu-law), RFC 3551 sections 4.5 and 6, RFC 7587 (Opus), RFC 4733 (telephone-event).
Invariants: made from the recommendation and sharing nothing with `callseal.audio`, so that each checks the other; `OPUS-like`
and `G729-like` have the sizes, timestamps and descriptions of those codecs and random contents, and are called "like" for it.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from callseal.errors import RequestError
from callseal.phone.g722 import encode_g722

Samples = NDArray[np.int16]
"""Mono speech, 8,000 samples a second."""

RATE_HZ = 8000
FRAME_MS = 20
FRAME_SAMPLES = RATE_HZ * FRAME_MS // 1000
PACKETS_PER_SECOND = 1000 // FRAME_MS
EVENT_PAYLOAD_TYPE = 101

_DTX_PEAK = 64
"""Below this peak a frame is silence to the Opus-like codec (discontinuous transmission)."""


@dataclass(frozen=True)
class Codec:
    """One codec as the offer describes it. `timestamp_step` is in units of `clock_hz`; `mark_bits` low bits of each byte may
    carry a mark without making the speech unintelligible, 0 where the contents are random already."""

    name: str
    payload_type: int
    rtpmap: str
    clock_hz: int
    timestamp_step: int
    mark_bits: int
    encode: Callable[[Samples], list[bytes]]
    fmtp: str = ""


def _to_frames(coded: bytes, size: int) -> list[bytes]:
    return [coded[start : start + size] for start in range(0, len(coded) - size + 1, size)]


@lru_cache(maxsize=1)
def _a_law() -> NDArray[np.uint8]:
    linear = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32) >> 3
    magnitude = np.where(linear < 0, -linear - 1, linear)
    segment = np.searchsorted([0x1F, 0x3F, 0x7F, 0xFF, 0x1FF, 0x3FF, 0x7FF, 0xFFF], magnitude, side="left")
    mantissa = (magnitude >> np.maximum(segment, 1)) & 0x0F
    return np.asarray((segment << 4 | mantissa) ^ np.where(linear < 0, 0x55, 0xD5), np.uint8)


@lru_cache(maxsize=1)
def _mu_law() -> NDArray[np.uint8]:
    linear = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32) >> 2
    magnitude = np.minimum(np.abs(linear), 8158) + 33
    segment = np.searchsorted([0x3F, 0x7F, 0xFF, 0x1FF, 0x3FF, 0x7FF, 0xFFF, 0x1FFF], magnitude, side="left")
    mantissa = (magnitude >> (segment + 1)) & 0x0F
    return np.asarray((segment << 4 | mantissa) ^ np.where(linear < 0, 0x7F, 0xFF), np.uint8)


def encode_pcma(samples: Samples) -> list[bytes]:
    """G.711 A-law, 160 bytes a frame; a last frame that is not whole is dropped."""
    return _to_frames(_a_law()[samples.view(np.uint16)].tobytes(), FRAME_SAMPLES)


def encode_pcmu(samples: Samples) -> list[bytes]:
    """G.711 mu-law, 160 bytes a frame; a last frame that is not whole is dropped."""
    return _to_frames(_mu_law()[samples.view(np.uint16)].tobytes(), FRAME_SAMPLES)


def _encode_g722(samples: Samples) -> list[bytes]:
    return _to_frames(encode_g722(samples), FRAME_SAMPLES)


def _size_like_opus(samples: Samples) -> list[bytes]:
    """One frame of SILK wide-band (RFC 6716 table 2, configuration 9): 40 to 120 bytes in speech, 3 in silence (DTX)."""
    frames = samples[: len(samples) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES).astype(np.int32)
    sizes = (40 + b % 81 for b in os.urandom(len(frames)))
    loud = np.abs(frames).max(axis=1, initial=0) >= _DTX_PEAK
    return [bytes([9 << 3]) + os.urandom(size - 1 if speech else 2) for size, speech in zip(sizes, loud, strict=True)]


def _size_like_g729(samples: Samples) -> list[bytes]:
    """Two frames of 10 bytes (RFC 3551 section 4.5.6)."""
    return _to_frames(os.urandom(len(samples) // FRAME_SAMPLES * 20), 20)


CODECS: dict[str, Codec] = {
    codec.name: codec
    for codec in (
        Codec("PCMA", 8, "PCMA/8000", 8000, 160, 3, encode_pcma),
        Codec("PCMU", 0, "PCMU/8000", 8000, 160, 3, encode_pcmu),
        Codec("G722", 9, "G722/8000", 8000, 160, 2, _encode_g722),
        Codec("OPUS-like", 111, "opus/48000/2", 48000, 960, 0, _size_like_opus, "useinbandfec=1;usedtx=1"),
        Codec("G729-like", 18, "G729/8000", 8000, 160, 0, _size_like_g729, "annexb=no"),
    )
}


def find_codec(name: str) -> Codec:
    """A codec by its name here, in any case. Raises RequestError."""
    for known, codec in CODECS.items():
        if known.lower() == name.lower():
            return codec
    raise RequestError(f"codec: expected one of {', '.join(CODECS)}, got {name[:20]}")
