"""The control socket of a daemon (media, sip): framed requests in, replies out.

docs/architecture.md, "Media control" and "SIP control". Invariants: requests are taken up in the order in which they came, and
one that waits for the disk holds up no other; as many as `WAITING_LIMIT` wait; a malformed frame ends its connection and nothing
else; a refusal is a reply; a connection by a user who is not one of `clients` ends before a byte of it is read; `on_gone` is told
after its last request is done.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from callseal.config.folders import joint_mode, peer_user
from callseal.errors import CallsealError, LimitExceeded, PeerError, RequestError
from callseal.model.message import Message, MessageDecoder, encode_message, refuse, reply_to

READ_BYTES = 64 << 10
WAITING_LIMIT = 10_000
"""Requests of one connection that have no reply yet; it is read no further meanwhile."""
Handler = Callable[[Message, int], Awaitable[Message]]
"""(request, connection number) -> fields of the reply."""


class ControlServer:
    """Serves `handle`; tells `on_gone` when a connection has ended."""

    def __init__(self, path: Path, handle: Handler, on_gone: Callable[[int], None], clients: frozenset[int]) -> None:
        self._path = path
        self._clients = clients
        self._handle = handle
        self._on_gone = on_gone
        self._server: asyncio.Server | None = None
        self._connections: dict[int, asyncio.StreamWriter] = {}
        self._count = 0

    async def start(self) -> None:
        """Begin to listen."""
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, str(self._path))
        self._path.chmod(joint_mode(self._path.parent))

    async def close(self) -> None:
        """End every connection."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._connections.values()):
            writer.close()
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if peer_user(writer.get_extra_info("socket")) not in self._clients:
            writer.transport.abort()
            return
        self._count += 1
        number = self._count
        self._connections[number] = writer
        decoder = MessageDecoder()
        answering: set[asyncio.Task[None]] = set()
        try:
            while data := await reader.read(READ_BYTES):
                for request in decoder.feed(data):
                    if len(answering) >= WAITING_LIMIT:
                        await asyncio.wait(answering, return_when=asyncio.FIRST_COMPLETED)
                    task = asyncio.create_task(self._reply(request, number, writer))
                    answering.add(task)
                    task.add_done_callback(answering.discard)
                await writer.drain()
        except (OSError, PeerError, LimitExceeded):
            pass  # this connection is over; recordings go on
        finally:
            if answering:
                await asyncio.wait(answering)
            del self._connections[number]
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
            self._on_gone(number)

    async def _reply(self, request: Message, number: int, writer: asyncio.StreamWriter) -> None:
        reply = await self._answer(request, number)
        try:
            if not writer.is_closing():
                writer.write(encode_message(reply))
        except LimitExceeded:
            writer.close()  # what cannot be said ends the line, and it is made anew

    async def _answer(self, request: Message, number: int) -> Message:
        try:
            return reply_to(request, **await self._handle(request, number))
        except CallsealError as error:
            return refuse(request, error)
        except (KeyError, TypeError, ValueError) as error:
            return refuse(
                request,
                RequestError(f"{str(request['type'])[:40]}: a field is missing or of a wrong type ({type(error).__name__})"),
            )
