"""The phone's own SDP: writes a SIPREC offer, reads the recorder's answer.

RFC 4566, RFC 3264, RFC 4568 (SDES keys), RFC 7714 section 14 (GCM keys in SDES), RFC 7866 section 7.1 (sendonly, label).
Invariants: every audio line is `RTP/SAVP` and carries fresh keys; an answer that does not take one of them is refused.
"""

import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass

from callseal.errors import NotAcceptable, PeerError, RequestError
from callseal.phone.codec import EVENT_PAYLOAD_TYPE, FRAME_MS, Codec

SUITES: dict[str, int] = {"AEAD_AES_256_GCM": 44, "AEAD_AES_128_GCM": 28, "AES_CM_128_HMAC_SHA1_80": 30}
"""Each SRTP suite that the phone offers, best first, with the length of its master key and salt in bytes."""

MAX_MEDIA = 16


@dataclass(frozen=True)
class Crypto:
    """One `a=crypto` line; `key` is master key then salt."""

    tag: int
    suite: str
    key: bytes

    def __repr__(self) -> str:
        return f"Crypto(tag={self.tag}, suite={self.suite!r})"


@dataclass(frozen=True)
class Media:
    """One audio line to offer: where the phone's socket is bound, and what may be heard there."""

    label: str
    port: int
    cryptos: tuple[Crypto, ...]


@dataclass(frozen=True)
class AnsweredMedia:
    """What the recorder answered for one line: where to send, and by which of our keys."""

    host: str
    port: int
    label: str
    direction: str
    payload_types: tuple[int, ...]
    crypto: Crypto


def draw_cryptos(suites: Sequence[str]) -> tuple[Crypto, ...]:
    """Fresh random keys, one for each suite, tags from 1. Raises RequestError on a suite the phone does not know."""
    for suite in suites:
        if suite not in SUITES:
            raise RequestError(f"suite: expected one of {', '.join(SUITES)}, got {suite[:40]}")
    return tuple(Crypto(tag, suite, os.urandom(SUITES[suite])) for tag, suite in enumerate(suites, 1))


def write_offer(
    host: str, session: int, version: int, codec: Codec, medias: Sequence[Media], direction: str = "sendonly"
) -> bytes:
    """The offer for all audio lines, from `host`."""
    family = "IP6" if ":" in host else "IP4"
    lines = ["v=0", f"o=callseal-phone {session} {version} IN {family} {host}", "s=-", f"c=IN {family} {host}", "t=0 0"]
    for media in medias:
        lines += [
            f"m=audio {media.port} RTP/SAVP {codec.payload_type} {EVENT_PAYLOAD_TYPE}",
            f"a=rtpmap:{codec.payload_type} {codec.rtpmap}",
            *([f"a=fmtp:{codec.payload_type} {codec.fmtp}"] if codec.fmtp else []),
            f"a=rtpmap:{EVENT_PAYLOAD_TYPE} telephone-event/{codec.clock_hz}",
            f"a=fmtp:{EVENT_PAYLOAD_TYPE} 0-15",
            f"a=ptime:{FRAME_MS}",
            *(f"a=crypto:{c.tag} {c.suite} inline:{base64.b64encode(c.key).decode()}" for c in media.cryptos),
            f"a=label:{media.label}",
            f"a={direction}",
        ]
    return "".join(f"{line}\r\n" for line in lines).encode()


def read_answer(body: bytes, medias: Sequence[Media]) -> list[AnsweredMedia]:
    """Read the answer to an offer of these lines, in their order.

    Raises PeerError where it is malformed or not an answer to this offer, NotAcceptable where a line has no key of ours.
    """
    sections = _sections(body)
    answered = sections[1:]
    if len(answered) != len(medias):
        raise PeerError(f"answer: expected {len(medias)} media lines (RFC 3264 section 6), got {len(answered)}")
    session_host = _connection(sections[0])
    return [_read_media(lines, media, session_host) for lines, media in zip(answered, medias, strict=True)]


def _sections(body: bytes) -> list[list[str]]:
    try:
        lines = body.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise PeerError("answer: expected SDP in UTF-8") from error
    sections: list[list[str]] = [[]]
    for line in lines:
        if line.startswith("m="):
            sections.append([])
        sections[-1].append(line)
    if not sections[0] or sections[0][0] != "v=0":
        raise PeerError("answer: expected SDP that begins with v=0")
    if len(sections) > MAX_MEDIA + 1:
        raise PeerError(f"answer: expected at most {MAX_MEDIA} media lines, got {len(sections) - 1}")
    return sections


def _read_media(lines: list[str], media: Media, session_host: str) -> AnsweredMedia:
    words = lines[0][2:].split()
    if len(words) < 4 or words[0] != "audio" or not words[1].isdecimal() or not all(word.isdecimal() for word in words[3:]):
        raise PeerError("answer: expected m=audio PORT PROTOCOL PAYLOAD-TYPE…")
    if words[2] != "RTP/SAVP":
        raise NotAcceptable(f"answer: expected RTP/SAVP, got {words[2][:20]}; the phone sends no voice in the clear")
    host = _connection(lines) or session_host
    if not host:
        raise PeerError("answer: expected a c= line")
    directions = [line[2:] for line in lines if line in ("a=recvonly", "a=sendrecv", "a=sendonly", "a=inactive")]
    return AnsweredMedia(
        host=host,
        port=int(words[1]),
        label=next((line.removeprefix("a=label:") for line in lines if line.startswith("a=label:")), ""),
        direction=directions[0] if directions else "sendrecv",
        payload_types=tuple(int(word) for word in words[3:]),
        crypto=_chosen(lines, media),
    )


def _chosen(lines: list[str], media: Media) -> Crypto:
    """Our key that the answer took, by tag and suite (RFC 4568 section 5.1.2)."""
    for line in lines:
        if line.startswith("a=crypto:"):
            words = line.removeprefix("a=crypto:").split()
            for crypto in media.cryptos:
                if words[:2] == [str(crypto.tag), crypto.suite]:
                    return crypto
            raise NotAcceptable("answer: expected the tag and suite of one of the offered keys, got others")
    raise NotAcceptable("answer: expected a=crypto, got none; the phone sends no voice in the clear")


def _connection(lines: list[str]) -> str:
    for line in lines:
        if line.startswith("c=IN IP"):
            return line.split()[-1]
    return ""
