"""What the custodian asked and waits for: each nonce once, for five minutes; and how often a person's proofs failed.

Invariants: a nonce is taken out before its proof is looked at, so that no proof is tried twice; both tables are limited.
"""

import os
from datetime import datetime, timedelta
from typing import Any, Final

from callseal.authn.challenge import NONCE_BYTES
from callseal.errors import Denied, LimitExceeded

LIFE: Final = timedelta(minutes=5)
LIMIT: Final = 10_000
FAILURE_LIMIT: Final = 5
FAILURE_WINDOW: Final = timedelta(minutes=5)


class Nonces:
    """Waiting requests by nonce, one kind apart from another."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._waiting: dict[tuple[str, bytes], tuple[datetime, Any]] = {}

    def ask(self, kind: str, subject: Any, now: datetime) -> bytes:
        """Draw a nonce for what is asked. Raises LimitExceeded."""
        nonce = os.urandom(NONCE_BYTES)
        self.wait(kind, nonce, subject, now)
        return nonce

    def wait(self, kind: str, nonce: bytes, subject: Any, now: datetime) -> None:
        """Wait for the proof under a nonce that was drawn before. Raises LimitExceeded."""
        if len(self._waiting) >= self._limit:
            self._waiting = {key: value for key, value in self._waiting.items() if value[0] > now}
            if len(self._waiting) >= self._limit:
                raise LimitExceeded(f"requests: expected at most {self._limit} waiting")
        self._waiting[kind, nonce] = (now + LIFE, subject)

    def see(self, kind: str, nonce: bytes, now: datetime) -> Any:
        """What was asked under a nonce, which goes on waiting. Raises Denied where nothing waits, or no longer."""
        expires, subject = self._waiting.get((kind, nonce), (now, None))
        if expires <= now:
            raise Denied("nonce: expected one of ours that still waits; begin again")
        return subject

    def take(self, kind: str, nonce: bytes, now: datetime) -> Any:
        """What was asked under a nonce, which is gone from here on. Raises Denied where nothing waits, or no longer."""
        try:
            return self.see(kind, nonce, now)
        finally:
            self._waiting.pop((kind, nonce), None)


class Failures:
    """Failed proofs by person."""

    def __init__(self) -> None:
        self._times: dict[str, list[datetime]] = {}

    def check(self, person: str, now: datetime) -> None:
        """Raises Denied where this person's proofs failed too often of late."""
        times = [time for time in self._times.get(person, []) if time + FAILURE_WINDOW > now]
        if times:
            self._times[person] = times
        else:
            self._times.pop(person, None)
        if len(times) >= FAILURE_LIMIT:
            raise Denied("proof: too many failed; wait a few minutes")

    def note(self, person: str, now: datetime) -> None:
        """One more failed."""
        self._times.setdefault(person, []).append(now)

    def clear(self, person: str) -> None:
        """One succeeded."""
        self._times.pop(person, None)
