"""One WebSocket as a line of JSON frames: bounded, counted, and never logged.

RFC 6455; docs/spec/private-call.md section 8. Invariants: `send` never waits; a peer that does not read, sends too
much, too often or no JSON object is closed (1008), and nothing of what it sent is kept or repeated.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Any, Final

from starlette.websockets import WebSocket, WebSocketDisconnect

from callseal.web.headers import POLICY_VIOLATION

FRAME_LIMIT_BYTES: Final = 64 << 10
WAITING_LIMIT: Final = 256
IN_TEN_SECONDS: Final = 40
FIRST_SECONDS: Final = 10.0


class SocketLine:
    """An accepted socket. `clock` is monotonic seconds; `most` the frames that it may send in its life.

    A socket that says nothing for `FIRST_SECONDS` is closed; so is one that was told `last`, a type of frame.
    """

    def __init__(self, socket: WebSocket, clock: Callable[[], float], most: int, last: str = "") -> None:
        self._socket, self._clock, self._left, self._last = socket, clock, most, last
        self._is_new = True
        self._waiting: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue(WAITING_LIMIT)
        self._times: deque[float] = deque(maxlen=IN_TEN_SECONDS)
        self._code = 1000

    def send(self, frame: dict[str, Any]) -> None:
        """Put a frame in the queue; a peer that does not read is closed."""
        try:
            self._waiting.put_nowait(frame)
        except asyncio.QueueFull:
            self.close(POLICY_VIOLATION)
        if frame["type"] == self._last:
            self.close()

    def close(self, code: int = 1000) -> None:
        """Close after what waits has gone; at once where too much waits."""
        self._code = code
        if self._waiting.full():
            self._waiting.get_nowait()
        with suppress(asyncio.QueueFull):
            self._waiting.put_nowait(None)

    async def frames(self) -> AsyncGenerator[dict[str, Any], None]:
        """Each frame as it comes, until the socket closes or breaks a limit."""
        writer = asyncio.create_task(self._write())
        try:
            while (frame := await self._read()) is not None:
                yield frame
        finally:
            self.close(self._code)
            with suppress(Exception):
                await asyncio.wait_for(writer, 2.0)
            writer.cancel()

    async def _read(self) -> dict[str, Any] | None:
        try:
            async with asyncio.timeout(FIRST_SECONDS if self._is_new else None):
                text = await self._socket.receive_text()
        except (WebSocketDisconnect, RuntimeError, KeyError, TimeoutError):
            return None
        self._is_new = False
        now = self._clock()
        too_often = len(self._times) == IN_TEN_SECONDS and now - self._times[0] < 10.0
        self._times.append(now)
        self._left -= 1
        frame = None
        if len(text.encode("utf-8", "replace")) <= FRAME_LIMIT_BYTES and not too_often and self._left >= 0:
            with suppress(ValueError, RecursionError):
                frame = json.loads(text)
        if not isinstance(frame, dict) or not isinstance(frame.get("type"), str):
            self._code = POLICY_VIOLATION
            return None
        return frame

    async def _write(self) -> None:
        with suppress(WebSocketDisconnect, RuntimeError):
            while (frame := await self._waiting.get()) is not None:
                await self._socket.send_text(json.dumps(frame, separators=(",", ":"), ensure_ascii=False))
            await self._socket.close(self._code)
