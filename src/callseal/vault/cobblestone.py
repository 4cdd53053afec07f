"""Cobblestone-256: C2SP chunked-encryption with AES-256-GCM and HKDF-Expand-SHA-512. Key-committing.

Source: c2sp.org/chunked-encryption.
A ciphertext is `salt (24) ‖ commitment (32) ‖ chunks of 16 KiB + 16`, the last chunk always shorter.
Invariants: the commitment is compared (in constant time) before any chunk is opened; derived keys live in buffers that are wiped.
"""

import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from callseal.errors import TamperedError
from callseal.vault.expand import wipe

KEY_LENGTH = 32
SALT_LENGTH = 24
COMMITMENT_LENGTH = 32
NONCE_LENGTH = 12
TAG_LENGTH = 16
CHUNK_LENGTH = 16 * 1024
OVERHEAD = SALT_LENGTH + COMMITMENT_LENGTH
_INFO = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\x00"

Key = bytes | bytearray | memoryview


def encrypt(key: Key, context: bytes, message: bytes | bytearray | memoryview) -> bytes:
    """Seal a message of any length under a 32-byte key and a context. Raises ValueError for a key of another length."""
    salt = os.urandom(SALT_LENGTH)
    derived = _derive(key, salt, context)
    try:
        view = memoryview(derived)
        cipher = AESGCM(view[:KEY_LENGTH])
        base = int.from_bytes(view[KEY_LENGTH : KEY_LENGTH + NONCE_LENGTH], "big")
        length = len(message)
        chunks = length // CHUNK_LENGTH + 1
        out = bytearray(OVERHEAD + length + chunks * TAG_LENGTH)
        out[:SALT_LENGTH] = salt
        out[SALT_LENGTH:OVERHEAD] = view[KEY_LENGTH + NONCE_LENGTH :]
        target, source, at = memoryview(out), memoryview(message), OVERHEAD
        for number in range(chunks):
            chunk = source[number * CHUNK_LENGTH : (number + 1) * CHUNK_LENGTH]
            end = at + len(chunk) + TAG_LENGTH
            cipher.encrypt_into(_nonce(base, number), chunk, None, target[at:end])
            at = end
        return bytes(out)
    finally:
        wipe(derived)


def decrypt(key: Key, context: bytes, ciphertext: bytes | memoryview) -> bytes:
    """Open what `encrypt` sealed. Raises TamperedError for a wrong key or context and for anything changed, cut or reordered."""
    if len(key) != KEY_LENGTH:
        raise TamperedError(f"sealed message: expected a key of {KEY_LENGTH} bytes")
    full, last = divmod(len(ciphertext) - OVERHEAD, CHUNK_LENGTH + TAG_LENGTH)
    if len(ciphertext) < OVERHEAD or last < TAG_LENGTH:
        raise TamperedError("sealed message: expected a short last chunk, got a cut one")
    derived = _derive(key, bytes(ciphertext[:SALT_LENGTH]), context)
    try:
        view = memoryview(derived)
        if not hmac.compare_digest(view[KEY_LENGTH + NONCE_LENGTH :], ciphertext[SALT_LENGTH:OVERHEAD]):
            raise TamperedError("sealed message: the key or the context is not the one it was sealed under")
        cipher = AESGCM(view[:KEY_LENGTH])
        base = int.from_bytes(view[KEY_LENGTH : KEY_LENGTH + NONCE_LENGTH], "big")
        parts, at = [], OVERHEAD
        for number in range(full + 1):
            chunk = ciphertext[at : at + CHUNK_LENGTH + TAG_LENGTH]
            parts.append(cipher.decrypt(_nonce(base, number), chunk, None))
            at += CHUNK_LENGTH + TAG_LENGTH
        return b"".join(parts)
    except InvalidTag as error:
        raise TamperedError("sealed message: a chunk was changed") from error
    finally:
        wipe(derived)


def commitment_of(ciphertext: bytes | memoryview) -> bytes:
    """The 32-byte commitment that a ciphertext carries in the clear. Raises TamperedError where it is too short to have one."""
    if len(ciphertext) < OVERHEAD + TAG_LENGTH:
        raise TamperedError("sealed message: too short")
    return bytes(ciphertext[SALT_LENGTH:OVERHEAD])


def _derive(key: Key, salt: bytes, context: bytes) -> bytearray:
    if len(key) != KEY_LENGTH:
        raise ValueError(f"expected a key of {KEY_LENGTH} bytes, got {len(key)}")
    derived = bytearray(KEY_LENGTH + NONCE_LENGTH + COMMITMENT_LENGTH)
    HKDFExpand(SHA512(), len(derived), _INFO + salt + context).derive_into(key, derived)
    return derived


def _nonce(base: int, number: int) -> bytes:
    return (base ^ number).to_bytes(NONCE_LENGTH, "big")
