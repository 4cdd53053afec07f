"""Openings that a terminal begins and a person proves in the console: what waits between the link and the keys.

docs/spec/open-call.md section 4, "From a terminal". The terminal draws a secret and gives its SHA-256; the person signs that
digest with the request; the reply waits for whoever knows the secret. In memory only: a restart forgets it.
Invariants: a link works once, for two minutes; a reply is given once, for two minutes; no more than `LIMIT` wait at a time.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from callseal.errors import CallsealError, Conflict, LimitExceeded, NotFound, RequestError
from callseal.model.message import to_bytes

LIFE: Final = timedelta(minutes=2)
LIMIT: Final = 16
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_LAPSED: Final = "terminal: expected an opening that still waits; a link works once, for two minutes. Begin again"


@dataclass
class TerminalOpening:
    """One. `ask` is `open.begin` without the person, `give` what `open` needs beside the proof."""

    ask: dict[str, Any]
    give: dict[str, Any] = field(repr=False)
    link: bytes = field(repr=False)
    until: datetime
    opened_by: str | None = None
    outcome: dict[str, Any] | CallsealError | None = field(default=None, repr=False)


class Terminals:
    """The waiting ones, by the digest of their terminal's secret."""

    def __init__(self) -> None:
        self._table: dict[str, TerminalOpening] = {}

    def begin(self, digest: object, ask: dict[str, Any], give: dict[str, Any], now: datetime) -> str:
        """Wait for a person; returns the link's token, of which only the SHA-256 is kept.

        Raises RequestError, Conflict for a digest that waits already, LimitExceeded.
        """
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise RequestError("secret_sha256: expected 64 hex digits")
        self.sweep(now)
        if digest in self._table:
            raise Conflict("secret_sha256: expected that of a new secret")
        if len(self._table) >= LIMIT:
            raise LimitExceeded(f"terminals: expected at most {LIMIT} that wait; try again in two minutes")
        token = secrets.token_urlsafe(32)
        self._table[digest] = TerminalOpening(ask, give, _hash(token.encode()), now + LIFE)
        return token

    def find_link(self, token: object, now: datetime) -> tuple[str, TerminalOpening]:
        """The digest and the opening of a link that nobody has used. Raises NotFound."""
        self.sweep(now)
        wanted = _hash(token.encode()) if isinstance(token, str) else b""
        for digest, opening in self._table.items():
            if opening.link == wanted and opening.opened_by is None:
                return digest, opening
        raise NotFound("link: expected one that nobody has used, within two minutes; begin again in the terminal")

    def take_up(self, opening: TerminalOpening, person: str, now: datetime) -> None:
        """The link is used: from here on it is this person's to prove, or nobody's."""
        opening.opened_by, opening.until = person, now + LIFE

    def waiting(self, digest: object, now: datetime) -> TerminalOpening | None:
        """The opening that waits for the proof of a request with this digest."""
        self.sweep(now)
        opening = self._table.get(str(digest))
        return opening if opening is not None and opening.outcome is None else None

    def settle(self, digest: object, outcome: dict[str, Any] | CallsealError, now: datetime) -> None:
        """Keep the custodian's answer until the terminal collects it; where it has gone, the answer is forgotten."""
        opening = self.waiting(digest, now)
        if opening is not None:
            opening.outcome, opening.until, opening.give = outcome, now + LIFE, {}

    def of_secret(self, secret: object, now: datetime) -> tuple[str, TerminalOpening]:
        """The digest and the opening of whoever knows the secret. Raises NotFound, RequestError."""
        self.sweep(now)
        digest = _hash(to_bytes(secret, "secret")).hex()
        if digest not in self._table:
            raise NotFound(_LAPSED)
        return digest, self._table[digest]

    def end(self, digest: str) -> None:
        """Forget one."""
        self._table.pop(digest, None)

    def sweep(self, now: datetime) -> None:
        """Forget what has lapsed."""
        for digest in [digest for digest, opening in self._table.items() if opening.until <= now]:
            del self._table[digest]


def _hash(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
