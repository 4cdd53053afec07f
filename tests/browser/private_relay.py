"""A real coturn on loopback, and a userspace UDP relay before it that sees, counts, delays, drops and cuts what passes.

What the relay keeps is what an observer at the network or within coturn has: every datagram of both browsers, with the TURN
framing (RFC 8656) around it. Impairments are drawn from a seed, so that a run can be repeated.
"""

import heapq
import random
import selectors
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

TURNSERVER = Path("/usr/bin/turnserver")
OPUS = 111
_CHANNEL = range(0x40, 0x50)


@dataclass(frozen=True)
class Datagram:
    """One datagram at the relay: when (monotonic seconds), from which browser's port, which way, and its bytes."""

    at: float
    client: int
    outward: bool
    data: bytes

    @property
    def payload(self) -> bytes:
        """What TURN carries in it: of a ChannelData message or a Send or Data indication; empty where it carries nothing."""
        data = self.data
        if len(data) >= 4 and data[0] in _CHANNEL:
            return data[4 : 4 + int.from_bytes(data[2:4], "big")]
        if len(data) >= 20 and data[:2] in (b"\x00\x16", b"\x00\x17"):
            return _data_attribute(data)
        return b""

    @property
    def is_voice(self) -> bool:
        """Whether it carries an RTP packet (RFC 7983 section 7), not RTCP (RFC 5761 section 4)."""
        inner = self.payload
        return len(inner) >= 12 and 128 <= inner[0] <= 191 and not 192 <= inner[1] <= 223


def _data_attribute(message: bytes) -> bytes:
    at = 20
    while at + 4 <= len(message):
        kind, length = int.from_bytes(message[at : at + 2], "big"), int.from_bytes(message[at + 2 : at + 4], "big")
        if kind == 0x0013:
            return message[at + 4 : at + 4 + length]
        at += 4 + (length + 3) // 4 * 4
    return b""


@dataclass
class Weather:
    """What the way to the relay does to each datagram."""

    loss: float = 0.0
    jitter_seconds: float = 0.0
    cut: set[int] = field(default_factory=set)
    """Ports of browsers whose way is gone, as when a telephone leaves a network."""


class UdpRelay:
    """The way between browsers and coturn, one upstream socket for each browser's port."""

    def __init__(self, upstream: tuple[str, int], seed: int = 1) -> None:
        self._upstream = upstream
        self._random = random.Random(seed)
        self._selector = selectors.DefaultSelector()
        self._front = _udp()
        self._selector.register(self._front, selectors.EVENT_READ, None)
        self._behind: dict[tuple[str, int], socket.socket] = {}
        self._late: list[tuple[float, int, socket.socket, bytes, tuple[str, int]]] = []
        self._serial = 0
        self._stopping = threading.Event()
        self.weather = Weather()
        self.seen: list[Datagram] = []
        self._thread = threading.Thread(target=self._run, name="udp-relay", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Where browsers find it."""
        return int(self._front.getsockname()[1])

    def voice(self, since: float = 0.0) -> list[Datagram]:
        """RTP packets that browsers sent since then (monotonic seconds)."""
        return [item for item in self.seen[:] if item.outward and item.at >= since and item.is_voice]

    def cut_everybody(self) -> None:
        """The ways of all that have sent so far are gone; a browser's new sockets find theirs."""
        self.weather.cut |= {port for _, port in self._behind}

    def stop(self) -> None:
        """Stop, and close every socket."""
        self._stopping.set()
        self._thread.join(5)
        for opened in (self._front, *self._behind.values()):
            opened.close()
        self._selector.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            wait = 0.05 if not self._late else max(0.0, min(0.05, self._late[0][0] - time.monotonic()))
            for key, _ in self._selector.select(wait):
                with suppress(OSError):
                    self._read(key.fileobj, key.data)  # type: ignore[arg-type]
            while self._late and self._late[0][0] <= time.monotonic():
                _, _, sender, data, target = heapq.heappop(self._late)
                with suppress(OSError):
                    sender.sendto(data, target)

    def _read(self, ready: socket.socket, client: tuple[str, int] | None) -> None:
        for _ in range(64):
            try:
                data, source = ready.recvfrom(4096)
            except BlockingIOError:
                return
            if client is None:
                self._pass(source[1], True, data, self._towards(source), self._upstream)
            else:
                self._pass(client[1], False, data, self._front, client)

    def _towards(self, client: tuple[str, int]) -> socket.socket:
        if client not in self._behind:
            self._behind[client] = _udp()
            self._selector.register(self._behind[client], selectors.EVENT_READ, client)
        return self._behind[client]

    def _pass(self, client: int, outward: bool, data: bytes, sender: socket.socket, target: tuple[str, int]) -> None:
        now = time.monotonic()
        self.seen.append(Datagram(now, client, outward, data))
        weather = self.weather
        if client in weather.cut or (weather.loss and self._random.random() < weather.loss):
            return
        if not weather.jitter_seconds:
            sender.sendto(data, target)
            return
        self._serial += 1
        late = now + self._random.random() * weather.jitter_seconds
        heapq.heappush(self._late, (late, self._serial, sender, data, target))


def _udp() -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.bind(("127.0.0.1", 0))
    opened.setblocking(False)
    return opened


@dataclass(frozen=True)
class Relay:
    """coturn with the way to it."""

    way: UdpRelay
    secret: str
    log: Path

    @property
    def url(self) -> str:
        """As settings and browsers spell it."""
        return f"turn:127.0.0.1:{self.way.port}?transport=udp"


@contextmanager
def running_relay(folder: Path, secret: str, seed: int = 1) -> Iterator[Relay]:
    """coturn as Debian ships it, on loopback, for as long as the block lasts. Raises RuntimeError where it does not start."""
    port = _free_port()
    config, log = folder / "turnserver.conf", folder / "turnserver.log"
    config.write_text(
        f"listening-ip=127.0.0.1\nrelay-ip=127.0.0.1\nlistening-port={port}\nallow-loopback-peers\nno-cli\nno-tls\nno-dtls\n"
        f"no-tcp\nno-tcp-relay\nno-multicast-peers\nfingerprint\nuse-auth-secret\nstatic-auth-secret={secret}\nrealm=callseal\n"
        f"min-port={_relay_ports()}\nmax-port={_relay_ports() + 400}\nverbose\nlog-file=stdout\nsimple-log\npidfile={folder}/turn.pid\nuserdb={folder}/turn.db\n"
    )
    with log.open("wb") as said:
        process = subprocess.Popen([str(TURNSERVER), "-c", str(config)], stdout=said, stderr=subprocess.STDOUT)
    try:
        _wait_until_it_answers(port, process, log)
        way = UdpRelay(("127.0.0.1", port), seed)
        try:
            yield Relay(way, secret, log)
        finally:
            way.stop()
    finally:
        process.terminate()
        process.wait(10)


def _free_port() -> int:
    with _udp() as opened:
        return int(opened.getsockname()[1])


def _relay_ports() -> int:
    """Below the system's own range for outgoing sockets, so that coturn and the rest do not meet."""
    return 20_000


def _wait_until_it_answers(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    binding = b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(range(12))
    end = time.monotonic() + 20
    with _udp() as asking:
        asking.setblocking(True)
        asking.settimeout(0.1)
        while time.monotonic() < end and process.poll() is None:
            with suppress(OSError):
                asking.sendto(binding, ("127.0.0.1", port))
                asking.recv(2048)
                return
    raise RuntimeError(f"coturn did not start:\n{log.read_text(errors='replace')[-2000:]}")
