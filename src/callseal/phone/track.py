"""One stream of a call: numbers its packets, protects them with libsrtp, and sends them from a socket of its own.

RFC 3550 section 5.1 (header), RFC 3711 and RFC 7714 by `pylibsrtp`, RFC 4733 (telephone-events).
Invariants: nothing leaves before `start` has been given the answered key; the first sequence number lies below 2^15 (RFC 3711
section 3.3.1); time on the wire follows the count of packets, never the clock, so a late wake does not drift.
"""

import os
import socket
import struct
import time
from array import array
from collections.abc import Sequence

from pylibsrtp import Policy, Session

from callseal.errors import RequestError, Unavailable
from callseal.phone.codec import EVENT_PAYLOAD_TYPE, Codec
from callseal.phone.sdp import AnsweredMedia, Crypto

PROFILES = {
    "AEAD_AES_256_GCM": Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
    "AEAD_AES_128_GCM": Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    "AES_CM_128_HMAC_SHA1_80": Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
}
TONES = "0123456789*#ABCD"
_HEADER = struct.Struct(">BBHII")
_MARKER = 0x80
_EVENT_PACKETS = 8
"""One keypad tone lasts eight packets (160 ms), the last three with the end bit."""


def make_session(crypto: Crypto) -> Session:
    """A libsrtp session that protects under one SDES key."""
    return Session(Policy(key=crypto.key, ssrc_type=Policy.SSRC_ANY_OUTBOUND, srtp_profile=PROFILES[crypto.suite]))


def write_packet(payload_type: int, sequence: int, timestamp: int, ssrc: int, payload: bytes) -> bytes:
    """One RTP packet, not protected; `payload_type` may carry the marker bit (0x80)."""
    return _HEADER.pack(0x80, payload_type, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc) + payload


class Track:
    """One sendonly stream. `payloads` repeat from the start when they run out."""

    def __init__(self, label: str, codec: Codec, payloads: Sequence[bytes], host: str) -> None:
        if not payloads:
            raise RequestError("speech: expected at least 20 ms, got none")
        self.label = label
        self.codec = codec
        self.payloads = payloads
        self.sent = 0
        self.refused = 0
        self.sent_at = array("d")
        """When each packet left, in seconds since the epoch, by its number."""
        self.ssrc = int.from_bytes(os.urandom(4))
        self.first_sequence = int.from_bytes(os.urandom(2)) & 0x7FFF
        self.first_timestamp = int.from_bytes(os.urandom(4))
        self.session: Session | None = None
        self.remote: tuple[str, int] | None = None
        self._events: dict[int, bytes] = {}
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind((host, 0))

    @property
    def port(self) -> int:
        """The port that the offer names."""
        return int(self.socket.getsockname()[1])

    def start(self, answer: AnsweredMedia) -> None:
        """Send to the answered address under the key that the answer chose. Raises Unavailable where there is no way to it."""
        try:
            self.socket.connect((answer.host, answer.port))
        except OSError as error:
            raise Unavailable(f"voice: no way to the recorder's port {answer.port}: {error.strerror}") from error
        self.remote = (answer.host, answer.port)
        self.session = make_session(answer.crypto)

    def dial(self, digits: str, at_packet: int) -> None:
        """Send keypad tones as telephone-events in place of speech, from a packet number on. Raises RequestError."""
        for index, digit in enumerate(digits):
            if digit not in TONES:
                raise RequestError(f"tones: expected characters of {TONES}")
            first = at_packet + index * 2 * _EVENT_PACKETS
            for step in range(_EVENT_PACKETS):
                end = 0x80 if step >= _EVENT_PACKETS - 3 else 0
                duration = min(step + 1, _EVENT_PACKETS - 2) * self.codec.timestamp_step
                self._events[first + step] = struct.pack(">BBHI", TONES.index(digit), end | 10, duration, step)

    def next_packet(self) -> bytes:
        """The next packet, not yet protected; numbers move on."""
        number = self.sent
        self.sent += 1
        sequence, timestamp = self.first_sequence + number, self.first_timestamp + number * self.codec.timestamp_step
        if (event := self._events.pop(number, None)) is not None:
            step = int.from_bytes(event[4:])
            start = timestamp - step * self.codec.timestamp_step
            return write_packet(EVENT_PAYLOAD_TYPE | (0 if step else _MARKER), sequence, start, self.ssrc, event[:4])
        marker = 0 if number else _MARKER
        payload = self.payloads[number % len(self.payloads)]
        return write_packet(self.codec.payload_type | marker, sequence, timestamp, self.ssrc, payload)

    def send_next(self) -> None:
        """Protect and send the next packet. One that the system refuses (nobody listens, no room) is counted, not repeated."""
        assert self.session is not None, "a track sends only after the answer"
        packet = self.session.protect(self.next_packet())
        self.sent_at.append(time.time())
        self.send_raw(packet)

    def send_raw(self, packet: bytes) -> None:
        """Send bytes as they are to the answered port."""
        try:
            self.socket.send(packet)
        except (BlockingIOError, ConnectionRefusedError):
            self.refused += 1

    def close(self) -> None:
        """Give the port back."""
        self.socket.close()
