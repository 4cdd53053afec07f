"""One derivation for every key of Callseal: `Ex(k, label, n)`, and buffers that can be wiped.

RFC 5869 section 2.3 (HKDF-Expand) with SHA-512; docs/spec/keys.md section 1.
Invariants: a key that must be forgotten lives in a `bytearray` and is derived into it, so that no other copy is made;
`wipe` overwrites it in place.
"""

import os

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from callseal.errors import InternalError

KEY_LENGTH = 32
"""Bytes in every symmetric key, node, leaf and seed."""

LABEL_PREFIX = b"callseal/v1/"

Buffer = bytes | bytearray | memoryview


def expand(key: Buffer, label: str, length: int) -> bytes:
    """`Ex(key, label, length)`: `length` bytes (at most 255 x 64) from a 32-byte key. InternalError when the key is not one."""
    _check_key(key)
    return HKDFExpand(hashes.SHA512(), length, LABEL_PREFIX + label.encode("ascii")).derive(key)


def expand_into(key: Buffer, label: str, out: bytearray | memoryview) -> None:
    """`Ex(key, label, len(out))` written into `out`; for keys that are wiped later."""
    _check_key(key)
    HKDFExpand(hashes.SHA512(), len(out), LABEL_PREFIX + label.encode("ascii")).derive_into(key, out)


def draw(out: bytearray) -> None:
    """Fill `out` from the operating system's generator, leaving no second copy behind."""
    out[:] = os.urandom(len(out))
    scrub_freed()


def scrub_freed() -> None:
    """Overwrite the small blocks that CPython freed last: where a library returned or held a key as `bytes`, it lay there."""
    held = [bytes(size) for size in range(0, 513, 16) for _ in range(64)]
    del held


def wipe(buffer: bytearray | memoryview) -> None:
    """Overwrite every byte of `buffer` in place, by a view: assigning to a bytearray slice would first copy the right side."""
    with memoryview(buffer) as view:
        view[:] = bytes(len(view))


def _check_key(key: Buffer) -> None:
    if len(key) != KEY_LENGTH:
        raise InternalError(f"expected a key of {KEY_LENGTH} bytes, got {len(key)}")
