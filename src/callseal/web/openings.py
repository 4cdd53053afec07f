"""Opened recordings, each bound to one session: whose opening it is, and for how long its keys stay.

Invariants: an opening is found only with its own session's digest (any other asker hears that there is none); its keys are
wiped when it is closed, when its session ends, after `LONGEST_SECONDS`, and when a newer one of its session needs its place.
"""

import hmac
import secrets
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from callseal.errors import LimitExceeded, NotFound

LONGEST_SECONDS: Final = 3600.0
LIMIT: Final = 200
PER_SESSION: Final = 4


class HoldsKeys(Protocol):
    """What holds keys and can forget them."""

    def wipe(self) -> None:
        """Overwrite the keys."""


Held = TypeVar("Held", bound=HoldsKeys)


@dataclass
class _Bound(Generic[Held]):
    held: Held
    session: bytes
    began: float


class Openings(Generic[Held]):
    """The table of openings. `now` is monotonic seconds."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._table: dict[str, _Bound[Held]] = {}

    def __len__(self) -> int:
        return len(self._table)

    def add(self, held: Held, session: bytes, now: float) -> str:
        """Keep what a session opened; returns its id. Raises LimitExceeded, with the keys wiped, where the table is full."""
        self.sweep(now)
        own = [name for name, bound in self._table.items() if bound.session == session]
        for name in own[: max(0, len(own) - PER_SESSION + 1)]:
            self._wipe(name)
        if len(self._table) >= self._limit:
            held.wipe()
            raise LimitExceeded(f"openings: expected at most {self._limit} at once")
        name = secrets.token_hex(16)
        self._table[name] = _Bound(held, session, now)
        return name

    def find(self, name: str, session: bytes, now: float) -> Held:
        """What this session opened under this id. Raises NotFound: it lapsed, it never was, or it is another's."""
        bound = self._table.get(name)
        if bound is not None and now - bound.began >= LONGEST_SECONDS:
            self._wipe(name)
            bound = None
        if bound is None or not hmac.compare_digest(bound.session, session):
            raise NotFound("This opening has ended. Open the call again, with a reason.")
        return bound.held

    def end(self, name: str, session: bytes, now: float) -> None:
        """Close one's own opening. Raises NotFound."""
        self.find(name, session, now)
        self._wipe(name)

    def end_session(self, session: bytes) -> None:
        """Close all that a session opened."""
        for name in [name for name, bound in self._table.items() if bound.session == session]:
            self._wipe(name)

    def end_all(self) -> None:
        """Close everything: the console stops."""
        for name in list(self._table):
            self._wipe(name)

    def sweep(self, now: float) -> None:
        """Close what has lapsed; called on a timer."""
        for name in [name for name, bound in self._table.items() if now - bound.began >= LONGEST_SECONDS]:
            self._wipe(name)

    def _wipe(self, name: str) -> None:
        if (bound := self._table.pop(name, None)) is not None:
            bound.held.wipe()
