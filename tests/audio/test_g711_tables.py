"""G.711's tables agree with FFmpeg's, and a code survives the way there and back."""

import av
import numpy as np
import pytest

from callseal.audio import g711

LAWS = {"PCMA": "pcm_alaw", "PCMU": "pcm_mulaw"}


@pytest.mark.parametrize("law", LAWS)
def test_every_code_expands_as_ffmpeg_expands_it(law: str) -> None:
    context = av.CodecContext.create(LAWS[law], "r")
    context.sample_rate, context.layout = 8000, "mono"
    theirs = np.concatenate([frame.to_ndarray().ravel() for frame in context.decode(av.Packet(bytes(range(256))))])
    np.testing.assert_array_equal(g711.decode(law, bytes(range(256))), theirs)


@pytest.mark.parametrize("law", LAWS)
def test_every_level_comes_back_as_itself(law: str) -> None:
    levels = g711.decode(law, bytes(range(256)))
    np.testing.assert_array_equal(g711.decode(law, g711.encode(law, levels)), levels)


@pytest.mark.parametrize("law", LAWS)
def test_every_sample_becomes_its_nearest_level(law: str) -> None:
    samples = np.arange(-32768, 32768, dtype=np.int32)
    levels = np.sort(g711.decode(law, bytes(range(256))).astype(np.int32))
    heard = g711.decode(law, g711.encode(law, samples.astype(np.int16))).astype(np.int32)
    index = np.clip(np.searchsorted(levels, samples), 1, 255)
    nearest = np.minimum(np.abs(samples - levels[index - 1]), np.abs(samples - levels[index]))
    np.testing.assert_array_equal(np.abs(samples - heard), nearest)


@pytest.mark.parametrize("law", LAWS)
def test_silence_is_silent(law: str) -> None:
    assert abs(int(g711.decode(law, bytes([g711.SILENCE[law]]))[0])) <= 8
