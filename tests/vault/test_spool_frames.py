"""The spool: after any cut or damage, what was not hit is read, and what was hit is named."""

import struct

import crc32c
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callseal.errors import InternalError, LimitExceeded
from callseal.model.ids import RecordingId
from callseal.vault.spool import (
    FRAME_OVERHEAD,
    MAGIC,
    PAYLOAD_LIMIT,
    Damage,
    Frame,
    Padding,
    encode_frame,
    encode_padding,
    iter_frames,
)  # fmt: skip
from tests.vault.sealed_rig import RECORDING, seal_part

PART = seal_part()
SPOOL = PART.spool()
FRAMES = [item for item in iter_frames(SPOOL) if isinstance(item, Frame)]
STARTS = [0]
for _frame in FRAMES:
    STARTS.append(STARTS[-1] + FRAME_OVERHEAD + len(_frame.payload))


def read(data: bytes) -> tuple[list[Frame], list[Damage]]:
    items = list(iter_frames(data))
    return [item for item in items if isinstance(item, Frame)], [item for item in items if isinstance(item, Damage)]


def test_frames_are_read_as_they_were_written() -> None:
    assert [frame.payload for frame in FRAMES] == [PART.header, *(message for _at, message in PART.messages)]
    assert [frame.at_ms for frame in FRAMES] == [0, *(at for at, _message in PART.messages)]
    assert [frame.is_header for frame in FRAMES] == [True] + [False] * len(PART.messages)
    assert all((frame.recording, frame.part) == (RECORDING, 0) for frame in FRAMES)


def test_the_checksum_is_crc32c_of_everything_else() -> None:
    assert crc32c.crc32c(b"123456789") == 0xE3069283
    frame = encode_frame(RECORDING, 2, 3000, b"payload")
    assert struct.unpack_from(">I", frame, 32)[0] == crc32c.crc32c(frame[:32] + b"payload")


def test_no_message_can_be_taken_for_a_header() -> None:
    assert int.from_bytes(b"CSR1") > 1_000_000


@given(st.integers(FRAME_OVERHEAD, 9000))
@settings(max_examples=40, deadline=None)
def test_padding_is_no_frame_of_anybody_and_no_damage(length: int) -> None:
    padding = encode_padding(length)
    assert len(padding) == length
    items = list(iter_frames(SPOOL[: STARTS[2]] + padding + SPOOL[STARTS[2] :] + padding))
    assert items == [*FRAMES[:2], Padding(length), *FRAMES[2:], Padding(length)]


def test_padding_shorter_than_a_frame_is_refused() -> None:
    with pytest.raises(InternalError):
        encode_padding(FRAME_OVERHEAD - 1)


@given(st.integers(0, len(SPOOL)))
@settings(max_examples=120, deadline=None)
def test_a_spool_cut_anywhere_gives_every_whole_frame_and_names_the_tail(length: int) -> None:
    frames, damage = read(SPOOL[:length])
    whole = sum(start <= length for start in STARTS[1:])
    assert frames == FRAMES[:whole]
    torn = length - STARTS[whole]
    assert damage == ([Damage(STARTS[whole], torn, True)] if torn else [])


@given(st.integers(0, len(SPOOL) - 1), st.integers(1, 255))
@settings(max_examples=120, deadline=None)
def test_a_changed_byte_costs_one_frame_and_is_named(place: int, change: int) -> None:
    data = bytearray(SPOOL)
    data[place] ^= change
    frames, damage = read(bytes(data))
    hit = max(number for number, start in enumerate(STARTS) if start <= place)
    assert frames == FRAMES[:hit] + FRAMES[hit + 1 :]
    assert damage == [Damage(STARTS[hit], STARTS[hit + 1] - STARTS[hit], hit == len(FRAMES) - 1)]


@given(st.binary(max_size=300))
@settings(max_examples=60, deadline=None)
def test_any_bytes_between_frames_are_skipped_and_named(noise: bytes) -> None:
    frames, damage = read(SPOOL[: STARTS[2]] + noise + SPOOL[STARTS[2] :])
    assert frames == FRAMES
    assert damage == ([Damage(STARTS[2], len(noise), False)] if noise else [])


def test_a_tail_of_zeros_as_a_crash_may_leave_it_is_torn() -> None:
    frames, damage = read(SPOOL + bytes(5000))
    assert frames == FRAMES and damage == [Damage(len(SPOOL), 5000, True)]


def test_a_length_that_lies_swallows_nothing() -> None:
    lying = bytearray(SPOOL)
    lying[4:8] = struct.pack(">I", PAYLOAD_LIMIT)
    frames, damage = read(bytes(lying))
    assert frames == FRAMES[1:] and damage == [Damage(0, STARTS[1], False)]


def test_a_magic_within_a_payload_begins_no_frame() -> None:
    inside = encode_frame(RECORDING, 0, 0, b"..." + MAGIC + bytes(100))
    assert read(inside)[0][0].payload == b"..." + MAGIC + bytes(100)


def test_bounds_are_kept_when_writing() -> None:
    with pytest.raises(LimitExceeded):
        encode_frame(RECORDING, 0, 0, bytes(PAYLOAD_LIMIT + 1))
    with pytest.raises(InternalError):
        encode_frame(RecordingId(bytes(15)), 0, 0, b"x")
