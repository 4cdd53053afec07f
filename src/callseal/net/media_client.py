"""The signalling daemon's line to a media worker: requests out in order, replies matched by id.

docs/architecture.md, "Media control". Invariants: a request is answered, refused or failed within its time; requests that
wait are limited; when the line breaks every waiting request fails with Unavailable, and the line is tried again for ever.
`is_silent` says that the time of a reply has passed and none has come since, `lost_at` when the line was last lost (loop time).
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from callseal.config.folders import peer_user, users_of
from callseal.errors import CallsealError, LimitExceeded, PeerError, Unavailable
from callseal.model.message import MessageDecoder, encode_message, raise_refusal

READ_BYTES = 64 << 10
WAITING_LIMIT = 10_000
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 0.2
LATE_SECONDS = 0.5


class MediaClient:
    """One worker's control connection. `on_connected` runs each time that it stands; where it raises, the line is made anew."""

    def __init__(self, path: Path, on_connected: Callable[[], Awaitable[None]], timeout_seconds: float = 2.0) -> None:
        self._path, self.name = path, path.stem
        self._worker_folder = path.parent.parent / "events" / path.stem
        self._on_connected = on_connected
        self._timeout_seconds = timeout_seconds
        self._writer: asyncio.StreamWriter | None = None
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._asked_at: dict[int, float] = {}
        """When those were asked that do not wait for the disk."""
        self._last_id = 0
        self.connected = asyncio.Event()
        self.is_silent = False
        self.lost_at = 0.0

    @property
    def is_late(self) -> bool:
        """Whether the worker has owed a reply for so long that a new call is better taken elsewhere."""
        oldest = next(iter(self._asked_at.values()), None)
        return self.is_silent or (oldest is not None and asyncio.get_running_loop().time() - oldest > LATE_SECONDS)

    async def run(self) -> None:
        """Keep the line until cancelled."""
        pause = FIRST_PAUSE_SECONDS
        self.lost_at = asyncio.get_running_loop().time()
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(str(self._path))
            except OSError:
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
                continue
            if peer_user(writer.get_extra_info("socket")) not in users_of(self._worker_folder):
                writer.close()  # somebody else listens in the worker's place: it gets no key
                await asyncio.sleep(LONGEST_PAUSE_SECONDS)
                continue
            pause = FIRST_PAUSE_SECONDS
            self._writer, self.is_silent = writer, False
            reading = asyncio.create_task(self._read(reader))
            try:
                await self._on_connected()
                self.connected.set()
                await reading
            except CallsealError:
                await asyncio.sleep(FIRST_PAUSE_SECONDS)
            finally:
                reading.cancel()
                self._break(writer)
                with suppress(OSError):
                    await writer.wait_closed()

    async def request(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Send a request and return its reply. Raises what the worker refuses with, or Unavailable where it is away or slow."""
        reply = await self.exchange(kind, **fields)
        raise_refusal(reply)
        return reply

    async def exchange(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Send a request and return its reply, be it a refusal. Raises Unavailable where the worker is away or slow.

        The bytes are written before the first wait, so that requests made in order arrive in order.
        """
        if self._writer is None or self._writer.is_closing():
            raise Unavailable(f"{self.name}: not connected")
        if len(self._waiting) >= WAITING_LIMIT:
            raise Unavailable(f"{self.name}: {WAITING_LIMIT} requests wait already")
        self._last_id += 1
        number = self._last_id
        data = encode_message({"type": kind, "id": number, **fields})
        loop = asyncio.get_running_loop()
        answer = self._waiting[number] = loop.create_future()
        if kind != "media.close":
            self._asked_at[number] = loop.time()
        self._writer.write(data)
        try:
            return await asyncio.wait_for(answer, self._timeout_seconds)
        except TimeoutError as error:
            self.is_silent = True
            raise Unavailable(f"{self.name}: no reply to {kind} within {self._timeout_seconds} s") from error
        finally:
            self._waiting.pop(number, None)
            self._asked_at.pop(number, None)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        decoder = MessageDecoder()
        with suppress(OSError, PeerError, LimitExceeded):
            while data := await reader.read(READ_BYTES):
                for reply in decoder.feed(data):
                    self.is_silent = False
                    number = reply.get("id")
                    answer = self._waiting.get(number) if isinstance(number, int) else None
                    if answer is not None and not answer.done():
                        answer.set_result(reply)
        if self._writer is not None:
            self._break(self._writer)

    def _break(self, writer: asyncio.StreamWriter) -> None:
        if self.connected.is_set():
            self.lost_at = asyncio.get_running_loop().time()
        self.connected.clear()
        writer.close()
        self._writer = None
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(Unavailable(f"{self.name}: the line broke"))
