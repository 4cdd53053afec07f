"""The signalling server: TLS connections of known peers, their bytes read into messages, replies written where they came from.

RFC 3261 section 18. Limits: connections in all, unproven handshakes in all and for each address, seconds for a handshake, seconds
for the rest of a message, bytes not yet taken by the peer. A peer that sends faster than its rate is read more slowly, never
refused; a stranger is counted by address and in all, and once it was refused too often it is not even shaken hands with.
Invariant: nothing of a connection reaches the recorder before its certificate, or its address and secret, has named a peer.
"""

import asyncio
import os
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from callseal.config.peers import Peer
from callseal.errors import ConfigError, Unauthenticated, Unavailable
from callseal.net.admission import Admission
from callseal.net.rate import RateLimit
from callseal.net.tls import PeerBook, describe_transport, explain_refusal
from callseal.sip.exchange import Connection
from callseal.sip.message import Malformed, MessageReader, Request, Response

Message = Request | Response | Malformed


PEER_HEADER = "x-callseal-peer"
"""Set by a proxy (`behind` in its file) from the certificate that it verified."""


@dataclass(frozen=True)
class Limits:
    """What one server takes on."""

    connections: int = 500
    handshakes: int = 128
    handshakes_per_address: int = 16
    """Connections of an address that have not yet named a peer."""
    handshake_seconds: float = 5.0
    message_seconds: float = 10.0
    messages_per_second: int = 400
    accepts_per_second: float = 200
    refusals_per_minute: float = 30
    """Of one address; one that has a peer's connection up is not counted."""
    unsent_bytes: int = 4 << 20


class SipServer:
    """Listens, admits, reads. `on_message` gets each message of a peer, `on_refused` the address and why of each stranger."""

    def __init__(
        self,
        book: PeerBook,
        limits: Limits,
        on_message: Callable[[Connection, Message], None],
        on_refused: Callable[[str, str], None],
        owner_of: Callable[[str], str | None] = lambda tag: None,
    ) -> None:
        """`owner_of` names the peer of a live dialog by our tag in it."""
        self._book = book
        self.limits = limits
        self.owner_of = owner_of
        self._accepts = RateLimit(limits.accepts_per_second, 2 * limits.accepts_per_second)
        self._refusals = RateLimit(limits.refusals_per_minute / 60, limits.refusals_per_minute)
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
        """Whether a peer has a connection now, its own or that of a proxy which speaks for it."""
        proxies = {peer.name for peer in map(self._book.find, self.peer_names()) if peer is not None and name in peer.behind}
        return name in self.peer_names() or bool(proxies)

    def peer_names(self) -> set[str]:
        """Who has a connection now."""
        return {connection.peer_name for connection in self._connections.values()}

    def refresh(self) -> bool:
        """Take up changed certificates and peers; who is none any more is disconnected. Raises ConfigError, and keeps the old."""
        changed = self._book.refresh()
        for connection in list(self._connections.values()):
            connection.check(changed)
        return changed

    def register(self, connection: "SipConnection") -> int:
        """Take in a connection whose peer is known; returns its number."""
        self._last_id += 1
        self._connections[self._last_id] = connection
        return self._last_id

    def forget(self, connection_id: int) -> None:
        """Drop a connection that has ended."""
        self._connections.pop(connection_id, None)

    def refuse(self, address: str, why: str) -> None:
        """Tell of a stranger, and count it against its address."""
        self._refusals.take(address, asyncio.get_running_loop().time())
        self._on_refused(address, why)

    def hold_waiting(self, address: str) -> None:
        """One more connection of an address has yet to name a peer."""
        self._waiting[address] += 1

    def end_waiting(self, address: str) -> None:
        """It has, or it is gone."""
        self._waiting[address] -= 1
        if self._waiting[address] <= 0:
            del self._waiting[address]

    def _is_banned(self, address: str, now: float) -> bool:
        if not self._refusals.is_spent(address, now):
            return False
        return not any(known.address == address and known.peer_name for known in self._connections.values())

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
            now = loop.time()
            full = len(self._connections) + len(self._handshakes) >= self.limits.connections
            if full or len(self._handshakes) >= self.limits.handshakes or not self._accepts.take("", now):
                why = "too many connections"
            elif self._is_banned(address, now):
                why = "refused too often"
            elif self._waiting[address] >= self.limits.handshakes_per_address:
                why = "too many handshakes from its address"
            else:
                task = asyncio.create_task(self._shake_hands(accepted, address))
                self._handshakes.add(task)
                self.hold_waiting(address)
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
                ssl=self._book.context_for(address),
                ssl_handshake_timeout=self.limits.handshake_seconds,
                ssl_shutdown_timeout=2.0,
            )
        except (OSError, TimeoutError) as error:
            self.refuse(address, explain_refusal(error))
            accepted.close()
        finally:
            if task is not None:
                self._handshakes.discard(task)
            self.end_waiting(address)


class SipConnection(asyncio.Protocol):
    """One connection after its handshake. `_admission` is there for one that showed no certificate."""

    def __init__(self, server: SipServer, book: PeerBook) -> None:
        self._server = server
        self._book = book
        self._reader = MessageReader()
        self._transport: asyncio.Transport | None = None
        self._id = 0
        self._ends = (("", 0), ("", 0))
        self._tls = ""
        self._admission: Admission | None = None
        self._certified = ""
        self._unproven: asyncio.TimerHandle | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._rate_from = self._loop.time()
        self._taken = 0

    @property
    def peer_name(self) -> str:
        """Whose connection it is; empty while nobody's."""
        return self._admission.peer_name if self._admission is not None else self._certified

    @property
    def address(self) -> str:
        """Whence it came."""
        return self._ends[0][0]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The handshake is done: find the peer, wait for its secret, or close."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        tls = transport.get_extra_info("ssl_object")
        source = transport.get_extra_info("peername") or ("unknown", 0)
        local = transport.get_extra_info("sockname")
        try:
            peer = self._book.identify(tls, str(source[0]))
        except Unauthenticated as error:
            self._server.refuse(str(source[0]), str(error))
            transport.abort()
            return
        self._ends = ((str(source[0]), int(source[1])), (str(local[0]), int(local[1])))
        self._tls = describe_transport(tls)
        self._id = self._server.register(self)
        if peer is None:
            self._admission = Admission(self._book, self.address, self._server.owner_of)
            self._server.hold_waiting(self.address)
            self._unproven = self._loop.call_later(self._server.limits.message_seconds, self._refuse, "too slow")
        else:
            self._certified = peer.name

    def data_received(self, data: bytes) -> None:
        """Read messages and hand each on, once it is known whose they are."""
        if not self._id or self._transport is None:
            return
        for message in self._reader.feed(data):
            self._taken += 1
            try:
                peer, message = self._whose(message)
            except Unauthenticated as error:
                self._refuse(str(error))
                return
            self._server.on_message(Connection(self._id, peer, *self._ends, self._tls), message)
        self._watch_message()
        self._watch_rate()

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone; dialogs are not."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._end_waiting()
        self._server.forget(self._id)

    def check(self, changed: bool) -> None:
        """Close where who it is has been taken out of the book, or its secret has ended."""
        gone = changed and self._certified and not self._is_certified()
        if gone or (self._admission is not None and not self._admission.stands(datetime.now(UTC))):
            self._refuse("no longer a known phone system")

    def _is_certified(self) -> bool:
        assert self._transport is not None
        try:
            peer = self._book.identify(self._transport.get_extra_info("ssl_object"), self.address)
        except Unauthenticated:
            return False
        return peer is not None and peer.name == self._certified

    def _whose(self, message: Message) -> tuple[Peer, Message]:
        """The peer as its file stands now, and the message as it may go on. Raises Unauthenticated."""
        if self._admission is None:
            peer = self._book.find(self._certified)
            if peer is None:
                raise Unauthenticated("no longer a known phone system")
            return self._named_by_proxy(peer, message), message
        peer, message = self._admission.admit(message, datetime.now(UTC))
        if self._admission.peer_name:
            self._end_waiting()
        return peer, message

    def _named_by_proxy(self, proxy: Peer, message: Message) -> Peer:
        """Whose message a proxy passes on: by the one header that it sets, for the peers that it may speak for; else its own.

        From anybody who is no proxy the header says nothing. Raises Unauthenticated for a name that it may not speak for.
        """
        named = [value for name, value in message.headers if name == PEER_HEADER] if proxy.behind else []
        if not named:
            return proxy
        peer = self._book.find(named[0].strip()) if len(named) == 1 and named[0].strip() in proxy.behind else None
        if peer is None or peer.behind or peer.is_cloud:
            raise Unauthenticated("a proxy named a phone system that it may not speak for")
        return peer

    def _end_waiting(self) -> None:
        if self._unproven is not None:
            self._unproven.cancel()
            self._unproven = None
            self._server.end_waiting(self.address)

    def _refuse(self, why: str) -> None:
        """A stranger, or one who has become one, is told nothing."""
        self._server.refuse(self.address, why)
        if self._transport is not None:
            self._transport.abort()

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
