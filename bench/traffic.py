"""Ready-made traffic: packets that libsrtp protected beforehand, sent by the clock from the other core."""

import os
import socket
import struct
import time
from dataclasses import dataclass

from pylibsrtp import Policy, Session

PROFILES = {
    "AEAD_AES_256_GCM": (Policy.SRTP_PROFILE_AEAD_AES_256_GCM, 44),
    "AEAD_AES_128_GCM": (Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 28),
    "AES_CM_128_HMAC_SHA1_80": (Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 30),
}
FRAME_SECONDS = 0.02
WARM_UP_TICKS = 50


@dataclass
class Stream:
    """One stream's key and its packets, G.711 of 20 ms."""

    key: bytes
    packets: list[bytes]


def make_stream(suite: str, ticks: int) -> Stream:
    """A stream of `ticks` packets under a fresh key."""
    profile, length = PROFILES[suite]
    key, ssrc = os.urandom(length), os.urandom(4)
    session = Session(Policy(key, Policy.SSRC_ANY_OUTBOUND, 0, profile))
    payload = os.urandom(160)
    packets = [session.protect(struct.pack(">BBHI", 0x80, 8, n, n * 160) + ssrc + payload) for n in range(ticks)]
    return Stream(key, packets)


def send(streams: list[Stream], ports: list[int], first: int, last: int) -> float:
    """Send packets first..last-1 of every stream, spread over each 20 ms; returns how late the latest tick was, in seconds."""
    late = 0.0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        targets = [(stream.packets, ("127.0.0.1", port)) for stream, port in zip(streams, ports, strict=True)]
        began = time.monotonic()
        for tick in range(first, last):
            due = began + (tick - first) * FRAME_SECONDS
            wait = due - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            late = max(late, -wait)
            for packets, target in targets:
                sender.sendto(packets[tick], target)
    return late
