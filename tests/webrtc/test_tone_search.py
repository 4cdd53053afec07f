"""The search itself, with the fault planted: a tone in each form, a key in each layout; and nothing where there is nothing."""

import numpy as np
import pylibsrtp
import pytest

from tests.tone_search import SAMPLE_HZ, STRETCH, find_srtp_keys, find_tones

HERTZ = 1031.25
JUNK = np.random.default_rng(1).integers(0, 256, 200_000, np.uint8).tobytes()


def tone(kind: str, stretches: int = 10) -> bytes:
    wave = np.sin(2 * np.pi * HERTZ / SAMPLE_HZ * np.arange(STRETCH * stretches))
    return (wave * (8000 if kind == "<i2" else 0.3)).astype(kind).tobytes()


@pytest.mark.parametrize("kind", ["<i2", "<f4"])
def test_a_tone_in_memory_is_found_wherever_it_begins(kind: str) -> None:
    planted = JUNK[:5000] + tone(kind) + JUNK[5000:]
    assert len(find_tones(planted, HERTZ)) >= 8
    assert find_tones(planted, 1371.0) == []


def test_noise_speech_like_text_and_ramps_are_no_tone() -> None:
    ramps = np.arange(100_000, dtype="<i2").tobytes()
    assert find_tones(JUNK + b"The quick brown fox jumps over the lazy dog. " * 4000 + ramps + bytes(100_000), HERTZ, 1687.5) == []


def packet_under(key: bytes) -> bytes:
    policy = pylibsrtp.Policy(
        key=key, ssrc_type=pylibsrtp.Policy.SSRC_ANY_OUTBOUND, srtp_profile=pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80
    )
    header = b"\x80\x6f\x12\x34" + b"\x00\x00\x00\x01" + b"\x12\x34\x56\x78"
    return bytes(pylibsrtp.Session(policy=policy).protect(header + bytes(80)))


def test_a_master_key_is_found_in_each_layout_and_no_other_is() -> None:
    key, other = (np.random.default_rng(seed).bytes(30) for seed in (2, 3))
    packet = packet_under(key)
    beside = key[:16] + other[:16] + key[16:] + other[16:]
    behind = other[:16] + key[:16] + other[16:] + key[16:]
    for planted, layout in ((key, "key and salt"), (beside, "exporter, client"), (behind, "exporter, server")):
        found = find_srtp_keys([JUNK[:4096] + planted + JUNK[4096:9000]], [packet])
        assert [(one.offset, one.layout) for one in found] == [(4096, layout)]
    assert find_srtp_keys([JUNK[:4096] + other + JUNK[4096:9000]], [packet]) == []
