"""A second implementation: libsrtp and our batches are shown the same packets, and must take the same with the same payloads.

A bad network brings them: lost, doubled, late by up to 90, mangled in five ways; sequences wrap; two SSRCs; reports between them.
Lateness stays within libsrtp's window of 128; ours is wider, and counts from the beginning of a batch.
"""

import random
import struct
from collections import Counter
from collections.abc import Iterator

from pylibsrtp import Error, Policy, Session

from callseal.errors import TamperedError
from callseal.rtp.srtcp import SrtcpReceiver
from callseal.rtp.srtp import SrtpReceiver
from callseal.rtp.srtp_crypto import Engine
from tests.media_rig import PROFILES, draw_key
from tests.rtp_batch import payloads_of, unprotect

SUITES = sorted(PROFILES)
CHUNK = 4096
REPORT_SHARE = 0.02
LEAST_BETWEEN_LEAPS = 200
"""Packets: two leaps of up to 29 while one packet is on its way would take it out of libsrtp's window, and leave it in ours."""


def _packet(chance: random.Random, number: int, first: int, ssrc: int) -> bytes:
    csrcs = chance.choice((0, 0, 0, 0, 2))
    extension = b""
    if chance.random() < 0.1:
        words = chance.randrange(4)
        extension = struct.pack(">HH", 0xBEDE, words) + chance.randbytes(4 * words)
    head = 0x80 | csrcs | (0x10 if extension else 0)
    size = chance.choice((160, 160, 160, 20, 10, 1, 0, 333, 1200))
    sequence = (first + number) & 0xFFFF
    header = struct.pack(">BBHII", head, 8, sequence, number * 160 & 0xFFFFFFFF, ssrc) + chance.randbytes(4 * csrcs)
    return header + extension + chance.randbytes(size)


def _mangle(chance: random.Random, packet: bytes) -> bytes:
    kind = chance.randrange(5)
    if kind == 0:
        changed = bytearray(packet)
        changed[chance.randrange(len(packet))] ^= 1 << chance.randrange(8)
        return bytes(changed)
    if kind == 1:
        return packet[: chance.randrange(len(packet))]
    if kind == 2:
        return packet + chance.randbytes(chance.randrange(1, 20))
    if kind == 3:
        return chance.randbytes(chance.randrange(60))
    return packet[:2] + struct.pack(">H", chance.randrange(65536)) + packet[4:]


class Network:
    """Two sources under one key, and what the network makes of their packets; in chunks, so that a million fit."""

    def __init__(self, chance: random.Random, suite: str, key: bytes) -> None:
        self._chance = chance
        self._sessions = [_session(suite, key, Policy.SSRC_ANY_OUTBOUND) for _ in range(2)]
        self._ssrcs, self._firsts = [chance.getrandbits(32) for _ in range(2)], [chance.randrange(0x4000), 0x7000]
        self.numbers = [0, 0]
        self._leapt = 0
        self._timed: list[tuple[float, int, bytes]] = []
        self.counts: Counter[str] = Counter()

    def arrivals(self, packets: int) -> Iterator[bytes]:
        """Protected packets in the order of their arrival."""
        chance = self._chance
        for at in range(packets):
            who = 0 if chance.random() < 0.97 else 1
            packet = self._sessions[who].protect(_packet(chance, self.numbers[who], self._firsts[who], self._ssrcs[who]))
            if chance.random() < 0.999 or at - self._leapt < LEAST_BETWEEN_LEAPS:
                self.numbers[who] += 1
            else:
                self.numbers[who] += chance.randrange(2, 30)
                self._leapt = at
            self.counts["packets"] += 1
            if chance.random() >= 0.02:
                self._send(at + (chance.random() * 90 if chance.random() < 0.05 else 0), packet)
                if chance.random() < 0.05:
                    self._send(at + chance.random() * 200, packet, "doubled")
                if chance.random() < 0.1:
                    self._send(at + chance.random(), _mangle(chance, packet), "mangled")
            if at % CHUNK == CHUNK - 1 or at == packets - 1:
                self._timed.sort()
                due = at - 300 if at < packets - 1 else at + 1000
                while self._timed and self._timed[0][0] <= due:
                    ripe = [entry for entry in self._timed if entry[0] <= due]
                    self._timed = self._timed[len(ripe) :]
                    yield from (packet for _, _, packet in ripe)

    def report(self) -> bytes:
        """One protected SRTCP report."""
        body = struct.pack(">BBHI", 0x80, 200, 6, self._ssrcs[0]) + self._chance.randbytes(20)
        report: bytes = self._sessions[0].protect_rtcp(body)
        return report

    def _send(self, at: float, packet: bytes, kind: str = "") -> None:
        self._timed.append((at, len(self._timed), packet))
        if kind:
            self.counts[kind] += 1


def compare(suite: str, packets: int, seed: str, engine: Engine | None = None) -> Counter[str]:
    """Counts over so many packets; `disagreements` is what matters."""
    chance = random.Random(seed)
    key = draw_key(suite)
    network = Network(chance, suite, key)
    theirs = _session(suite, key, Policy.SSRC_ANY_INBOUND)
    receiver = SrtpReceiver(4, engine)
    receiver.add_stream(2, suite, key)
    reports = SrtcpReceiver(suite, key)
    counts: Counter[str] = Counter()
    batch: list[bytes] = []
    size = 1
    for packet in network.arrivals(packets):
        batch.append(packet)
        if len(batch) < size:
            continue
        _compare_batch(theirs, receiver, batch, counts)
        batch, size = [], chance.choice((1, 5, 50, 400))
        if chance.random() < REPORT_SHARE * size:
            _compare_report(theirs, reports, network.report(), chance, counts)
    _compare_batch(theirs, receiver, batch, counts)
    counts["failed"], counts["replayed"] = int(receiver.failed[2]), int(receiver.replayed[2])
    counts["rollovers"] = network.numbers[0] >> 16
    return counts + network.counts


def _compare_batch(theirs: Session, receiver: SrtpReceiver, batch: list[bytes], counts: Counter[str]) -> None:
    taken = []
    for packet in batch:
        try:
            taken.append(theirs.unprotect(packet) if len(packet) >= 12 else b"")
        except Error:
            continue
    ours = payloads_of(unprotect(receiver, batch, stream=2)) if batch else []
    counts["arrived"] += len(batch)
    counts["accepted"] += len(ours)
    counts["disagreements"] += sorted(ours) != sorted(_payload(packet) for packet in taken if packet)


def _compare_report(theirs: Session, reports: SrtcpReceiver, report: bytes, chance: random.Random, counts: Counter[str]) -> None:
    """A mangled report, the true one, and it once more."""
    for packet in (_mangle(chance, report), report, report):
        try:
            expected = theirs.unprotect_rtcp(packet)
        except Error:
            expected = b""
        try:
            ours = reports.unprotect(packet)
        except TamperedError:
            ours = b""
        counts["reports"] += 1
        counts["disagreements"] += ours != expected


def _session(suite: str, key: bytes, direction: int) -> Session:
    return Session(Policy(key, direction, 0, PROFILES[suite]))


def _payload(packet: bytes) -> bytes:
    start = 12 + 4 * (packet[0] & 0x0F)
    if packet[0] & 0x10:
        start += 4 + 4 * int.from_bytes(packet[start + 2 : start + 4])
    return packet[start:]
