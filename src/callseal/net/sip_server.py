"""The signalling server: TLS connections of known peers, their bytes read into messages, replies written where they came from.

RFC 3261 section 18. Limits: connections in all, unproven handshakes in all and for each address, seconds for a handshake, seconds
for the rest of a message, bytes not yet taken by the peer. A peer that sends faster than its rate is read more slowly, never
refused. Invariant: nothing of a connection reaches the recorder before its certificate has named a peer.
"""

import asyncio
import os
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from callseal.config.peers import Peer
from callseal.errors import ConfigError, Unauthenticated, Unavailable
from callseal.net.tls import PeerBook, describe_transport, explain_refusal
from callseal.sip.exchange import Connection
from callseal.sip.message import Malformed, MessageReader, Request, Response

Message = Request | Response | Malformed


@dataclass(frozen=True)
class Limits:
    """What one server takes on."""

    connections: int = 500
    handshakes: int = 128
    handshakes_per_address: int = 16
    handshake_seconds: float = 5.0
    message_seconds: float = 10.0
    messages_per_second: int = 400
    unsent_bytes: int = 4 << 20


class SipServer:
    """Listens, admits, reads. `on_message` gets each message of a peer, `on_refused` the address and why of each stranger."""

    def __init__(
        self,
        book: PeerBook,
        limits: Limits,
        on_message: Callable[[Connection, Message], None],
        on_refused: Callable[[str, str], None],
    ) -> None:
        self._book = book
        self.limits = limits
        self.on_message = on_message
        self._on_refused = on_refused
        self._listener: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._handshakes: set[asyncio.Task[None]] = set()
        self._waiting: Counter[str] = Counter()
        self._connections: dict[int, SipConnection] = {}
        self._last_id = 0

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        assert self._listener is not None
        name = self._listener.getsockname()
        return str(name[0]), int(name[1])

    def open(self, host: str, port: int) -> None:
        """Bind and listen. Raises Unavailable."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen(256)
        except OSError as error:
            listener.close()
            raise Unavailable(f"sip: cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}") from error
        self._listener = listener

    def start(self) -> None:
        """Begin to accept."""
        self._accepting = asyncio.create_task(self._accept())

    async def close(self) -> None:
        """Stop accepting, end handshakes and close every connection."""
        tasks = [*self._handshakes, *([self._accepting] if self._accepting else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in list(self._connections.values()):
            connection.close()
        if self._listener is not None:
            self._listener.close()

    def send(self, connection_id: int, data: bytes, close: bool = False) -> None:
        """Write to a connection that is still there; one that does not read is closed at its limit."""
        connection = self._connections.get(connection_id)
        if connection is not None:
            connection.send(data, close)

    def has_peer(self, name: str) -> bool:
        """Whether a peer has a connection now."""
        return any(connection.peer.name == name for connection in self._connections.values())

    def register(self, connection: "SipConnection") -> int:
        """Take in a connection whose peer is known; returns its number."""
        self._last_id += 1
        self._connections[self._last_id] = connection
        return self._last_id

    def forget(self, connection_id: int) -> None:
        """Drop a connection that has ended."""
        self._connections.pop(connection_id, None)

    def refuse(self, address: str, why: str) -> None:
        """Tell of a stranger."""
        self._on_refused(address, why)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        assert self._listener is not None
        while True:
            try:
                accepted, source = await loop.sock_accept(self._listener)
            except OSError:
                await asyncio.sleep(0.1)  # out of file descriptors: let some connections end
                continue
            address = str(source[0])
            full = len(self._connections) + len(self._handshakes) >= self.limits.connections
            if full or len(self._handshakes) >= self.limits.handshakes:
                why = "too many connections"
            elif self._waiting[address] >= self.limits.handshakes_per_address:
                why = "too many handshakes from its address"
            else:
                task = asyncio.create_task(self._shake_hands(accepted, address))
                self._handshakes.add(task)
                self._waiting[address] += 1
                continue
            accepted.close()
            self._on_refused(address, why)

    async def _shake_hands(self, accepted: socket.socket, address: str) -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        try:
            with suppress(ConfigError):
                self._book.refresh()
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            await loop.connect_accepted_socket(
                lambda: SipConnection(self, self._book),
                accepted,
                ssl=self._book.context,
                ssl_handshake_timeout=self.limits.handshake_seconds,
                ssl_shutdown_timeout=2.0,
            )
        except (OSError, TimeoutError) as error:
            self._on_refused(address, explain_refusal(error))
            accepted.close()
        finally:
            if task is not None:
                self._handshakes.discard(task)
            self._waiting[address] -= 1
            if not self._waiting[address]:
                del self._waiting[address]


class SipConnection(asyncio.Protocol):
    """One connection after its handshake."""

    def __init__(self, server: SipServer, book: PeerBook) -> None:
        self._server = server
        self._book = book
        self._reader = MessageReader()
        self._transport: asyncio.Transport | None = None
        self._id = 0
        self._origin: Connection | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._rate_from = self._loop.time()
        self._taken = 0

    @property
    def peer(self) -> Peer:
        """Whose connection it is."""
        assert self._origin is not None
        return self._origin.peer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The handshake is done: find the peer, or close."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        tls = transport.get_extra_info("ssl_object")
        source = transport.get_extra_info("peername") or ("unknown", 0)
        try:
            peer = self._book.identify(tls)
        except Unauthenticated as error:
            self._server.refuse(str(source[0]), str(error))
            transport.abort()
            return
        local = transport.get_extra_info("sockname")
        self._id = self._server.register(self)
        ends = ((str(source[0]), int(source[1])), (str(local[0]), int(local[1])))
        self._origin = Connection(self._id, peer, *ends, describe_transport(tls))

    def data_received(self, data: bytes) -> None:
        """Read messages and hand each on."""
        if self._origin is None or self._transport is None:
            return
        for message in self._reader.feed(data):
            self._taken += 1
            self._server.on_message(self._origin, message)
        self._watch_message()
        self._watch_rate()

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone; dialogs are not."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._server.forget(self._id)

    def send(self, data: bytes, close: bool) -> None:
        """Write, and close after it if asked or if the peer does not read."""
        assert self._transport is not None
        if data:
            self._transport.write(data)
        if self._transport.get_write_buffer_size() > self._server.limits.unsent_bytes:
            self._transport.abort()
        elif close:
            self._transport.close()

    def close(self) -> None:
        """Close from our side."""
        if self._transport is not None:
            self._transport.close()

    def _watch_message(self) -> None:
        """A message that has begun must end in time."""
        if self._reader.is_waiting and self._deadline is None:
            self._deadline = self._loop.call_later(self._server.limits.message_seconds, self.close)
        elif not self._reader.is_waiting and self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _watch_rate(self) -> None:
        """Stop reading until the second in which too many messages came is over."""
        elapsed = self._loop.time() - self._rate_from
        if elapsed >= 1.0:
            self._rate_from, self._taken = self._loop.time(), 0
        elif self._taken > self._server.limits.messages_per_second and self._transport is not None:
            self._transport.pause_reading()
            self._loop.call_later(1.0 - elapsed, self._resume)

    def _resume(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
