"""The custodian's client: a message out, its reply in, over the Unix socket; what the custodian refuses is raised as it said it.

docs/architecture.md, "Keyring protocol". Invariants: one request at a time on a connection; after a time-out or a broken
frame the connection is not used again; a request is never sent twice, for it may have been done.
"""

import asyncio
import contextlib
import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from callseal.config.folders import peer_user, users_of
from callseal.errors import CallsealError, LimitExceeded, PeerError, Unavailable
from callseal.model.message import Message, MessageDecoder, encode_message, raise_refusal

LIMIT_BYTES: Final = 4 << 20
TIMEOUT_SECONDS: Final = 30.0
IDLE_LIMIT: Final = 8
_AWAY = "custodian: expected an answer, got none; is it running?"


class Keyring:
    """The asyncio client. Safe for many tasks: each request has a connection of its own while it lasts."""

    def __init__(self, path: Path, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._path = path
        self._timeout_seconds = timeout_seconds
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self, message_type: str, **fields: Any) -> Message:
        """Send one request and return its reply. Raises the refusal by its kind, Unavailable, LimitExceeded."""
        frame = encode_message({"type": message_type, "id": 1, **fields}, LIMIT_BYTES)
        try:
            async with asyncio.timeout(self._timeout_seconds):
                reply = await self._exchange(frame)
        except (TimeoutError, OSError, asyncio.IncompleteReadError, PeerError) as error:
            raise Unavailable(_AWAY) from error
        raise_refusal(reply)
        return reply

    async def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            await _close(self._idle.pop()[1])

    async def _exchange(self, frame: bytes) -> Message:
        reader, writer = await self._connect()
        try:
            writer.write(frame)
            await writer.drain()
            reply = await _read_reply(reader)
        except BaseException:
            writer.transport.abort()
            raise
        if len(self._idle) < IDLE_LIMIT:
            self._idle.append((reader, writer))
        else:
            await _close(writer)
        return reply

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.transport.abort()
        reader, writer = await asyncio.open_unix_connection(self._path)
        _check_user(writer.get_extra_info("socket"), self._path)
        return reader, writer


class BlockingKeyring:
    """The blocking client, for one-off programs. Safe for many threads, one request at a time."""

    def __init__(self, path: Path, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._path = path
        self._timeout_seconds = timeout_seconds
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    def ask(self, message_type: str, **fields: Any) -> Message:
        """Send one request and return its reply. Raises the refusal by its kind, Unavailable, LimitExceeded."""
        frame = encode_message({"type": message_type, "id": 1, **fields}, LIMIT_BYTES)
        with self._lock:
            try:
                reply = self._exchange(frame)
            except (OSError, PeerError, LimitExceeded) as error:
                self._drop()
                raise Unavailable(_AWAY) from error
        raise_refusal(reply)
        return reply

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._drop()

    def __enter__(self) -> "BlockingKeyring":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _exchange(self, frame: bytes) -> Message:
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            self._socket.settimeout(self._timeout_seconds)
            self._socket.connect(str(self._path))
            _check_user(self._socket, self._path)
        self._socket.sendall(frame)
        decoder = MessageDecoder(LIMIT_BYTES)
        while True:
            data = self._socket.recv(1 << 16)
            if not data:
                raise PeerError("custodian: expected a reply, got the end")
            for message in decoder.feed(data):
                return message

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _check_user(connection: socket.socket, path: Path) -> None:
    """Raises PeerError where it is not the custodian's own user (the owner of its folder) who listens there."""
    if peer_user(connection) not in users_of(path.parent.parent / "custodian"):
        raise PeerError("custodian: expected its own user behind the socket, got another")


async def _read_reply(reader: asyncio.StreamReader) -> Message:
    decoder = MessageDecoder(LIMIT_BYTES)
    while True:
        data = await reader.read(1 << 16)
        if not data:
            raise PeerError("custodian: expected a reply, got the end")
        try:
            for message in decoder.feed(data):
                return message
        except CallsealError as error:
            raise PeerError("custodian: expected a frame") from error


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
