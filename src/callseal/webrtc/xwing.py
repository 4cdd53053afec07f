"""X-Wing: ML-KEM-768 and X25519 as one key encapsulation, secure while either is.

draft-connolly-cfrg-xwing-kem, section 5; the WebCrypto name is `MLKEM768-X25519`. `cryptography` has the halves, and the whole
only within HPKE. Shapes: private seed 32 bytes, public key 1,216, ciphertext 1,120, shared secret 32.
"""

import hashlib
from typing import Final

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from callseal.webrtc.refusal import Refused

SEED_BYTES: Final = 32
PUBLIC_BYTES: Final = 1216
CIPHERTEXT_BYTES: Final = 1120
_MLKEM_PUBLIC: Final = 1184
_MLKEM_CIPHERTEXT: Final = 1088
_LABEL: Final = bytes.fromhex("5c2e2f2f5e5c")


def public_key(seed: bytes) -> bytes:
    """The public key of a private seed."""
    mlkem, x25519 = _expand(seed)
    return mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()


def encapsulate(public: bytes) -> tuple[bytes, bytes]:
    """A fresh shared secret and the ciphertext that carries it. Raises Refused (`malformed`) for what is no public key."""
    if len(public) != PUBLIC_BYTES:
        raise Refused("malformed", f"kem: expected {PUBLIC_BYTES} bytes, got {len(public)}")
    ephemeral = X25519PrivateKey.generate()
    their_x = public[_MLKEM_PUBLIC:]
    try:
        first, ct_first = MLKEM768PublicKey.from_public_bytes(public[:_MLKEM_PUBLIC]).encapsulate()
        second = ephemeral.exchange(X25519PublicKey.from_public_bytes(their_x))
    except ValueError as error:
        raise Refused("malformed", "kem: expected a public key") from error
    ct_second = ephemeral.public_key().public_bytes_raw()
    return _combine(first, second, ct_second, their_x), ct_first + ct_second


def decapsulate(seed: bytes, ciphertext: bytes) -> bytes:
    """The shared secret in a ciphertext. Raises Refused (`malformed`) for what is none; a foreign one gives another secret."""
    if len(ciphertext) != CIPHERTEXT_BYTES:
        raise Refused("malformed", f"ct: expected {CIPHERTEXT_BYTES} bytes, got {len(ciphertext)}")
    mlkem, x25519 = _expand(seed)
    theirs = ciphertext[_MLKEM_CIPHERTEXT:]
    try:
        first = mlkem.decapsulate(ciphertext[:_MLKEM_CIPHERTEXT])
        second = x25519.exchange(X25519PublicKey.from_public_bytes(theirs))
    except ValueError as error:
        raise Refused("malformed", "ct: expected a ciphertext") from error
    return _combine(first, second, theirs, x25519.public_key().public_bytes_raw())


def _expand(seed: bytes) -> tuple[MLKEM768PrivateKey, X25519PrivateKey]:
    if len(seed) != SEED_BYTES:
        raise ValueError(f"seed: expected {SEED_BYTES} bytes")
    expanded = hashlib.shake_256(seed).digest(96)
    return MLKEM768PrivateKey.from_seed_bytes(expanded[:64]), X25519PrivateKey.from_private_bytes(expanded[64:])


def _combine(first: bytes, second: bytes, ct_second: bytes, public_second: bytes) -> bytes:
    return hashlib.sha3_256(first + second + ct_second + public_second + _LABEL).digest()
