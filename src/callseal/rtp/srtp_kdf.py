"""SRTP and SRTCP session keys from a master key and salt.

RFC 3711 section 4.3 (AES-CM key derivation, rate 0), RFC 7714 sections 11 and 12 (the same derivation for AES-GCM, 96-bit salt).
Invariant: only the three suites of `SUITES` exist; NULL ciphers and the 32-bit tag have no entry.
"""

from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from callseal.errors import NotAcceptable


@dataclass(frozen=True)
class Suite:
    """One protection profile: lengths in bytes of master key, master salt and tag; `aead` for GCM."""

    name: str
    key_bytes: int
    salt_bytes: int
    tag_bytes: int
    aead: bool


SUITES: Final = {
    suite.name: suite
    for suite in (
        Suite("AEAD_AES_256_GCM", 32, 12, 16, True),
        Suite("AEAD_AES_128_GCM", 16, 12, 16, True),
        Suite("AES_CM_128_HMAC_SHA1_80", 16, 14, 10, False),
    )
}

NO_SUITE: Final = Suite("", 0, 0, 0, False)
"""Of a stream in the clear, by exception. No name leads to it."""

AUTH_KEY_BYTES: Final = 20
MKI_LIMIT: Final = 128
"""Bytes of a master key identifier (RFC 4568 section 6.1)."""
_RTP, _RTCP = 0, 3
_CIPHER, _AUTH, _SALT = 0, 1, 2


@dataclass(frozen=True)
class SessionKeys:
    """What protects one direction of RTP or RTCP. `auth` is empty for GCM."""

    suite: Suite
    cipher: bytes = field(repr=False)
    auth: bytes = field(repr=False)
    salt: bytes = field(repr=False)


def find_suite(name: str) -> Suite:
    """The suite of this name (RFC 4568 section 6.2, RFC 7714 section 14.2). Raises NotAcceptable."""
    try:
        return SUITES[name]
    except KeyError:
        raise NotAcceptable(f"suite: expected one of {', '.join(SUITES)}") from None


def derive(master_key: bytes, master_salt: bytes, label: int, length: int) -> bytes:
    """`length` bytes for one label (RFC 3711 section 4.3.1). A 12-byte salt is padded to 14 (RFC 7714 section 11)."""
    block = bytearray(master_salt.ljust(14, b"\0") + b"\0\0")
    block[7] ^= label
    counter = int.from_bytes(block, "big")
    blocks = b"".join((counter + n).to_bytes(16, "big") for n in range(-(-length // 16)))
    return Cipher(AES(master_key), ECB()).encryptor().update(blocks)[:length]  # noqa: S305  counter mode made of ECB


def derive_session(suite: Suite, key_and_salt: bytes, *, rtcp: bool = False) -> SessionKeys:
    """Session keys from `master key ‖ salt` as RFC 4568 carries them. Raises NotAcceptable for another length."""
    if len(key_and_salt) != suite.key_bytes + suite.salt_bytes:
        raise NotAcceptable(f"key: expected {suite.key_bytes + suite.salt_bytes} bytes for {suite.name}, got {len(key_and_salt)}")
    key, salt = key_and_salt[: suite.key_bytes], key_and_salt[suite.key_bytes :]
    base = _RTCP if rtcp else _RTP
    return SessionKeys(
        suite,
        derive(key, salt, base + _CIPHER, suite.key_bytes),
        b"" if suite.aead else derive(key, salt, base + _AUTH, AUTH_KEY_BYTES),
        derive(key, salt, base + _SALT, suite.salt_bytes),
    )
