"""Who is signed in: server-side sessions, found by a random token of which only the digest is kept.

Source: OWASP session management; RFC 6265bis for the cookie that carries the token.
Invariants: a token is drawn at each sign-in and never taken from a browser (no fixation); a session ends after
`idle_seconds` without its person, after `longest_seconds` in any case, and when its person signs out or is revoked;
the table never holds more than `limit` sessions. `now` is monotonic seconds.
"""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from callseal.errors import NotFound

LONGEST_SECONDS: Final = 12 * 3600
LIMIT: Final = 1000
ASKED_LIMIT: Final = 4


class Pending:
    """What was asked of the custodian and is still to be proved, by its nonce: each is taken once, the oldest make room."""

    def __init__(self, limit: int = ASKED_LIMIT) -> None:
        self._limit = limit
        self._table: dict[str, Any] = {}

    def put(self, nonce: str, asked: Any) -> None:
        """Keep a request until its proof comes."""
        while len(self._table) >= self._limit:
            del self._table[next(iter(self._table))]
        self._table[nonce] = asked

    def take(self, nonce: str) -> Any:
        """Take a request out. Raises NotFound where none waits under this nonce."""
        if nonce not in self._table:
            raise NotFound("Nothing waits to be proved under this nonce; begin again.")
        return self._table.pop(nonce)


@dataclass
class Session:
    """One person's stay. `digest` names it and binds openings to it; `page_token` proves that a change came from our page."""

    digest: bytes
    person: str
    role: str
    name: str
    method: str
    began: float
    seen: float
    asked: Pending = field(default_factory=Pending, repr=False)
    page_token: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)


class Sessions:
    """The table of sessions. `on_end` hears of each digest that ends, so that keys bound to it can be wiped."""

    def __init__(self, idle_seconds: float, on_end: Callable[[bytes], None] = lambda digest: None, limit: int = LIMIT) -> None:
        self._idle_seconds = idle_seconds
        self._on_end = on_end
        self._limit = limit
        self._table: dict[bytes, Session] = {}

    def __len__(self) -> int:
        return len(self._table)

    def begin(self, person: str, role: str, name: str, method: str, now: float) -> str:
        """Start a session and return its token, which is not kept. At the limit the one longest unseen makes room."""
        self.sweep(now)
        if len(self._table) >= self._limit:
            self._end(min(self._table.values(), key=lambda session: session.seen).digest)
        token = secrets.token_urlsafe(32)
        digest = hashlib.sha256(token.encode()).digest()
        self._table[digest] = Session(digest, person, role, name, method, now, now)
        return token

    def find(self, token: str, now: float, *, touch: bool = True) -> Session | None:
        """The live session of a token, or None. `touch` says that the person is there."""
        session = self._table.get(hashlib.sha256(token.encode()).digest())
        if session is None:
            return None
        if not self._is_live(session, now):
            self._end(session.digest)
            return None
        if touch:
            session.seen = now
        return session

    def is_live(self, session: Session, now: float) -> bool:
        """Whether a session that was found earlier still holds; for streams that outlast a request."""
        return session.digest in self._table and self._is_live(session, now)

    def end(self, session: Session) -> None:
        """Sign out."""
        self._end(session.digest)

    def end_person(self, person: str) -> None:
        """End every session of a person who has been revoked."""
        for session in [session for session in self._table.values() if session.person == person]:
            self._end(session.digest)

    def sweep(self, now: float) -> None:
        """End what has lapsed; called on a timer, so that keys do not wait for a next request."""
        for session in [session for session in self._table.values() if not self._is_live(session, now)]:
            self._end(session.digest)

    def _is_live(self, session: Session, now: float) -> bool:
        return now - session.seen < self._idle_seconds and now - session.began < LONGEST_SECONDS

    def _end(self, digest: bytes) -> None:
        if self._table.pop(digest, None) is not None:
            self._on_end(digest)
