"""The G.722 decoder gives the very samples that FFmpeg's gives, for speech-like sound and for any bytes at all."""

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callseal.audio.g722 import G722Decoder
from callseal.phone.g722 import encode_g722
from callseal.phone.speech import synthetic_speech


def _ffmpeg(coded: bytes) -> np.ndarray:
    context = av.CodecContext.create("g722", "r")
    context.sample_rate, context.layout = 16000, "mono"
    frames = context.decode(av.Packet(coded))
    return np.concatenate([frame.to_ndarray().ravel() for frame in frames])


def test_coded_speech_decodes_as_ffmpeg_decodes_it() -> None:
    coded = encode_g722(synthetic_speech("").customer[8000:16000])
    assert len(coded) > 7000
    np.testing.assert_array_equal(G722Decoder().decode(coded), _ffmpeg(coded))


@settings(max_examples=30, deadline=None)
@given(st.binary(min_size=1, max_size=400))
def test_any_bytes_decode_as_ffmpeg_decodes_them(coded: bytes) -> None:
    np.testing.assert_array_equal(G722Decoder().decode(coded), _ffmpeg(coded))


@pytest.mark.parametrize("size", [1, 7, 160])
def test_the_stream_may_come_in_pieces_of_any_size(size: int) -> None:
    coded = encode_g722(synthetic_speech("").customer[8000:9600])
    decoder = G722Decoder()
    pieces = [decoder.decode(coded[start : start + size]) for start in range(0, len(coded), size)]
    np.testing.assert_array_equal(np.concatenate(pieces), G722Decoder().decode(coded))
