"""Spool frames: how sealed messages of all live recordings stand in one append-only file.

docs/spec/sealed-recording.md section 4; CRC-32C is RFC 3720 appendix B.4.
Frame = `"CSF1" ‖ u32 length ‖ recording (16) ‖ u32 part ‖ u32 at_ms ‖ u32 crc32c ‖ payload`; the checksum is over the rest.
A part's first payload is its header ("CSR1…"), every later one a message. A frame of recording 00…00 is padding: it fills a
write up to whole blocks of the disk.
Invariants: no key is needed to read frames; a frame that does not check is never given; damage costs only the frames it
hit, and is named. The checksum finds accidents: that nobody altered a frame is proved when it is opened, and by the log.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

import crc32c

from callseal.errors import InternalError, LimitExceeded
from callseal.model.ids import RecordingId
from callseal.vault.expand import Buffer
from callseal.vault.header import MAGIC as HEADER_MAGIC
from callseal.vault.message import MESSAGE_LIMIT

MAGIC = b"CSF1"
_HEAD = struct.Struct(">4sI16sII")
_SUM = struct.Struct(">I")
FRAME_OVERHEAD = _HEAD.size + _SUM.size
PAYLOAD_LIMIT = MESSAGE_LIMIT
RECORDING_LENGTH = 16
NOBODY = bytes(RECORDING_LENGTH)
"""The recording of a padding frame; no recording is named so."""


class Frame(NamedTuple):
    """One frame: whose it is, when its first moment was (ms from the recording's start), and its sealed payload."""

    recording: RecordingId
    part: int
    at_ms: int
    payload: bytes

    @property
    def is_header(self) -> bool:
        """Whether the payload is a part's header; a message cannot begin so (its number would be 1,129,534,001)."""
        return self.payload.startswith(HEADER_MAGIC)


class Damage(NamedTuple):
    """Bytes that are no frame: where they begin, how many, and whether they are the file's tail."""

    offset: int
    length: int
    is_tail: bool


class Padding(NamedTuple):
    """A frame of nobody's, and how many bytes it takes up in all."""

    length: int


def encode_padding(length: int) -> bytes:
    """A padding frame of `length` bytes in all, at least `FRAME_OVERHEAD`. Raises InternalError, LimitExceeded."""
    if length < FRAME_OVERHEAD:
        raise InternalError(f"padding: expected at least {FRAME_OVERHEAD} bytes, got {length}")
    return encode_frame(RecordingId(NOBODY), 0, 0, bytes(length - FRAME_OVERHEAD))


def encode_frame(recording: RecordingId, part: int, at_ms: int, payload: Buffer) -> bytes:
    """The bytes of a frame; `at_ms` below 2^32 (49 days). Raises LimitExceeded above `PAYLOAD_LIMIT`."""
    return encode_head(recording, part, at_ms, payload) + payload


def encode_head(recording: RecordingId, part: int, at_ms: int, payload: Buffer) -> bytes:
    """What stands before the payload in a frame, as `encode_frame`."""
    if len(recording) != RECORDING_LENGTH:
        raise InternalError(f"frame: expected a recording id of {RECORDING_LENGTH} bytes, got {len(recording)}")
    if len(payload) > PAYLOAD_LIMIT:
        raise LimitExceeded(f"frame: expected at most {PAYLOAD_LIMIT} bytes, got {len(payload)}")
    head = _HEAD.pack(MAGIC, len(payload), recording, part, at_ms)
    return head + _SUM.pack(_checksum(head, payload))


def iter_frames(data: bytes | memoryview) -> Iterator[Frame | Padding | Damage]:
    """Every whole frame in order, and every stretch between them that is none or padding. Never raises on what a disk may hold.

    A `Damage` with `is_tail` is torn, or, while its writer lives, still coming: begin again at its offset later.
    """
    at, lost_from = 0, -1
    raw = bytes(data)
    while at < len(raw):
        frame, end = _read_frame(raw, at)
        if frame is None:
            if lost_from < 0:
                lost_from = at
            at = raw.find(MAGIC, at + 1)
            if at < 0:
                break
            continue
        if lost_from >= 0:
            yield Damage(lost_from, at - lost_from, is_tail=False)
            lost_from = -1
        yield Padding(end - at) if frame.recording == NOBODY else frame
        at = end
    if lost_from >= 0:
        yield Damage(lost_from, len(raw) - lost_from, is_tail=True)


def _read_frame(raw: bytes, at: int) -> tuple[Frame | None, int]:
    if at + FRAME_OVERHEAD > len(raw) or raw[at : at + 4] != MAGIC:
        return None, at
    head = raw[at : at + _HEAD.size]
    _magic, length, recording, part, at_ms = _HEAD.unpack(head)
    start = at + FRAME_OVERHEAD
    if length > PAYLOAD_LIMIT or start + length > len(raw):
        return None, at
    payload = raw[start : start + length]
    if _SUM.unpack_from(raw, at + _HEAD.size)[0] != _checksum(head, payload):
        return None, at
    return Frame(RecordingId(recording), part, at_ms, payload), start + length


def _checksum(head: bytes, payload: Buffer) -> int:
    return int(crc32c.crc32c(payload, crc32c.crc32c(head)))
