"""Sealing one message under one key: Cobblestone-256, which commits to its key and its context.

c2sp.org/chunked-encryption with AEAD_AES_256_GCM and SHA-512; docs/spec/keys.md section 2.
Invariants: the salt is drawn here for each message and never taken from a caller; the commitment is compared in constant
time before any chunk is opened; a message is opened whole or not at all; derived keys are wiped before returning.
"""

import hmac
import os
from collections.abc import Iterator

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from callseal.errors import InternalError, TamperedError
from callseal.vault.expand import KEY_LENGTH, Buffer, wipe

CHUNK_LENGTH = 16 * 1024
TAG_LENGTH = 16
SALT_LENGTH = 24
COMMITMENT_LENGTH = 32
NONCE_LENGTH = 12
OVERHEAD = SALT_LENGTH + COMMITMENT_LENGTH
"""Bytes before the first chunk; each chunk adds a tag."""

_INFO = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\x00"
_DERIVED_LENGTH = KEY_LENGTH + NONCE_LENGTH + COMMITMENT_LENGTH


def sealed_length(length: int) -> int:
    """Bytes of ciphertext for `length` bytes of plaintext. The last chunk is always shorter than a full one, and may be empty."""
    return OVERHEAD + length + TAG_LENGTH * (length // CHUNK_LENGTH + 1)


def encrypt(key: Buffer, context: bytes, message: Buffer) -> bytes:
    """salt ‖ commitment ‖ chunks: `message` sealed under a 32-byte key and a context that the opener must repeat."""
    out = bytearray(sealed_length(len(message)))
    encrypt_into(key, context, message, memoryview(out))
    return bytes(out)


def encrypt_into(key: Buffer, context: bytes, message: Buffer, out: memoryview) -> None:
    """As `encrypt`, into `out` of exactly `sealed_length(len(message))` bytes."""
    if len(out) != sealed_length(len(message)):
        raise InternalError(f"expected {sealed_length(len(message))} bytes to seal into, got {len(out)}")
    salt = os.urandom(SALT_LENGTH)
    derived = _derive(key, salt, context)
    try:
        out[:SALT_LENGTH] = salt
        out[SALT_LENGTH:OVERHEAD] = derived[KEY_LENGTH + NONCE_LENGTH :]
        aead = AESGCM(derived[:KEY_LENGTH])
        plain = memoryview(message)
        start = OVERHEAD
        for number, nonce in enumerate(_nonces(derived, len(message) // CHUNK_LENGTH + 1)):
            chunk = plain[number * CHUNK_LENGTH : (number + 1) * CHUNK_LENGTH]
            end = start + len(chunk) + TAG_LENGTH
            aead.encrypt_into(nonce, chunk, None, out[start:end])
            start = end
    finally:
        wipe(derived)


def decrypt(key: Buffer, context: bytes, ciphertext: Buffer) -> bytes:
    """The message. TamperedError when key, context or any byte differs, or when the last chunk is cut off or full."""
    if len(key) != KEY_LENGTH:
        raise TamperedError(f"expected a key of {KEY_LENGTH} bytes, got {len(key)}")
    sealed = memoryview(ciphertext)
    full, last = divmod(len(sealed) - OVERHEAD, CHUNK_LENGTH + TAG_LENGTH)
    if len(sealed) < OVERHEAD + TAG_LENGTH or last < TAG_LENGTH:
        raise TamperedError(f"expected a sealed message that ends in a short chunk, got {len(sealed)} bytes")
    derived = _derive(key, bytes(sealed[:SALT_LENGTH]), context)
    try:
        if not hmac.compare_digest(derived[KEY_LENGTH + NONCE_LENGTH :], sealed[SALT_LENGTH:OVERHEAD]):
            raise TamperedError("expected the commitment of this key and context, got another")
        aead = AESGCM(derived[:KEY_LENGTH])
        out = bytearray()
        for number, nonce in enumerate(_nonces(derived, full + 1)):
            start = OVERHEAD + number * (CHUNK_LENGTH + TAG_LENGTH)
            out += aead.decrypt(nonce, sealed[start : start + CHUNK_LENGTH + TAG_LENGTH], None)
        return bytes(out)
    except InvalidTag:
        raise TamperedError("expected an authentic chunk, got one that does not verify") from None
    finally:
        wipe(derived)


def commitment_of(ciphertext: Buffer) -> bytes:
    """The 32-byte commitment in the clear at the head of a sealed message. TamperedError when it is too short to hold one."""
    if len(ciphertext) < OVERHEAD + TAG_LENGTH:
        raise TamperedError(f"expected at least {OVERHEAD + TAG_LENGTH} bytes of sealed message, got {len(ciphertext)}")
    return bytes(ciphertext[SALT_LENGTH:OVERHEAD])


def _derive(key: Buffer, salt: bytes, context: bytes) -> memoryview:
    """key(32) ‖ base nonce(12) ‖ commitment(32), in a buffer the caller wipes."""
    if len(key) != KEY_LENGTH:
        raise InternalError(f"expected a key of {KEY_LENGTH} bytes, got {len(key)}")
    derived = memoryview(bytearray(_DERIVED_LENGTH))
    HKDFExpand(hashes.SHA512(), _DERIVED_LENGTH, _INFO + salt + context).derive_into(key, derived)
    return derived


def _nonces(derived: memoryview, chunks: int) -> Iterator[bytes]:
    base = int.from_bytes(derived[KEY_LENGTH : KEY_LENGTH + NONCE_LENGTH], "big")
    return ((base ^ number).to_bytes(NONCE_LENGTH, "big") for number in range(chunks))
