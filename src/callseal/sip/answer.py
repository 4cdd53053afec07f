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


def plan_offer(lines: int = 1) -> Plan:
    """Our own offer, where the INVITE had none (RFC 3264 section 5): `lines` voice lines, every suite we take, answered in ACK.

    Until then a stream has a key that nobody knows, so that nothing passes.
    """
    formats = (*(str(codec.pt) for codec in LATE_CODECS), str(LATE_EVENT_PT))
    media = MediaDescription("audio", 9, "RTP/SAVP", formats, "", "sendonly", None, LATE_CODECS, (LATE_EVENT_PT,), ())
    offered = tuple(
        tuple(CryptoAttribute(tag, suite, draw_key(suite)) for tag, suite in enumerate(SUITES, 1)) for _ in range(lines)
    )
    first = next(iter(SUITES))
    streams = tuple(Stream(line, str(line), first, 1, draw_key(first), LATE_CODECS, (LATE_EVENT_PT,)) for line in range(lines))
    return Plan((media,) * lines, streams, {}, offered)


def plan_from_late_answer(plan: Plan, answer: SessionDescription) -> Plan:
    """The plan once the ACK has answered our offer. Raises NotAcceptable where it takes no key that we offered.

    Lines that the answer leaves out, or that we did not offer, carry nothing.
    """
    planned = plan_answer(replace(answer, media=answer.media[: len(plan.media)]), plan)
    own_keys: dict[int, bytes] = {}
    for stream in planned.streams:
        media = planned.media[stream.line] if stream.line < len(planned.media) else None
        if media is None or media.kind != "audio" or not media.port:
            continue
        for ours in plan.offered[stream.line]:
            if (ours.tag, ours.suite) == (stream.tag, stream.suite):
                own_keys[stream.line] = ours.key
    if not own_keys:
        raise NotAcceptable("answer: expected a suite with the tag that was offered")
    missing = [stream.line + 1 for stream in planned.streams if not stream.paused and stream.line not in own_keys]
    if missing:
        raise NotAcceptable(f"m-line {missing[0]}: expected a suite with the tag that was offered")
    return replace(planned, own_keys=own_keys)
