"""The sockets of a worker's live streams: an RTP and an RTCP port for each, by stream number.

RFC 3550 section 11. Streams in the clear, by exception, take one source each (`net.clear_source`): once it is known the kernel
lets in no other, and they are read with all others.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from callseal.errors import Unavailable
from callseal.net.clear_source import ClearFrom, ClearSource, open_locked_pair
from callseal.net.udp_batch import Chunk, PortPair, Share, UdpBatch, open_pair


class StreamSockets:
    """`first_port` to `last_port` (0: the system chooses) on `host`, of which a worker takes its share."""

    def __init__(self, host: str, first_port: int, last_port: int, share: Share) -> None:
        self._host, self._share = host, share
        self._ports = range(first_port + first_port % 2, last_port, 2) if first_port else None
        self._udp = UdpBatch()
        self._pairs: dict[int, PortPair] = {}
        self._clear: dict[int, ClearSource] = {}
        self._rtp: dict[int, tuple[int, int]] = {}
        """By stream: descriptor and stream, of those that are read."""
        self._rtcp: dict[int, tuple[int, int]] = {}
        self._read_ns = 0

    def bind(self, number: int, stream: Mapping[str, Any]) -> int:
        """A pair for a stream of a `media.open`; returns its port. Raises Unavailable, RequestError."""
        host, port = str(stream.get("host") or self._host), int(stream.get("port") or 0)
        if stream.get("clear") is None:
            pair = open_pair(host, port, self._ports, self._share)
        else:
            allowed, pair = ClearFrom.read(stream["clear"]), open_locked_pair(host, port, self._ports, self._share)
            try:
                self._clear[number] = ClearSource(pair, allowed)
            except Unavailable:
                pair.close()
                raise
        self._pairs[number] = pair
        return pair.port

    def port(self, number: int) -> int:
        """The RTP port of a stream."""
        return self._pairs[number].port

    def close(self, number: int) -> None:
        """Give a stream's ports back; one that has none is left alone."""
        if (pair := self._pairs.pop(number, None)) is not None:
            pair.close()
        for kept in (self._clear, self._rtp, self._rtcp):
            kept.pop(number, None)

    def listen(self, numbers: Iterable[int]) -> None:
        """Read these from now on; of a stream in the clear whose source is not known yet, nothing but that."""
        for number in numbers:
            self._rtcp[number] = self._pairs[number].rtcp.fileno(), number
            if number in self._clear and not self._clear[number].is_latched:
                self._rtp.pop(number, None)
            else:
                self._rtp[number] = self._pairs[number].rtp.fileno(), number

    def let_go(self, number: int, is_clear: bool) -> None:
        """A new offer: a stream in the clear may come from elsewhere in its network, one that got keys from anywhere."""
        if (source := self._clear.get(number)) is not None:
            source.unlatch()
            if not is_clear:
                del self._clear[number]
            self.listen([number])

    def drain(self, numbers: Iterable[int] | None = None) -> Iterator[Chunk]:
        """Everything that waits on the RTP sockets, or on those of some streams. See `UdpBatch.drain`."""
        for number, source in self._clear.items():
            if not source.is_latched and (chunk := source.take(number)) is not None:
                self._read_ns = time.time_ns()
                yield chunk
            if source.is_latched and number not in self._rtp:
                self.listen([number])
        wanted = self._rtp.values() if numbers is None else [self._rtp[number] for number in numbers if number in self._rtp]
        for chunk in self._udp.drain(wanted):
            self._read_ns = time.time_ns()
            yield chunk

    def drain_reports(self) -> Iterator[Chunk]:
        """Everything that waits on the RTCP sockets."""
        return self._udp.drain(self._rtcp.values())

    def take_refused(self) -> list[tuple[int, int]]:
        """By stream in the clear: packets from other sources since this was last asked."""
        refused = [(number, source.refused) for number, source in self._clear.items() if source.refused]
        for number, _count in refused:
            self._clear[number].refused = 0
        return refused

    @property
    def left_some(self) -> bool:
        """Whether the last drain left datagrams of a flooded socket where they were."""
        return self._udp.left_some

    def age_ms(self, number: int) -> int:
        """How long before the newest chunk was read this stream's newest packet in it had come."""
        pair = self._pairs.get(number)
        return 0 if pair is None else pair.age_ms(self._read_ns)
