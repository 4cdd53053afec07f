"""What time does to peers: certificates that end soon, exceptions that begin and end. Each is told once, as an event.

Invariant: ids, counts and words of ours only.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from callseal.config.peers import ClearRtp, Peer
from callseal.net.authority import days_left

EVERY = timedelta(hours=12)

Tell = Callable[[str, str | None, dict[str, Any]], object]


class PeerWatch:
    """Step it every second or so; `tell` writes an event."""

    def __init__(self, tls: Path, folder: Path, tell: Tell) -> None:
        self._tls, self._folder, self._tell = tls, folder, tell
        self._looked_at: datetime | None = None
        self._told: dict[str, int] = {}
        self._excepted: dict[str, ClearRtp] = {}

    def step(self, peers: Mapping[str, Peer], changed: bool, now: datetime) -> None:
        """Tell of what is new."""
        self._watch_exceptions(peers, now)
        if changed or self._looked_at is None or now - self._looked_at >= EVERY:
            self._looked_at = now
            for name, days in days_left(self._tls, self._folder, now).items():
                if self._told.get(name) != days:
                    self._told[name] = days
                    self._tell("CertificateExpiring", None, {"peer": name, "count": max(0, days)})

    def _watch_exceptions(self, peers: Mapping[str, Peer], now: datetime) -> None:
        holding = {name: clear for name, peer in peers.items() if (clear := peer.may_be_clear(now)) is not None}
        for name, clear in holding.items():
            if self._excepted.get(name) != clear:
                self._tell("ExceptionBegan", None, {"peer": name, "why": clear.label})
        for name in self._excepted.keys() - holding.keys():
            self._tell("ExceptionEnded", None, {"peer": name, "why": "expired or withdrawn"})
        self._excepted = holding
