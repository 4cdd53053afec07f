"""Ready-made traffic: packets that libsrtp protected beforehand, sent by the clock from the other core with sendmmsg(2).

A tick is 20 ms. Within it the streams are spread over `SLICES` moments, as calls are that began at different times.
"""

import os
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import Any

import cffi
import numpy as np
from numpy.typing import NDArray
from pylibsrtp import Policy, Session

PROFILES = {
    "AEAD_AES_256_GCM": (Policy.SRTP_PROFILE_AEAD_AES_256_GCM, 44),
    "AEAD_AES_128_GCM": (Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 28),
    "AES_CM_128_HMAC_SHA1_80": (Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 30),
}
FRAME_SECONDS = 0.02
WARM_UP_TICKS = 150
"""Three seconds: each recording has begun its first part by then."""
SLICES = 20
PAYLOAD_BYTES = 160

_ffi = cffi.FFI()
_ffi.cdef("""
struct iovec { void *iov_base; size_t iov_len; };
struct msghdr { void *msg_name; unsigned int msg_namelen; struct iovec *msg_iov; size_t msg_iovlen;
                void *msg_control; size_t msg_controllen; int msg_flags; };
struct mmsghdr { struct msghdr msg_hdr; unsigned int msg_len; };
int sendmmsg(int sockfd, struct mmsghdr *msgvec, unsigned int vlen, int flags);
""")


@dataclass
class Traffic:
    """`streams` G.711 streams of one suite: their keys, their payload (the same in every packet of a stream), and every packet,
    [tick, stream, byte]."""

    suite: str
    keys: list[bytes] = field(repr=False)
    payloads: NDArray[np.uint8] = field(repr=False)
    packets: NDArray[np.uint8] = field(repr=False)

    @property
    def streams(self) -> int:
        """How many streams."""
        return len(self.keys)

    @property
    def ticks(self) -> int:
        """How many ticks of 20 ms."""
        return len(self.packets)


def make_traffic(suite: str, streams: int, ticks: int) -> Traffic:
    """Streams of `ticks` packets, each under a fresh key."""
    profile, length = PROFILES[suite]
    payloads = np.frombuffer(os.urandom(streams * PAYLOAD_BYTES), np.uint8).reshape(streams, PAYLOAD_BYTES)
    keys = [os.urandom(length) for _ in range(streams)]
    packets: NDArray[np.uint8] | None = None
    for number, key in enumerate(keys):
        session, ssrc = Session(Policy(key, Policy.SSRC_ANY_OUTBOUND, 0, profile)), os.urandom(4)
        payload = payloads[number].tobytes()
        for tick in range(ticks):
            packet = session.protect(struct.pack(">BBHI", 0x80, 8, tick, tick * PAYLOAD_BYTES) + ssrc + payload)
            if packets is None:
                packets = np.zeros((ticks, streams, len(packet)), np.uint8)
            packets[tick, number] = np.frombuffer(packet, np.uint8)
    assert packets is not None
    return Traffic(suite, keys, payloads, packets)


class Datagrams:
    """One message a stream to ports on loopback, sent as they stand in memory with sendmmsg(2)."""

    def __init__(self, count: int, row_bytes: int) -> None:
        self._count = count
        self._library: Any = _ffi.dlopen(None)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        self._names = _ffi.new("unsigned char[]", 16 * count)
        self._vectors, self._headers = _ffi.new("struct iovec[]", count), _ffi.new("struct mmsghdr[]", count)
        for number in range(count):
            self._vectors[number].iov_len = row_bytes
            header = self._headers[number].msg_hdr
            header.msg_name, header.msg_namelen = self._names + 16 * number, 16
            header.msg_iov, header.msg_iovlen = self._vectors + number, 1
        self._bases = np.frombuffer(_ffi.buffer(self._vectors), np.uint64).reshape(count, -1)[:, 0]
        self._offsets = np.arange(count, dtype=np.uint64) * np.uint64(row_bytes)

    def lead(self, number: int, port: int) -> None:
        """The port to which a stream's packets go from now on."""
        name = struct.pack("=H", socket.AF_INET) + struct.pack(">H4s8x", port, socket.inet_aton("127.0.0.1"))
        _ffi.buffer(self._names, 16 * self._count)[16 * number : 16 * number + 16] = name

    def send(self, rows: NDArray[np.uint8], begin: int, end: int) -> None:
        """The packets of the streams begin..end-1, of `rows` with one packet for each stream. Raises OSError."""
        self._bases[begin:end] = self._offsets[begin:end] + np.uint64(rows.ctypes.data)
        while begin < end:
            sent = self._library.sendmmsg(self._socket.fileno(), self._headers + begin, min(end - begin, 1024), 0)
            if sent <= 0:
                raise OSError("sendmmsg: nothing was sent")
            begin += sent

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class Sender:
    """Sends a traffic's packets to one port a stream on loopback."""

    def __init__(self, traffic: Traffic, ports: list[int]) -> None:
        self._packets = traffic.packets
        self._datagrams = Datagrams(traffic.streams, traffic.packets.shape[2])
        for number, port in enumerate(ports):
            self._datagrams.lead(number, port)

    def send(self, first: int, last: int) -> float:
        """Send the ticks first..last-1; returns how late the latest moment was, in seconds."""
        late, count = 0.0, self._packets.shape[1]
        edges = [count * slice_ // SLICES for slice_ in range(SLICES + 1)]
        began = time.monotonic()
        for tick in range(first, last):
            for number in range(SLICES):
                wait = began + (tick - first + number / SLICES) * FRAME_SECONDS - time.monotonic()
                if wait > 0:
                    time.sleep(wait)
                late = max(late, -wait)
                self._datagrams.send(self._packets[tick], edges[number], edges[number + 1])
        return late

    def close(self) -> None:
        """Close the socket."""
        self._datagrams.close()
