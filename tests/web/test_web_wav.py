"""WAV arithmetic: the header is what a player reads, and a range is what RFC 9110 says."""

import io
import wave

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callseal.web.wav import HEADER_BYTES, RangeNotSatisfiable, Wav, parse_range


def test_the_header_is_read_by_the_standard_library() -> None:
    shape = Wav(channels=2, rate_hz=16000, frames=1234)
    content = shape.header() + bytes(1234 * 4)
    assert len(content) == shape.total_bytes
    with wave.open(io.BytesIO(content)) as read:
        assert (read.getnchannels(), read.getframerate(), read.getnframes(), read.getsampwidth()) == (2, 16000, 1234, 2)


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        (None, None),
        ("bytes=0-", (0, 999)),
        ("bytes=0-99", (0, 99)),
        ("bytes=500-5000", (500, 999)),
        ("bytes=-100", (900, 999)),
        ("bytes=-5000", (0, 999)),
        ("bytes=0-1,5-6", None),
        ("bytes=-", None),
        ("seconds=1-2", None),
        ("bytes=a-b", None),
    ],
)
def test_a_range_is_read_as_the_rfc_says(header: str | None, wanted: tuple[int, int] | None) -> None:
    assert parse_range(header, 1000) == wanted


@pytest.mark.parametrize("header", ["bytes=1000-", "bytes=7-5", "bytes=-0"])
def test_a_range_that_cannot_be_satisfied_is_refused(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable):
        parse_range(header, 1000)


@given(st.text(max_size=40), st.integers(HEADER_BYTES, 1 << 40))
def test_whatever_is_asked_the_range_lies_within_the_file(text: str, total: int) -> None:
    try:
        asked = parse_range(text, total)
    except RangeNotSatisfiable:
        return
    if asked is not None:
        assert 0 <= asked[0] <= asked[1] < total


@given(st.integers(0, 1 << 40), st.integers(0, 1 << 40))
def test_a_well_formed_range_is_answered_exactly(first: int, last: int) -> None:
    total = 1 << 41
    if last < first:
        with pytest.raises(RangeNotSatisfiable):
            parse_range(f"bytes={first}-{last}", total)
    else:
        assert parse_range(f"bytes={first}-{last}", total) == (first, last)
