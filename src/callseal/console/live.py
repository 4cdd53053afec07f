"""Calls as they happen: one poll of the database for all who watch, sent as server-sent events (HTML, section 9.2).

Invariants: no poll runs while nobody watches; a watcher whose session has ended is sent away; watchers are limited, and one
that does not keep up gets the newest state, not a growing queue.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from callseal.errors import LimitExceeded, Unavailable

EVERY_SECONDS: Final = 0.7
QUIET_SECONDS: Final = 15.0
WATCHERS: Final = 200
NEWEST: Final = 100

Read = Callable[[], list[dict[str, Any]]]


class LiveFeed:
    """The newest calls, followed. `read` asks the database and runs on a thread."""

    def __init__(self, read: Read, watchers: int = WATCHERS) -> None:
        self._read = read
        self._limit = watchers
        self._watching = 0
        self._calls: dict[str, dict[str, Any]] = {}
        self._changed = asyncio.Event()
        self._poller: asyncio.Task[None] | None = None
        self._stopped = False

    async def follow(self, is_live: Callable[[], bool]) -> AsyncIterator[bytes]:
        """Server-sent events: `calls` with those that changed, `ended` when the session has. Raises LimitExceeded."""
        if self._watching >= self._limit:
            raise LimitExceeded(f"live pages: expected at most {self._limit} at once")
        self._watching += 1
        if self._poller is None:
            self._poller = asyncio.create_task(self._poll())
        sent: dict[str, dict[str, Any]] = {}
        try:
            yield b"retry: 2000\n\n"
            while is_live() and not self._stopped:
                changed = self._changed
                news = [call for name, call in self._calls.items() if sent.get(name) != call]
                sent = dict(self._calls)
                yield _event("calls", news) if news else b": still here\n\n"
                try:
                    await asyncio.wait_for(changed.wait(), QUIET_SECONDS)
                except TimeoutError:
                    continue
            if not self._stopped:
                yield _event("ended", [])
        finally:
            self._watching -= 1
            if self._watching == 0 and self._poller is not None:
                self._poller.cancel()
                self._poller = None

    def wake(self) -> None:
        """Let every watcher look again: sessions have ended, or the console stops."""
        self._changed.set()
        self._changed = asyncio.Event()

    def stop(self) -> None:
        """Let every watcher go: the console ends."""
        self._stopped = True
        self.wake()

    async def _poll(self) -> None:
        while True:
            try:
                calls = {call["recording"]: call for call in await asyncio.to_thread(self._read)}
            except Unavailable:
                calls = self._calls  # the list stands still while the database is away; the health page says so
            if calls != self._calls:
                self._calls = calls
                self.wake()
            await asyncio.sleep(EVERY_SECONDS)


def _event(name: str, data: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()
