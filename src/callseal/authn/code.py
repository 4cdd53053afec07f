"""One-time codes and passwords, for where passkeys cannot work.

TOTP (RFC 6238: SHA-1, 6 digits, 30 s) and Argon2id (RFC 9106). Invariants: a code works once: the step it belongs to must be
newer than the last step accepted; digits and digests are compared in constant time; no seed, code or password stands in a
message.
"""

import hmac
from datetime import datetime
from typing import Final

import argon2
import pyotp

from callseal.errors import RequestError, Unauthenticated

STEP_SECONDS: Final = 30
DRIFT_STEPS: Final = 1
LEAST_CHARACTERS: Final = 12
MOST_CHARACTERS: Final = 200
_HASHER = argon2.PasswordHasher(time_cost=3, memory_cost=64 << 10, parallelism=1)


def new_secret() -> str:
    """A seed of 160 bits in base32 (RFC 4226 section 4, R6)."""
    return pyotp.random_base32(32)


def secret_uri(secret: str, name: str) -> str:
    """The seed as an otpauth:// URI for an authenticator app."""
    return pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name="Callseal")


def verify_code(secret: str, code: object, now: datetime, last_step: int) -> int:
    """The step that this code belongs to, newer than `last_step`, within one step of now. Raises Unauthenticated."""
    if not isinstance(code, str) or len(code) != 6 or not (code.isascii() and code.isdigit()):
        raise Unauthenticated("code: expected 6 digits")
    generator = pyotp.TOTP(secret, interval=STEP_SECONDS)
    current = int(now.timestamp()) // STEP_SECONDS
    matched = 0
    for step in range(current - DRIFT_STEPS, current + DRIFT_STEPS + 1):
        if hmac.compare_digest(generator.generate_otp(step), code):
            matched = max(matched, step)
    if matched <= last_step:
        raise Unauthenticated("code: expected one that fits and has not been used")
    return matched


def hash_password(password: object) -> str:
    """Argon2id of a password. Raises RequestError outside 12 to 200 characters."""
    if not isinstance(password, str) or not LEAST_CHARACTERS <= len(password) <= MOST_CHARACTERS:
        raise RequestError(f"password: expected {LEAST_CHARACTERS} to {MOST_CHARACTERS} characters")
    return _HASHER.hash(password)


def verify_password(digest: str, password: object) -> None:
    """Raises Unauthenticated where the password is another."""
    if not isinstance(password, str) or len(password) > MOST_CHARACTERS:
        raise Unauthenticated("password: expected the right one")
    try:
        _HASHER.verify(digest, password)
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError) as error:
        raise Unauthenticated("password: expected the right one") from error
