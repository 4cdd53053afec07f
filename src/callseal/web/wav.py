"""WAV as if it lay there whole, and one byte range of it: header arithmetic only.

Source: RIFF WAVE, PCM 16 bit little-endian; RFC 9110 section 14 (one range; several are answered with the whole, as it allows).
Invariant: the length is known before a sample is opened, so that a browser can seek to any second.
"""

import re
import struct
from dataclasses import dataclass
from typing import Final

HEADER_BYTES: Final = 44
SAMPLE_BYTES: Final = 2
_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")


class RangeNotSatisfiable(ValueError):
    """The range begins beyond the end (RFC 9110 section 15.5.17)."""


@dataclass(frozen=True)
class Wav:
    """The shape of a WAV file: `frames` samples for each of `channels`, at `rate_hz`."""

    channels: int
    rate_hz: int
    frames: int

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        return self.channels * SAMPLE_BYTES

    @property
    def total_bytes(self) -> int:
        """Bytes of the whole file."""
        return HEADER_BYTES + self.frames * self.frame_bytes

    def header(self) -> bytes:
        """The 44 bytes before the samples."""
        data = self.frames * self.frame_bytes
        form = struct.pack(
            "<4sIHHIIHH", b"fmt ", 16, 1, self.channels, self.rate_hz, self.rate_hz * self.frame_bytes, self.frame_bytes, 16
        )
        return struct.pack("<4sI4s", b"RIFF", 36 + data, b"WAVE") + form + struct.pack("<4sI", b"data", data)


def parse_range(header: str | None, total_bytes: int) -> tuple[int, int] | None:
    """The first and last byte asked for, or None for the whole. Raises RangeNotSatisfiable."""
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None or match.group(0) == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        wanted = int(last)
        if wanted == 0:
            raise RangeNotSatisfiable
        return max(0, total_bytes - wanted), total_bytes - 1
    if int(first) >= total_bytes or (last and int(last) < int(first)):
        raise RangeNotSatisfiable
    return int(first), min(int(last), total_bytes - 1) if last else total_bytes - 1
