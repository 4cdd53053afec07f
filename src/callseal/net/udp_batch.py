"""UDP by the batch: one socket a stream, drained with recvmmsg(2) into rows of one numpy array.

Source: recvmmsg(2), RFC 3550 section 11 (RTP on an even port, RTCP on the next), socket(7) SIOCGSTAMP (when a datagram came).
Called through cffi's ABI mode: no compiler.
Invariants: nothing is allocated for a packet; a datagram longer than a row can hold is cut, so its tag cannot verify; one socket
is read for at most `SOCKET_DATAGRAMS` at a time, so that a flood of it holds up no other.
"""

import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from fcntl import ioctl
from typing import Any, NamedTuple

import cffi
import numpy as np
from numpy.typing import NDArray

from callseal.errors import Unavailable

ROWS = 2048
SOCKET_DATAGRAMS = 2 * ROWS
ROW_BYTES = 1536
LONGEST_BYTES = ROW_BYTES - 16
RECEIVE_BUFFER_BYTES = 4 << 20
PORT_TRIES = 200
OLDEST_MS = 1000
"""A datagram that waited longer is not believed: the clock was set meanwhile."""
_SIOCGSTAMPNS = 0x8907
_TIMESPEC = struct.Struct("qq")

_ffi = cffi.FFI()
_ffi.cdef("""
struct iovec { void *iov_base; size_t iov_len; };
struct msghdr { void *msg_name; unsigned int msg_namelen; struct iovec *msg_iov; size_t msg_iovlen;
                void *msg_control; size_t msg_controllen; int msg_flags; };
struct mmsghdr { struct msghdr msg_hdr; unsigned int msg_len; };
int recvmmsg(int sockfd, struct mmsghdr *msgvec, unsigned int vlen, int flags, void *timeout);
""")

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]


class Chunk(NamedTuple):
    """Packets one a row, how long each is, and which stream it came to. The arrays are used again after the next step."""

    packets: Bytes
    lengths: Ints
    streams: Ints


class UdpBatch:
    """The buffers of one worker."""

    def __init__(self, rows: int = ROWS) -> None:
        self._library: Any = _ffi.dlopen(None)
        self.packets = np.zeros((rows, ROW_BYTES), np.uint8)
        self._rows = rows
        self._vectors = _ffi.new("struct iovec[]", rows)
        self._headers = _ffi.new("struct mmsghdr[]", rows)
        base = int(self.packets.ctypes.data)
        for row in range(rows):
            self._vectors[row].iov_base = _ffi.cast("void *", base + row * ROW_BYTES)
            self._vectors[row].iov_len = LONGEST_BYTES
            self._headers[row].msg_hdr.msg_iov = self._vectors + row
            self._headers[row].msg_hdr.msg_iovlen = 1
        size = _ffi.sizeof("struct mmsghdr")
        whole = np.frombuffer(_ffi.buffer(self._headers), np.uint8).reshape(rows, size)
        offset = _ffi.offsetof("struct mmsghdr", "msg_len")
        self._lengths = whole[:, offset : offset + 4].view(np.uint32)[:, 0]
        self._streams = np.zeros(rows, np.int64)
        self.left_some = False
        """Whether the last drain left datagrams of a flooded socket where they were."""

    def drain(self, sockets: Iterable[tuple[int, int]]) -> Iterator[Chunk]:
        """Everything that waits on these (descriptor, stream) sockets, in chunks of at most `rows`, each socket in order."""
        receive, headers, rows = self._library.recvmmsg, self._headers, self._rows
        at = 0
        self.left_some = False
        for descriptor, stream in sockets:
            rest = SOCKET_DATAGRAMS
            while True:
                room = rows - at
                taken = receive(descriptor, headers + at, room, socket.MSG_DONTWAIT, _ffi.NULL)
                if taken > 0:
                    self._streams[at : at + taken] = stream
                    at += taken
                if taken < room:
                    break
                yield self._chunk(at)
                self._wipe(at)
                at = 0
                rest -= taken
                if rest <= 0:
                    self.left_some = True
                    break
        if at:
            yield self._chunk(at)
            self._wipe(at)

    def _wipe(self, count: int) -> None:
        """Overwrite what was received: with a live SRTP key it is speech."""
        self.packets[:count, : int(self._lengths[:count].max())] = 0

    def _chunk(self, count: int) -> Chunk:
        return Chunk(self.packets[:count], self._lengths[:count].astype(np.int64), self._streams[:count].copy())


class PortPair:
    """An RTP socket on an even port and an RTCP socket on the next one. The kernel keeps when each RTP datagram came."""

    def __init__(self, rtp: socket.socket, rtcp: socket.socket) -> None:
        self.rtp, self.rtcp = rtp, rtcp
        self.age_ms(0)  # from the first question on the kernel keeps it

    @property
    def port(self) -> int:
        """The even port."""
        return int(self.rtp.getsockname()[1])

    def age_ms(self, read_ns: int) -> int:
        """How long before `read_ns` (of the system's clock) the RTP datagram that was read last came; 0 where nobody knows."""
        came = bytearray(_TIMESPEC.size)
        try:
            ioctl(self.rtp, _SIOCGSTAMPNS, came)
        except OSError:
            return 0
        seconds, nanoseconds = _TIMESPEC.unpack(came)
        age = round((read_ns - seconds * 1_000_000_000 - nanoseconds) / 1_000_000)
        return age if 0 <= age <= OLDEST_MS else 0

    def close(self) -> None:
        """Give both ports back."""
        self.rtp.close()
        self.rtcp.close()


class Share(NamedTuple):
    """Which pairs a worker chooses from: every `of`-th, so that none takes what another's calls will want back."""

    number: int = 0
    of: int = 1

    def has(self, port: int) -> bool:
        """Whether an even port is in it."""
        return port // 2 % self.of == self.number


WHOLE = Share()


def open_pair(host: str, port: int = 0, ports: range | None = None, share: Share = WHOLE) -> PortPair:
    """Bind a pair on `port`, or on a free one of `ports` (even), or on any free even one of the share. Raises Unavailable."""
    chosen = (0,) * (PORT_TRIES * share.of) if ports is None else filter(share.has, ports)
    candidates: Iterable[int] = (port,) if port else chosen
    for candidate in candidates:
        with suppress(OSError):
            rtp = _bind(host, candidate)
            found = rtp.getsockname()[1]
            if found % 2 or not (port or share.has(found)):
                rtp.close()
                continue
            try:
                return PortPair(rtp, _bind(host, found + 1))
            except OSError:
                rtp.close()
    raise Unavailable(f"ports: expected a free pair, got none{f' at {port}' if port else ''}")


def _bind(host: str, port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        bound.setblocking(False)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        bound.bind((host, port))
    except BaseException:
        bound.close()
        raise
    return bound
