"""Matroska, as little of it as a recording needs: a head; clusters of SimpleBlocks are `audio.cluster`'s, one track a speaker.

Source: RFC 8794 (EBML), RFC 9559 (Matroska). The segment and its clusters stand one after the other, so a head followed by any of
its clusters plays in any player. Timestamps are milliseconds of the recording; loss is a missing block.
Invariants: a payload is kept as it came; padding is an EBML Void, so that lengths say little.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

PADDED_TO = 1024
BLOCK_SPAN_MS = 32_767
"""A block stands at most so far from its cluster's time (RFC 9559 section 10.1: signed 16 bits)."""

EBML, SEGMENT, INFO, TRACKS, CLUSTER, VOID = 0x1A45DFA3, 0x18538067, 0x1549A966, 0x1654AE6B, 0x1F43B675, 0xEC
TIMESTAMP, SIMPLE_BLOCK = 0xE7, 0xA3
TRACK_ENTRY, TRACK_NUMBER, TRACK_UID, TRACK_TYPE, TRACK_NAME, FLAG_LACING = 0xAE, 0xD7, 0x73C5, 0x83, 0x536E, 0x9C
CODEC_ID, CODEC_PRIVATE, CODEC_NAME, CODEC_DELAY, SEEK_PRE_ROLL = 0x86, 0x63A2, 0x258688, 0x56AA, 0x56BB
AUDIO, SAMPLING_FREQUENCY, CHANNELS, BIT_DEPTH = 0xE1, 0xB5, 0x9F, 0x6264

_ACM_TAGS = {"PCMA": (0x0006, 8), "PCMU": (0x0007, 8), "G722": (0x028F, 4), "G729": (0x0083, 1)}
_SAMPLE_RATES = {"G722": 16_000}
"""G.722's RTP clock is 8,000 by an old mistake (RFC 3551 section 4.5.2); its sound has 16,000 samples a second."""
_BYTES_A_SECOND = {"PCMA": 8000, "PCMU": 8000, "G722": 8000, "G729": 1000}
RAW_CODEC_ID = "A_X/CALLSEAL/RTP"
"""A codec that we do not know: its payloads are kept as they came, and its name stands in CodecName."""


@dataclass(frozen=True)
class TrackHead:
    """One speaker's track: `number` from 1, the m-line's label, who speaks, and the codec as negotiated."""

    number: int
    label: str
    party: str
    codec: str
    clock_hz: int
    channels: int = 1

    @property
    def sample_rate_hz(self) -> int:
        """Samples a second of the sound, which for G.722 is not the RTP clock."""
        return _SAMPLE_RATES.get(self.codec, self.clock_hz)


@dataclass(frozen=True)
class Block:
    """One RTP payload: which track, when (ms from the recording's start), and its bytes."""

    track: int
    at_ms: int
    payload: bytes


def write_head(tracks: Sequence[TrackHead], app: str = "Callseal") -> bytes:
    """EBML header, segment of unknown size, Info and Tracks, padded. Write it once, before any cluster."""
    header = b"".join(
        (
            _unsigned(0x4286, 1), _unsigned(0x42F7, 1), _unsigned(0x42F2, 4), _unsigned(0x42F3, 8),
            _text(0x4282, "matroska"), _unsigned(0x4287, 4), _unsigned(0x4285, 2),
        )
    )  # fmt: skip
    info = _unsigned(0x2AD7B1, 1_000_000) + _text(0x4D80, app) + _text(0x5741, app)
    entries = b"".join(_element(TRACK_ENTRY, _track(track)) for track in tracks)
    return pad(_element(EBML, header) + _id(SEGMENT) + b"\x01" + b"\xff" * 7 + _element(INFO, info) + _element(TRACKS, entries))


def pad(data: bytes) -> bytes:
    """Append an EBML Void up to the next multiple of 1,024 bytes, at least 2 bytes of it where any is needed."""
    return data + (padding_for(len(data)) if data else _void(PADDED_TO))


@lru_cache(PADDED_TO)
def _padding(missing: int) -> bytes:
    return b"" if missing == 0 else _void(missing if missing >= 2 else missing + PADDED_TO)


def padding_for(length: int) -> bytes:
    """The EBML Void that brings `length` bytes to a multiple of 1,024; nothing where they are one."""
    return _padding(-length % PADDED_TO)


def _void(length: int) -> bytes:
    if length - 2 < 0x7F:
        return bytes([VOID, 0x80 | length - 2]) + bytes(length - 2)
    return bytes([VOID]) + struct.pack(">Q", 1 << 56 | length - 9) + bytes(length - 9)


def _track(track: TrackHead) -> bytes:
    audio = _element(SAMPLING_FREQUENCY, struct.pack(">d", float(track.sample_rate_hz))) + _unsigned(CHANNELS, track.channels)
    parts = [
        _unsigned(TRACK_NUMBER, track.number), _unsigned(TRACK_UID, track.number), _unsigned(TRACK_TYPE, 2),
        _unsigned(FLAG_LACING, 0), _text(TRACK_NAME, f"{track.party} [{track.label}]"), _text(CODEC_NAME, track.codec),
    ]  # fmt: skip
    if track.codec in _ACM_TAGS:
        tag, bits = _ACM_TAGS[track.codec]
        align = 10 if track.codec == "G729" else track.channels
        rate = _BYTES_A_SECOND[track.codec]
        private = struct.pack("<HHIIHHH", tag, track.channels, track.sample_rate_hz, rate, align, bits, 0)
        parts += [_text(CODEC_ID, "A_MS/ACM"), _element(CODEC_PRIVATE, private)]
        audio += _unsigned(BIT_DEPTH, bits)
    elif track.codec.lower() == "opus":
        private = b"OpusHead" + struct.pack("<BBHIHB", 1, track.channels, 0, 48_000, 0, 0)  # RFC 7845 section 5.1
        parts += [_text(CODEC_ID, "A_OPUS"), _element(CODEC_PRIVATE, private), _unsigned(SEEK_PRE_ROLL, 80_000_000)]
    else:
        parts.append(_text(CODEC_ID, RAW_CODEC_ID))
    return b"".join(parts) + _element(AUDIO, audio)


def _element(name: int, content: bytes) -> bytes:
    length = len(content)
    for width in range(1, 9):
        if length < (1 << 7 * width) - 1:
            return _id(name) + (1 << 7 * width | length).to_bytes(width, "big") + content
    raise ValueError("expected an element below 2^56 bytes")


def _id(name: int) -> bytes:
    return name.to_bytes((name.bit_length() + 7) // 8, "big")


def _unsigned(name: int, value: int) -> bytes:
    return _element(name, value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big"))


def _text(name: int, value: str) -> bytes:
    return _element(name, value.encode())
