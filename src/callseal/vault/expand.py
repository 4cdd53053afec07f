"""`Ex(k, label, n)`: HKDF-Expand with SHA-512, the one way a key is made from a key.

Source: RFC 5869 section 2.3; docs/spec/keys.md section 1. Invariant: the `_into` form leaves no second copy of the result.
"""

from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

_PREFIX = b"callseal/v1/"


def expand(key: bytes | bytearray, label: str, length: int) -> bytes:
    """`length` bytes made from a key and a label."""
    return HKDFExpand(SHA512(), length, _PREFIX + label.encode()).derive(key)


def expand_into(key: bytes | bytearray | memoryview, label: str, out: bytearray) -> None:
    """Fill `out` from a key and a label."""
    HKDFExpand(SHA512(), len(out), _PREFIX + label.encode()).derive_into(key, out)


def wipe(buffer: bytearray) -> None:
    """Overwrite a buffer in place."""
    buffer[:] = bytes(len(buffer))
