"""Server transactions: one request is acted on once, however often it arrives.

RFC 3261 section 17.2 over a reliable transport, matching by section 17.2.3; the peer's name is part of the key, so that no
other peer's branch can touch a transaction. Invariants: at most `limit` transactions, the
oldest go first; one is kept for 64·T1, so that a request sent again (a failed-over connection) meets the same response.
"""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta

from callseal.sip.message import BRANCH_COOKIE, Request

T1_SECONDS = 0.5
LIFETIME = timedelta(seconds=64 * T1_SECONDS)

Key = tuple[str, ...]


@dataclass
class Transaction:
    """One request's state: `response` is empty while it is being acted on."""

    key: Key
    request: Request
    began: datetime
    response: bytes = b""


def make_key(peer: str, request: Request, method: str) -> Key:
    """The key by section 17.2.3; for an RFC 2543 element without the cookie, by its older rule."""
    via = request.via
    if via.branch.startswith(BRANCH_COOKIE):
        return (peer, via.branch, f"{via.host}:{via.port or ''}", method)
    return (peer, request.uri, request.from_.tag, request.call_id, str(request.cseq), request.get("via"), method)


class TransactionTable:
    """Every server transaction of all peers."""

    def __init__(self, limit: int = 8192) -> None:
        self._limit = limit
        self._table: OrderedDict[Key, Transaction] = OrderedDict()

    def find(self, peer: str, request: Request, method: str | None = None) -> Transaction | None:
        """The transaction that a request belongs to; with `method`, the one that a CANCEL or ACK speaks of."""
        return self._table.get(make_key(peer, request, method or request.method))

    def begin(self, peer: str, request: Request, now: datetime) -> Transaction:
        """A new transaction for a request that belongs to none."""
        self._expire(now)
        transaction = Transaction(make_key(peer, request, request.method), request, now)
        self._table[transaction.key] = transaction
        return transaction

    def _expire(self, now: datetime) -> None:
        while self._table:
            oldest = next(iter(self._table.values()))
            if oldest.began + LIFETIME > now and len(self._table) < self._limit:
                return
            del self._table[oldest.key]
