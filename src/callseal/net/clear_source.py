"""Voice in the clear, by exception: one socket that takes packets of one source only, and that from one network.

Source: RFC 3550 section 5.1 (what looks like RTP); socket(7) SO_BINDTODEVICE; udp(7) connect(2).
Invariants: the socket hears one interface only; until a packet that looks like RTP has come from the named network nothing is
taken, and what comes from elsewhere is counted; from then on the kernel delivers only what that very address and port sends.
"""

import ctypes
import ipaddress
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from callseal.errors import RequestError, Unavailable
from callseal.net.udp_batch import LONGEST_BYTES, ROW_BYTES, Chunk, PortPair, Share, open_pair

TAKEN_AT_ONCE = 1024
INTERFACE_NAME_BYTES = 16
_LEAST_BYTES = 12
_UNSPECIFIED = struct.pack("=H14x", socket.AF_UNSPEC)
_library = ctypes.CDLL(None)


@dataclass(frozen=True)
class ClearFrom:
    """Whence it may come: `clear` of a control message."""

    network: ipaddress.IPv4Network | ipaddress.IPv6Network
    interface: str

    @classmethod
    def read(cls, fields: object) -> "ClearFrom":
        """Raises RequestError."""
        if not isinstance(fields, Mapping):
            raise RequestError("clear: expected a network and an interface")
        interface = fields.get("interface")
        try:
            network = ipaddress.ip_network(str(fields.get("network")))
        except ValueError as error:
            raise RequestError("clear.network: expected ADDRESS/LENGTH") from error
        if not isinstance(interface, str) or not 1 <= len(interface.encode()) < INTERFACE_NAME_BYTES:
            raise RequestError("clear.interface: expected its name")
        return cls(network, interface)


def open_locked_pair(host: str, port: int, ports: range | None, share: Share) -> PortPair:
    """A pair bound to its port by number, so that letting go of a source does not let go of the port. Raises Unavailable."""
    found = open_pair(host, port, ports, share)
    number = found.port
    found.close()
    return open_pair(host, number)


class ClearSource:
    """One stream's socket until its source is known."""

    def __init__(self, pair: PortPair, allowed: ClearFrom) -> None:
        """Raises Unavailable where the interface is not there or cannot be bound to."""
        self._pair = pair
        self._network = allowed.network
        self.is_latched = False
        self.refused = 0
        try:
            for bound in (pair.rtp, pair.rtcp):
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, allowed.interface.encode() + b"\0")
        except OSError as error:
            raise Unavailable(f"clear.interface: expected to bind to it, got {error.strerror}") from error

    def take(self, stream: int) -> Chunk | None:
        """What has come so far, in order; the first packet that looks like RTP and comes from the network latches its source."""
        kept: list[bytes] = []
        source: Any = None
        for _ in range(TAKEN_AT_ONCE):
            try:
                packet, sender = self._pair.rtp.recvfrom(LONGEST_BYTES)
            except (BlockingIOError, ConnectionRefusedError):
                break
            if source is None and self._may_be_it(packet, sender):
                with suppress(OSError):
                    self._pair.rtp.connect(sender)
                    source, self.is_latched = sender, True
            if sender == source:
                kept.append(packet)
            else:
                self.refused += 1
        return _as_chunk(kept, stream) if kept else None

    def unlatch(self) -> None:
        """The phone system has made a new offer: it may send from elsewhere in its network now. Raises Unavailable."""
        if self.is_latched and _library.connect(self._pair.rtp.fileno(), _UNSPECIFIED, len(_UNSPECIFIED)) != 0:
            raise Unavailable("voice: expected to let go of its source")
        self.is_latched = False

    def _may_be_it(self, packet: bytes, sender: tuple[Any, ...]) -> bool:
        if len(packet) <= _LEAST_BYTES or packet[0] >> 6 != 2 or 192 <= packet[1] <= 223:
            return False
        address = ipaddress.ip_address(str(sender[0]).partition("%")[0])
        return address in self._network


def _as_chunk(packets: list[bytes], stream: int) -> Chunk:
    rows: NDArray[np.uint8] = np.zeros((len(packets), ROW_BYTES), np.uint8)
    for row, packet in enumerate(packets):
        rows[row, : len(packet)] = np.frombuffer(packet, np.uint8)
    lengths = np.array([len(packet) for packet in packets], np.int64)
    return Chunk(rows, lengths, np.full(len(packets), stream, np.int64))
