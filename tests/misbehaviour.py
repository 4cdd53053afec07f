"""What a faulty or hostile phone system does, built from the honest test phone's pieces: one function for each kind of bad input.

The first half makes bodies for `Call.invite(body=…)`; the second half sends bad voice on a track that has been answered.
"""

import os
from collections.abc import Iterator

from callseal.phone.call import Call, write_multipart
from callseal.phone.codec import PACKETS_PER_SECOND
from callseal.phone.metadata import CONTENT_TYPE
from callseal.phone.sdp import Crypto
from callseal.phone.track import Track, make_session, write_packet

Body = tuple[str, bytes]


def plaintext_offer(call: Call) -> Body:
    """The call's own offer with the voice in the clear: RTP/AVP and no keys."""
    lines = [line for line in call.offer().split(b"\r\n") if not line.startswith(b"a=crypto:")]
    return call.body(b"\r\n".join(lines).replace(b"RTP/SAVP", b"RTP/AVP"))


def keyless_offer(call: Call) -> Body:
    """RTP/SAVP without a key: encryption promised and not given."""
    return call.body(b"\r\n".join(line for line in call.offer().split(b"\r\n") if not line.startswith(b"a=crypto:")))


def weak_offer(call: Call) -> Body:
    """Only the 32-bit tag and NULL ciphers."""
    weak = call.offer()
    for suite, worse in (("AEAD_AES_256_GCM", "NULL"), ("AEAD_AES_128_GCM", "AES_CM_128_HMAC_SHA1_32")):
        weak = weak.replace(suite.encode(), worse.encode())
    return call.body(weak.replace(b"AES_CM_128_HMAC_SHA1_80", b"AES_CM_128_NULL_AUTH"))


def malformed_offers(call: Call) -> Iterator[tuple[str, Body]]:
    """SDP that cannot be read, each named by what is wrong."""
    offer = call.offer()
    yield "not sdp", call.body(b"\x00\xff" * 40)
    yield "port out of range", call.body(offer.replace(b"m=audio ", b"m=audio 9"))
    yield "port is a word", call.body(offer.replace(b"m=audio ", b"m=audio x"))
    yield "media line cut", call.body(offer[: offer.index(b"RTP/SAVP")] + b"\r\n")


def oversized_body(call: Call, size: int) -> Body:
    """An offer followed by padding up to `size` bytes."""
    offer = call.offer()
    return "application/sdp", offer + b"a=x-padding:" + b"x" * max(size - len(offer) - 14, 0) + b"\r\n"


def metadata_not_xml(call: Call, metadata: bytes = b"<recording><naSRCme>A</name>") -> Body:
    """A good offer with metadata that no XML parser takes."""
    return write_multipart([("application/sdp", (), call.offer()), (CONTENT_TYPE, (), metadata)])


def send_clear(track: Track, count: int = PACKETS_PER_SECOND) -> None:
    """Voice in the clear to the answered port."""
    for _ in range(count):
        track.send_raw(track.next_packet())


def send_under_another_key(track: Track, suite: str, count: int = PACKETS_PER_SECOND) -> None:
    """Voice protected under a key that was never offered, or not yet: what an early packet of a re-keying looks like."""
    size = {"AEAD_AES_256_GCM": 44, "AEAD_AES_128_GCM": 28, "AES_CM_128_HMAC_SHA1_80": 30}[suite]
    session = make_session(Crypto(1, suite, os.urandom(size)))
    for _ in range(count):
        track.send_raw(session.protect(track.next_packet()))


def send_forged(track: Track, count: int = PACKETS_PER_SECOND) -> None:
    """Rightly protected packets, each with one bit of its tag changed."""
    assert track.session is not None
    for _ in range(count):
        packet = bytearray(track.session.protect(track.next_packet()))
        packet[-1] ^= 1
        track.send_raw(bytes(packet))


def send_replayed(track: Track, times: int = PACKETS_PER_SECOND) -> None:
    """One good packet, and the same again so many times."""
    assert track.session is not None
    packet = track.session.protect(track.next_packet())
    for _ in range(times + 1):
        track.send_raw(packet)


def send_noise(track: Track, count: int = PACKETS_PER_SECOND) -> None:
    """What is not RTP at all: nothing, short, random, too long."""
    for size in (0, 1, 11, 12, 200, 1400)[:count]:
        track.send_raw(os.urandom(size))
    track.send_raw(write_packet(127, 0, 0, 0, b"")[:8])
