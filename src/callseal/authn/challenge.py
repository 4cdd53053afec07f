"""What a person signs: one digest for one purpose, so that no proof serves for anything else.

Source: W3C Web Authentication Level 3 section 13.4.3 (challenges); docs/spec/open-call.md.
Invariant: each purpose has a label of its own, and a challenge of one is never a challenge of another.
"""

import hashlib
from typing import Final

OPEN_LABEL: Final = b"callseal/v1/open"
SIGN_IN_LABEL: Final = b"callseal/v1/signin"
ENROL_LABEL: Final = b"callseal/v1/enrol"
NONCE_BYTES: Final = 32


def challenge_of(request: bytes) -> bytes:
    """SHA-256("callseal/v1/open" ‖ request), 32 bytes; `request` is its canonical JSON (RFC 8785)."""
    return hashlib.sha256(OPEN_LABEL + request).digest()


def sign_in_challenge(nonce: bytes) -> bytes:
    """SHA-256("callseal/v1/signin" ‖ nonce)."""
    return hashlib.sha256(SIGN_IN_LABEL + nonce).digest()


def enrol_challenge(nonce: bytes) -> bytes:
    """SHA-256("callseal/v1/enrol" ‖ nonce)."""
    return hashlib.sha256(ENROL_LABEL + nonce).digest()
