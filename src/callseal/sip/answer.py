"""What a recording server answers to an offer: every m-line, labels echoed, recvonly, SRTP or nothing.

RFC 3264 section 6, RFC 7866 section 7.1.2, RFC 4568 section 5.1.2. Invariants: an audio line without SRTP that we take refuses
the whole offer (NotAcceptable), before anything is changed; a stream, once it has a place, keeps it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from callseal.config.peers import ClearRtp
from callseal.errors import NotAcceptable
from callseal.model.message import to_text
from callseal.sip.crypto_attribute import SUITES, CryptoAttribute, choose_crypto, draw_key, write_crypto
from callseal.sip.sdp import Codec, MediaDescription, SessionDescription

SECURE = ("RTP/SAVP", "RTP/SAVPF")
PLAIN = ("RTP/AVP", "RTP/AVPF")
LATE_CODECS = (Codec(8, "PCMA", 8000, 1), Codec(0, "PCMU", 8000, 1), Codec(9, "G722", 8000, 1), Codec(18, "G729", 8000, 1))
LATE_EVENT_PT = 101
_PROTOCOL = re.compile(r"[A-Z/]{1,40}")


@dataclass(frozen=True)
class Stream:
    """One voice stream as media needs it. `line` is its m-line; `key` is the peer's master key and salt."""

    line: int
    label: str
    suite: str
    tag: int
    key: bytes = field(repr=False)
    codecs: tuple[Codec, ...] = ()
    event_pts: tuple[int, ...] = ()
    paused: bool = False
    mki_bytes: int = 0
    clear: ClearRtp | None = None
    """The exception under which it has no key at all: `suite` and `key` are empty."""

    def as_message(self, host: str, party: str, port: int | None = None) -> dict[str, Any]:
        """`Stream` of docs/architecture.md; `port` only to take a place again after a restart."""
        message = {
            "label": self.label,
            "suite": self.suite,
            "key": to_text(self.key),
            "tag": self.tag,
            "mki_bytes": self.mki_bytes,
            "codecs": [vars(codec) for codec in self.codecs],
            "event_pts": list(self.event_pts),
            "party": party,
            "host": host,
            "paused": self.paused,
        }
        if self.clear is not None:
            message["clear"] = {"network": str(self.clear.network), "interface": self.clear.interface}
        return message if port is None else {**message, "port": port}


@dataclass(frozen=True)
class Plan:
    """The answer to an offer: its m-lines, the streams in their order, our own keys by m-line.

    Where the offer was ours, `offered` are its keys by m-line.
    """

    media: tuple[MediaDescription, ...]
    streams: tuple[Stream, ...]
    own_keys: dict[int, bytes] = field(repr=False)
    offered: tuple[tuple[CryptoAttribute, ...], ...] = ()

    def stream_of(self, line: int) -> int | None:
        """The place of an m-line's stream; None where the line carries none."""
        return next((at for at, stream in enumerate(self.streams) if stream.line == line), None)


def plan_answer(offer: SessionDescription, before: Plan | None = None, *, clear: ClearRtp | None = None) -> Plan:
    """Decide the answer to an offer, the first or a later one; `clear` is a live exception. Raises NotAcceptable with the why."""
    known = {stream.line: stream for stream in before.streams} if before else {}
    own_keys = dict(before.own_keys) if before else {}
    streams: dict[int, Stream] = {line: replace(stream, paused=True) for line, stream in known.items()}
    for line, media in enumerate(offer.media):
        if media.kind != "audio" or media.port == 0:
            continue
        old = known.get(line)
        label = media.label if media.label is not None else str(line)
        if _is_clear(media, line, old, clear):
            streams[line] = Stream(
                line, label, "", 0, b"", media.codecs, media.event_pts, media.is_silent, clear=old.clear if old else clear
            )
            continue
        crypto = _choose(media, line)
        if old is None or old.key != crypto.key or old.suite != crypto.suite:
            own_keys[line] = draw_key(crypto.suite)
        streams[line] = Stream(
            line, label, crypto.suite, crypto.tag, crypto.key, media.codecs, media.event_pts, media.is_silent, crypto.mki_bytes
        )
    if not streams:
        raise NotAcceptable("SDP: expected an audio line with a port")
    order = [*known, *(line for line in streams if line not in known)]
    return Plan(offer.media, tuple(streams[line] for line in order), own_keys)


def _is_clear(media: MediaDescription, line: int, old: Stream | None, clear: ClearRtp | None) -> bool:
    """Whether a line may go without SRTP: by a live exception, and only a line that never had it. Raises NotAcceptable."""
    if clear is None or media.protocol not in PLAIN:
        return False
    if old is not None and old.clear is None:
        raise NotAcceptable(f"m-line {line + 1}: expected the SRTP that it had, got {_show(media.protocol)}")
    return True


def _show(protocol: str) -> str:
    """A protocol as an event may carry it."""
    return protocol if _PROTOCOL.fullmatch(protocol) else "another"


def _choose(media: MediaDescription, line: int) -> CryptoAttribute:
    if media.protocol not in SECURE:
        raise NotAcceptable(f"m-line {line + 1}: expected RTP/SAVP with a=crypto, got {_show(media.protocol)}")
    try:
        return choose_crypto(media.cryptos)
    except NotAcceptable as error:
        raise NotAcceptable(f"m-line {line + 1}: {error}") from error


def write_answer(plan: Plan, ports: Sequence[int], address: str, session: int, version: int) -> bytes:
    """The answer's SDP; `ports` stand in the order of the plan's streams, 0 where media gave none."""
    family = "IP6" if ":" in address else "IP4"
    lines = ["v=0", f"o=callseal {session} {version} IN {family} {address}", "s=-", f"c=IN {family} {address}", "t=0 0"]
    for line, media in enumerate(plan.media):
        at = plan.stream_of(line)
        port = ports[at] if at is not None and at < len(ports) and media.port else 0
        formats = " ".join(media.formats) or "0"
        lines.append(f"m={media.kind} {port} {media.protocol} {formats}")
        if media.label is not None:
            lines.append(f"a=label:{media.label}")
        if not port or at is None:
            continue
        stream = plan.streams[at]
        lines += _payload_lines(stream)
        lines += [write_crypto(crypto.tag, crypto.suite, crypto.key) for crypto in _own_cryptos(plan, stream)]
        if media.ptime:
            lines.append(f"a=ptime:{media.ptime}")
        if media.rtcp_mux:
            lines.append("a=rtcp-mux")
        lines.append("a=inactive" if media.direction in ("inactive", "recvonly") else "a=recvonly")
    return "".join(f"{text}\r\n" for text in lines).encode("utf-8", "surrogateescape")


def _own_cryptos(plan: Plan, stream: Stream) -> Sequence[CryptoAttribute]:
    if plan.offered:
        return plan.offered[stream.line]
    return () if stream.clear else (CryptoAttribute(stream.tag, stream.suite, plan.own_keys[stream.line]),)


def _payload_lines(stream: Stream) -> list[str]:
    lines: list[str] = []
    for codec in stream.codecs:
        channels = f"/{codec.channels}" if codec.channels > 1 else ""
        if codec.name != "unknown":
            lines.append(f"a=rtpmap:{codec.pt} {codec.name}/{codec.clock_hz}{channels}")
        if codec.fmtp:
            lines.append(f"a=fmtp:{codec.pt} {codec.fmtp}")
    for pt in stream.event_pts:
        lines += [f"a=rtpmap:{pt} telephone-event/8000", f"a=fmtp:{pt} 0-16"]
    return lines


def plan_offer(lines: int = 1, clear: ClearRtp | None = None) -> Plan:
    """Our own offer, where the INVITE had none (RFC 3264 section 5): `lines` voice lines, every suite we take, answered in ACK.

    Until the answer a stream has a key that nobody knows, so that nothing passes. Under a live exception the keys stand beside
    RTP/AVP (RFC 8643), so that who can encrypt does, and a stream is in the clear until it gets its key.
    """
    formats = (*(str(codec.pt) for codec in LATE_CODECS), str(LATE_EVENT_PT))
    protocol = PLAIN[0] if clear else SECURE[0]
    media = MediaDescription("audio", 9, protocol, formats, "", "sendonly", None, LATE_CODECS, (LATE_EVENT_PT,), ())
    offered = tuple(
        tuple(CryptoAttribute(tag, suite, draw_key(suite)) for tag, suite in enumerate(SUITES, 1)) for _ in range(lines)
    )
    first = next(iter(SUITES))
    unknown = [("", 0, b"") if clear else (first, 1, draw_key(first)) for _ in range(lines)]
    streams = tuple(
        Stream(line, str(line), suite, tag, key, LATE_CODECS, (LATE_EVENT_PT,), clear=clear)
        for line, (suite, tag, key) in enumerate(unknown)
    )
    return Plan((media,) * lines, streams, {}, offered)


def plan_from_late_answer(plan: Plan, answer: SessionDescription, clear: ClearRtp | None = None) -> Plan:
    """The plan once the ACK has answered our offer. Raises NotAcceptable where it takes no key that we offered.

    Lines that the answer leaves out, or that we did not offer, carry nothing; one without a key needs a live exception.
    """
    media = answer.media[: len(plan.media)]
    keyed = tuple(
        replace(line, protocol=SECURE[0]) if line.protocol in PLAIN and line.cryptos and clear else line for line in media
    )
    streams = plan_answer(replace(answer, media=keyed), plan, clear=clear).streams
    own_keys: dict[int, bytes] = {}
    for stream in streams:
        line = media[stream.line] if stream.line < len(media) else None
        if line is None or line.kind != "audio" or not line.port or stream.clear:
            continue
        taken = [ours.key for ours in plan.offered[stream.line] if (ours.tag, ours.suite) == (stream.tag, stream.suite)]
        if not taken:
            raise NotAcceptable(f"m-line {stream.line + 1}: expected a suite with the tag that was offered")
        own_keys[stream.line] = taken[0]
    if not own_keys and not any(stream.clear for stream in streams):
        raise NotAcceptable("answer: expected a suite with the tag that was offered")
    return Plan(media, streams, own_keys)
