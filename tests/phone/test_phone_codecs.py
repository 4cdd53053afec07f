"""The phone's codecs against other people's: FFmpeg's decoders, and the tables of the recorder that it is to check."""

import av
import numpy as np
import pytest

from callseal.errors import RequestError
from callseal.phone.codec import CODECS, FRAME_SAMPLES, Samples, find_codec
from callseal.phone.synthetic import make_voice

VOICE = make_voice(3, 130)
EVERY_SAMPLE = np.arange(65536, dtype=np.uint16).view(np.int16)[: 65536 // FRAME_SAMPLES * FRAME_SAMPLES]


def decode(name: str, coded: bytes, rate: int) -> np.ndarray:
    decoder = av.CodecContext.create(name, "r")
    decoder.sample_rate = rate
    decoder.layout = "mono"
    return np.concatenate([frame.to_ndarray().ravel() for frame in decoder.decode(av.Packet(coded))]).astype(float)


def snr_db(sent: np.ndarray, heard: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(sent**2) / np.mean((sent - heard) ** 2)))


@pytest.mark.parametrize(("name", "decoder", "largest"), [("PCMA", "pcm_alaw", 512), ("PCMU", "pcm_mulaw", 644)])
def test_every_16_bit_sample_comes_back_within_half_a_step_of_g711(name: str, decoder: str, largest: int) -> None:
    heard = decode(decoder, b"".join(CODECS[name].encode(EVERY_SAMPLE)), 8000)
    sent = EVERY_SAMPLE.astype(float)
    assert np.abs(heard - sent).max() <= largest
    assert np.all(np.abs(heard - sent) <= np.abs(sent) / 16 + 8 + 8), "segments grow with the signal"


@pytest.mark.parametrize(("name", "decoder"), [("PCMA", "pcm_alaw"), ("PCMU", "pcm_mulaw")])
def test_each_code_is_decoded_and_encoded_back_to_itself(name: str, decoder: str) -> None:
    codes = bytes(range(256)) + bytes(64)
    linear = decode(decoder, codes, 8000).astype(np.int16)
    again = b"".join(CODECS[name].encode(linear))
    different = [code for code, back in zip(codes[:256], again[:256], strict=True) if code != back]
    assert different in ([], [0x7F]), "mu-law alone has a negative zero"


def test_ffmpeg_decodes_our_g722_to_the_speech_that_went_in() -> None:
    heard = decode("g722", b"".join(CODECS["G722"].encode(VOICE)), 16000)
    wide = np.interp(np.arange(2 * len(VOICE)) / 2, np.arange(len(VOICE)), VOICE.astype(float))[: len(heard)]
    delay = 22  # the two quadrature mirror filters
    assert snr_db(wide[: len(heard) - delay], heard[delay:]) > 20
    assert snr_db(wide, heard) < 10, "the control: without the delay they do not match"


@pytest.mark.parametrize("name", CODECS)
def test_frames_are_20_ms_and_a_part_of_one_is_dropped(name: str) -> None:
    assert len(CODECS[name].encode(VOICE[: 10 * FRAME_SAMPLES + 159])) == 10
    assert CODECS[name].encode(VOICE[:159]) == []


def test_sizes_are_those_of_the_codecs_that_they_are_like() -> None:
    silence: Samples = np.zeros(8000, np.int16)
    assert {len(payload) for payload in CODECS["G729-like"].encode(VOICE)} == {20}
    assert {len(payload) for payload in CODECS["OPUS-like"].encode(silence)} == {3}
    spoken = {len(payload) for payload in CODECS["OPUS-like"].encode(VOICE[1600:])}
    assert len(spoken) > 10 and max(spoken) <= 120


def test_a_codec_is_found_in_any_case_and_an_unknown_one_is_refused() -> None:
    assert find_codec("pcma") is CODECS["PCMA"]
    with pytest.raises(RequestError, match="expected one of"):
        find_codec("speex")
