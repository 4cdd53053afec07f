"""A second implementation: libsrtp and our batches accept the same packets, with the same payloads, however they are mangled.

Lateness stays within libsrtp's window of 128; ours is wider, and counts from the beginning of a batch.
"""

import random
import struct

import pytest
from pylibsrtp import Error, Policy, Session

from callseal.rtp.srtp import SrtpReceiver
from tests.media_rig import PROFILES, draw_key
from tests.rtp_batch import payloads_of, unprotect

PACKETS = 34_000
"""For each suite; 102,000 together."""


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


def _arrivals(chance: random.Random, suite: str, key: bytes) -> list[bytes]:
    """Protected packets as a bad network brings them: lost, doubled, late by up to 90, mangled; the sequence wraps; two SSRCs."""
    sessions = [Session(Policy(key, Policy.SSRC_ANY_OUTBOUND, 0, PROFILES[suite])) for _ in range(2)]
    ssrcs, firsts = [chance.getrandbits(32) for _ in range(2)], [chance.randrange(0x4000), 0x7000]
    numbers = [0, 0]
    timed: list[tuple[float, bytes]] = []
    for at in range(PACKETS):
        who = 0 if chance.random() < 0.97 else 1
        packet = sessions[who].protect(_packet(chance, numbers[who], firsts[who], ssrcs[who]))
        numbers[who] += 1 if chance.random() < 0.999 else chance.randrange(2, 30)
        if chance.random() < 0.02:
            continue
        timed.append((at + (chance.random() * 90 if chance.random() < 0.05 else 0), packet))
        if chance.random() < 0.05:
            timed.append((at + chance.random() * 200, packet))
        if chance.random() < 0.1:
            timed.append((at + chance.random(), _mangle(chance, packet)))
    return [packet for _time, packet in sorted(timed, key=lambda pair: pair[0])]


@pytest.mark.parametrize("suite", sorted(PROFILES))
def test_the_same_packets_are_accepted_with_the_same_payloads(suite: str) -> None:
    chance = random.Random(f"callseal {suite}")
    key = draw_key(suite)
    arrivals = _arrivals(chance, suite, key)
    assert len(arrivals) > PACKETS
    theirs_session = Session(Policy(key, Policy.SSRC_ANY_INBOUND, 0, PROFILES[suite]))
    receiver = SrtpReceiver(4)
    receiver.add_stream(2, suite, key)
    accepted = 0
    while arrivals:
        batch = [arrivals.pop(0) for _ in range(min(len(arrivals), chance.choice((1, 5, 50, 400))))]
        theirs = []
        for packet in batch:
            try:
                theirs.append(theirs_session.unprotect(packet) if len(packet) >= 12 else b"")
            except Error:
                continue
        frames = unprotect(receiver, batch, stream=2)
        ours = payloads_of(frames)
        assert sorted(ours) == sorted(_payload(packet) for packet in theirs if packet)
        accepted += len(ours)
    assert accepted == int(receiver.packets[2]) > PACKETS * 0.9
    assert receiver.failed[2] > 1000
    assert receiver.replayed[2] > 1000


def _payload(packet: bytes) -> bytes:
    start = 12 + 4 * (packet[0] & 0x0F)
    if packet[0] & 0x10:
        start += 4 + 4 * int.from_bytes(packet[start + 2 : start + 4])
    return packet[start:]
