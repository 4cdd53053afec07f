"""Published vectors: RFC 3711 appendix B, RFC 7714 sections 16 and 17, and libsrtp's reference packets."""

import json
from typing import Any

import numpy as np
import pytest

from callseal.errors import TamperedError
from callseal.rtp.srtcp import SrtcpReceiver
from callseal.rtp.srtp import SrtpReceiver
from callseal.rtp.srtp_crypto import CmKey, Keys, Rows, make_counters
from callseal.rtp.srtp_kdf import SUITES, SessionKeys, derive, derive_session, find_suite
from tests.conftest import VECTORS
from tests.rtp_batch import payloads_of, unprotect

FOLDER = VECTORS / "srtp"
needs_vectors = pytest.mark.skipif(not FOLDER.is_dir(), reason="the published SRTP vectors are not beside this checkout")
CM = "AES_CM_128_HMAC_SHA1_80"
CM_KEY = bytes.fromhex("e1f97a0d3e018be0d64fa32c06de41390ec675ad498afeebb6960b3aabe6")
GCM_KEY = bytes.fromhex("000102030405060708090a0b0c0d0e0fa0a1a2a3a4a5a6a7a8a9aaab")


def _rfc(title: str) -> dict[str, Any]:
    vectors = json.loads((FOLDER / "srtp_rfc_vectors.json").read_text())["vectors"]
    return next(vector for vector in vectors if title in vector["title"])


def _libsrtp(function: str) -> dict[str, bytes]:
    arrays = json.loads((FOLDER / "libsrtp_reference_packets.json").read_text())["arrays"]
    return {array["name"]: bytes.fromhex(array["hex"]) for array in arrays if array["function"] == function}


def test_session_keys_of_rfc_3711_appendix_b3() -> None:
    key, salt = CM_KEY[:16], CM_KEY[16:]
    assert derive(key, salt, 0, 16).hex() == "c61e7a93744f39ee10734afe3ff7a087"
    assert derive(key, salt, 2, 14).hex() == "30cbbc08863d8c85d49db34a9ae1"
    assert (
        derive(key, salt, 1, 94)
        .hex()
        .startswith("cebe321f6ff7716b6fd4ab49af256a156d38baa48f0a0acf3c34e2359e6cdbcee049646c43d9327ad175578ef7227098")
    )


@needs_vectors
def test_keystream_of_rfc_3711_appendix_b2(record_property: Any) -> None:
    vector = _rfc("RFC 3711, Appendix B.2")
    session = SessionKeys(
        SUITES[CM], bytes.fromhex(vector["srtpSessionKey"]), bytes(20), bytes.fromhex(vector["srtpSessionSalt"])[:14]
    )
    key = CmKey(session)
    keys = Keys(1)
    keys.enter(0, key)
    batch = Rows(np.zeros((1, 64), np.uint8), *(np.zeros(1, np.int64),) * 6, keys)
    counter = int.from_bytes(make_counters(batch)[0].tobytes())
    stream = bytes.fromhex(vector["keystream"])
    counters = [counter + n for n in (0, 1, 2, 0xFEFF, 0xFF00, 0xFF01)][: len(stream) // 16]
    assert key.ecb.update(b"".join(n.to_bytes(16) for n in counters)) == stream
    record_property("published_vectors", 1)


@needs_vectors
@pytest.mark.parametrize("bits", [128, 256])
def test_gcm_packets_of_rfc_7714(bits: int, record_property: Any) -> None:
    vector = _rfc(f"AES-{bits}-GCM")
    suite = SUITES[f"AEAD_AES_{bits}_GCM"]
    session = SessionKeys(suite, bytes.fromhex(vector["srtpSessionKey"]), b"", bytes.fromhex(vector["srtpSessionSalt"]))
    receiver = SrtpReceiver(1)
    receiver.add_stream(0, suite.name, b"", session=session)
    plain = bytes.fromhex(vector["decryptedRTPPacket"])
    frames = unprotect(receiver, [bytes.fromhex(vector["encryptedRTPPacket"])])
    assert payloads_of(frames) == [plain[12:]]
    for name in ("encryptedRTCPPacket", "authenticatedRTCPPacket"):
        opened = SrtcpReceiver(suite.name, b"", session=session).unprotect(bytes.fromhex(vector[name]))
        assert opened == bytes.fromhex(vector["decryptedRTCPPacket"])
    record_property("published_vectors", 3)


@needs_vectors
@pytest.mark.parametrize(
    ("function", "suite", "key", "mki_bytes"),
    [
        ("srtp_validate", CM, CM_KEY, 0),
        ("srtp_validate_mki", CM, CM_KEY, 4),
        ("srtp_validate_gcm", "AEAD_AES_128_GCM", GCM_KEY, 0),
    ],
)
def test_libsrtp_reference_packets(function: str, suite: str, key: bytes, mki_bytes: int, record_property: Any) -> None:
    arrays = _libsrtp(function)
    plain = next(value for name, value in arrays.items() if name in ("srtp_plaintext_ref", "rtp_plaintext_ref"))
    receiver = SrtpReceiver(1)
    receiver.add_stream(0, suite, key, mki_bytes=mki_bytes)
    assert payloads_of(unprotect(receiver, [arrays["srtp_ciphertext"]])) == [plain[12:]]
    assert SrtcpReceiver(suite, key, mki_bytes).unprotect(arrays["srtcp_ciphertext"]) == arrays["rtcp_plaintext_ref"]
    record_property("published_vectors", 2)


@needs_vectors
@pytest.mark.parametrize("function", ["srtp_validate_null_null", "srtp_validate_aes_192", "srtp_validate_aes_256"])
def test_packets_of_suites_that_we_refuse_do_not_open(function: str, record_property: Any) -> None:
    packet = _libsrtp(function)["srtp_ciphertext"]
    for suite, key in ((CM, CM_KEY), ("AEAD_AES_128_GCM", GCM_KEY)):
        receiver = SrtpReceiver(1)
        receiver.add_stream(0, suite, key)
        assert not len(unprotect(receiver, [packet]))
    record_property("published_vectors", 1)


@needs_vectors
def test_a_changed_reference_report_is_refused_and_a_repeated_one_too() -> None:
    packet = _libsrtp("srtp_validate")["srtcp_ciphertext"]
    receiver = SrtcpReceiver(CM, CM_KEY)
    for at in range(len(packet)):
        changed = bytearray(packet)
        changed[at] ^= 1
        with pytest.raises(TamperedError):
            receiver.unprotect(bytes(changed))
    receiver.unprotect(packet)
    with pytest.raises(TamperedError):
        receiver.unprotect(packet)


def test_the_names_of_the_suites_are_those_of_sdes() -> None:
    assert set(SUITES) == {"AEAD_AES_256_GCM", "AEAD_AES_128_GCM", CM}
    assert derive_session(find_suite(CM), CM_KEY).auth
