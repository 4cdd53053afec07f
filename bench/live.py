"""Voice of many streams that is protected as it is sent, so that calls may last as long as one likes: AES_CM_128_HMAC_SHA1_80.

Each second's packets are made during the second before, a few streams at a time, between the moments at which packets are due.
A packet's payload is its stream's own 160 bytes with the packet's number in the first four, so that what is opened can be told
from any other packet. That the packets are SRTP is checked against libsrtp when a traffic is made.
"""

import os
import socket
import struct
from typing import Any

import numpy as np
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from pylibsrtp import Policy, Session

from bench.traffic import PAYLOAD_BYTES, PROFILES, Datagrams
from callseal.rtp.srtp_kdf import derive_session, find_suite

SUITE = "AES_CM_128_HMAC_SHA1_80"
TICKS = 50
"""Packets of a stream in a second."""
HEAD_BYTES, TAG_BYTES = 12, 10
PACKET_BYTES = HEAD_BYTES + PAYLOAD_BYTES + TAG_BYTES
_SEALED = HEAD_BYTES + PAYLOAD_BYTES
_BLOCKS = PAYLOAD_BYTES // 16


class Stream:
    """One stream's keys and how far it has come."""

    def __init__(self) -> None:
        self.key = os.urandom(30)
        self.ssrc = int.from_bytes(os.urandom(4))
        self.first = int.from_bytes(os.urandom(2)) >> 1
        self.voice = np.frombuffer(os.urandom(PAYLOAD_BYTES), np.uint8)
        self.made = 0
        keys = derive_session(find_suite(SUITE), self.key)
        self._hmac = hmac.HMAC(keys.auth, hashes.SHA1())
        self._ecb = Cipher(AES(keys.cipher), ECB()).encryptor()
        salt = int.from_bytes(keys.salt + b"\0\0") ^ self.ssrc << 64
        self._high, self._low = np.uint64(salt >> 64), np.uint64(salt & (1 << 64) - 1)

    def plain(self, numbers: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """The payloads of these packets."""
        rows = np.tile(self.voice, (len(numbers), 1))
        rows[:, :4] = numbers.astype(">u4").view(np.uint8).reshape(-1, 4)
        return rows

    def second(self) -> np.ndarray[Any, Any]:
        """The next second's packets, one a row."""
        numbers = self.made + np.arange(TICKS)
        self.made += TICKS
        index = (self.first + numbers).astype(np.uint64)
        rows = np.empty((TICKS, PACKET_BYTES), np.uint8)
        rows[:, 0], rows[:, 1] = 0x80, 8
        rows[:, 2:4] = index.astype(">u2").view(np.uint8).reshape(-1, 2)
        rows[:, 4:8] = (numbers * PAYLOAD_BYTES).astype(">u4").view(np.uint8).reshape(-1, 4)
        rows[:, 8:12] = np.frombuffer(self.ssrc.to_bytes(4), np.uint8)
        counters = np.empty((TICKS, _BLOCKS, 2), ">u8")
        counters[:, :, 0] = self._high
        counters[:, :, 1] = (self._low ^ index << np.uint64(16))[:, None] ^ np.arange(_BLOCKS, dtype=np.uint64)
        stream = np.frombuffer(self._ecb.update(counters.tobytes()), np.uint8).reshape(TICKS, PAYLOAD_BYTES)
        rows[:, HEAD_BYTES:_SEALED] = self.plain(numbers) ^ stream
        rows[:, _SEALED : _SEALED + 4] = (index >> np.uint64(16)).astype(">u4").view(np.uint8).reshape(-1, 4)
        macs = []
        for row in rows[:, : _SEALED + 4].copy().view(f"V{_SEALED + 4}")[:, 0].tolist():
            mac = self._hmac.copy()
            mac.update(row)
            macs.append(mac.finalize()[:TAG_BYTES])
        rows[:, _SEALED:] = np.frombuffer(b"".join(macs), np.uint8).reshape(TICKS, TAG_BYTES)
        return rows


def check_against_libsrtp() -> None:
    """A stream's packets are those that libsrtp makes of the same keys. Raises AssertionError."""
    stream = Stream()
    session = Session(Policy(stream.key, Policy.SSRC_ANY_OUTBOUND, 0, PROFILES[SUITE][0]))
    plain = stream.plain(np.arange(TICKS))
    for number, packet in enumerate(stream.second()):
        head = struct.pack(">BBHII", 0x80, 8, (stream.first + number) & 0xFFFF, number * PAYLOAD_BYTES, stream.ssrc)
        assert session.protect(head + plain[number].tobytes()) == packet.tobytes(), "expected what libsrtp makes"


class LiveVoice:
    """All streams: this second's packets, ready to be sent, and the next second's, which are being made."""

    def __init__(self, count: int) -> None:
        check_against_libsrtp()
        self.streams = [Stream() for _ in range(count)]
        self._seconds = np.zeros((2, TICKS, count, PACKET_BYTES), np.uint8)
        self._datagrams = Datagrams(count, PACKET_BYTES)
        self._sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sink.bind(("127.0.0.1", 0))
        for number in range(count):
            self.lead(number, None)

    def lead(self, number: int, port: int | None) -> None:
        """Where a stream's packets go from now on; None: to a socket that nobody reads."""
        self._datagrams.lead(number, self._sink.getsockname()[1] if port is None else port)

    def make(self, half: int, begin: int, end: int) -> None:
        """The next second's packets of these streams."""
        for number in range(begin, end):
            self._seconds[half, :, number] = self.streams[number].second()

    def send(self, half: int, tick: int, begin: int, end: int) -> None:
        """One packet of each of these streams."""
        self._datagrams.send(self._seconds[half, tick], begin, end)

    def close(self) -> None:
        """Close both sockets."""
        self._datagrams.close()
        self._sink.close()
