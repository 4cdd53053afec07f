"""One test call of a phone system, judged: events in, lines in plain words out. No clock, no disk, no personal data.

1. Refused attempts in this time are explained: no certificate, an unknown one, an offer in the clear, bad requests.
2. The first call that begins is taken: signalling, then each voice stream, metadata, what is odd, and how it ends.
3. Each fault has the setting that cures it, in the vendor's own terms (`config.vendors`).

Invariant: a line is settled once; what has not been seen when the wait ends is said to be so, never taken as good.
"""

from collections import deque
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from callseal.config.peers import Peer
from callseal.model.clock import parse_time
from callseal.sip.crypto_attribute import fault_of
from callseal.sip.oddities import ODDITIES
from callseal.store.events import Event

VOICE_WITHIN = timedelta(seconds=5)
EARLY_LIMIT = 1000
AFTER_END = timedelta(seconds=3)
"""Media tells of the last packets a moment after the call has ended."""
GOOD_SUITES = ("AEAD_AES_256_GCM", "AEAD_AES_128_GCM", "AES_CM_128_HMAC_SHA1_80")
_REFUSED = {
    "no certificate": ("It came without a client certificate.", "certificate"),
    "unknown certificate": ("It showed a certificate that no phone system here has.", "certificate"),
    "expired certificate": ("Its certificate has expired.", "certificate"),
    "certificate not yet valid": ("Its certificate is not valid yet: is one of the clocks wrong?", "certificate"),
    "no secret": ("It came from an allowed address, but without the secret in the Request-URI.", "secret"),
    "TLS version too old": ("It speaks a TLS version older than 1.2.", "certificate"),
    "no cipher in common": ("It offers no TLS cipher suite that we take (ECDHE with AES-GCM or ChaCha20).", "certificate"),
    "not TLS": ("It does not speak TLS: is its transport set to TLS, and its port to ours?", "certificate"),
    "it refused our certificate": ("It does not trust the recorder: give it ca.pem as a trusted authority.", "certificate"),
}

_CHANGES = {
    "paused": "Hold is understood: the timeline goes on as silence.",
    "resumed": "Resume is understood.",
    "rekeyed": "New keys were taken.",
}


class Verdict(StrEnum):
    """How one thing stands."""

    GOOD = "good"
    CARE = "odd, and taken"
    BAD = "wrong"
    WAITS = "not seen"


@dataclass(frozen=True)
class Line:
    """One thing that was looked at; `cure` is the setting that mends it."""

    what: str
    verdict: Verdict
    words: str
    cure: str = ""

    def plain(self) -> dict[str, str]:
        """For JSON."""
        return asdict(self)


@dataclass
class _Stream:
    label: str
    codec: str
    suite: str
    heard_ms: int | None = None
    failed: int = 0


@dataclass
class PeerReport:
    """Events of `sip` and `media` of one stretch of time, about one peer. `since` is in seconds since 1970."""

    peer: Peer
    since: float
    recording: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    end_reason: str = ""
    is_over: bool = False
    _lines: list[Line] = field(default_factory=list)
    _streams: list[_Stream] = field(default_factory=list)
    _odd: list[str] = field(default_factory=list)
    _refused: set[str] = field(default_factory=set)
    _early: deque[Event] = field(default_factory=lambda: deque(maxlen=EARLY_LIMIT))
    """What media told of calls that signalling had not told of yet."""
    _told_voice: bool = False

    @property
    def saw_something(self) -> bool:
        """Whether a call or a refused attempt was seen."""
        return bool(self._lines)

    @property
    def is_good(self) -> bool:
        """Whether there was a call, it has ended as it should, and nothing was wrong with it."""
        return self.is_over and all(line.verdict in (Verdict.GOOD, Verdict.CARE) for line in self._lines)

    def settled(self) -> list[Line]:
        """What can be said so far, in the order in which it was seen."""
        return list(self._lines)

    def take(self, event: Event) -> None:
        """Learn one event."""
        if parse_time(event["at"]).timestamp() < self.since or self.is_over:
            return
        kind, data = event["type"], event["data"]
        if kind == "PeerRefused":
            self._take_stranger(str(data.get("why", "")))
        elif kind in ("OfferRefused", "BadRequest") and data.get("peer") == self.peer.name:
            self._take_refusal(kind, data)
        elif kind == "CallStarted" and data.get("peer") == self.peer.name and self.recording is None:
            self._start(event)
        elif self.recording is None and event["recording"] is not None:
            self._early.append(event)
        elif self.recording is not None and event["recording"] == self.recording:
            self._take_of_call(event)

    def pass_time(self, now: datetime) -> None:
        """What has come due."""
        if self.started_at is None:
            return
        all_heard = all(stream.heard_ms is not None for stream in self._streams)
        if not self._told_voice and (all_heard or now - self.started_at > VOICE_WITHIN):
            self._tell_voice()
        if self.ended_at is not None and now - self.ended_at > AFTER_END:
            self._tell_end()

    def finish(self) -> list[Line]:
        """Everything, with what has not been seen called so."""
        if self.started_at is not None and not self._told_voice:
            self._tell_voice()
        if self.started_at is not None and not self.is_over and self.ended_at is None:
            self._add("bye", Verdict.WAITS, "The call had not ended when the wait was over: hang up, then check with --since.")
        elif self.started_at is not None and not self.is_over:
            self._tell_end()
        return self.settled()

    def _take_stranger(self, why: str) -> None:
        words, fault = _REFUSED.get(why, (f"A connection was refused: {why}.", "certificate"))
        if fault == "secret" and not self.peer.is_cloud:
            # Where a cloud sender may call from the same address, who names nobody is asked for the secret instead.
            words, fault = "It showed no certificate that a phone system here has.", "certificate"
        if why not in self._refused and self.recording is None:
            self._refused.add(why)
            words = f"Refused: {words} (It may also have been somebody else.)"
            self._add("connection", Verdict.BAD, words, self.peer.cure(fault))

    def _take_refusal(self, kind: str, data: dict[str, Any]) -> None:
        status, why = data.get("status"), str(data.get("why", ""))
        if (mark := f"{status} {why}") in self._refused:
            return
        self._refused.add(mark)
        if status == 488:
            fault = fault_of(why)
            words = "offered the call in the clear" if fault == "srtp" else "offered SRTP only with suites that are refused"
            self._add("srtp", Verdict.BAD, f"It {words} and got 488: {why}.", self.peer.cure(fault))
        elif kind == "OfferRefused":
            self._add("call", Verdict.BAD, f"The call got {status}: {why}. That is our own trouble: `callseal doctor`.")
        else:
            self._add("request", Verdict.BAD, f"A request got {status}: {why}.", self.peer.cure("metadata"))

    def _start(self, event: Event) -> None:
        data = event["data"]
        self.recording, self.started_at = event["recording"], parse_time(event["at"])
        version, _, cipher = str(data.get("transport", "")).partition(" ")
        self._add("tls", Verdict.GOOD, f"Signalling over {version.replace('TLSv', 'TLS ')}, {cipher}.")
        who = "its address and secret" if self.peer.is_cloud else "its client certificate"
        self._add("identity", Verdict.GOOD, f"It is {self.peer.name}, by {who}; recordings are of the class {data.get('class')}.")
        legs = [leg for leg in data.get("legs", []) if isinstance(leg, dict)]
        self._streams = [_Stream(str(leg.get("label")), str(leg.get("codec")), str(leg.get("suite"))) for leg in legs]
        for stream, leg in zip(self._streams, legs, strict=True):
            self._tell_suite(stream, str(leg.get("protection")))
        self._tell_streams({str(leg.get("party")) for leg in legs})
        for early in [early for early in self._early if early["recording"] == self.recording]:
            self._take_of_call(early)

    def _tell_streams(self, parties: set[str]) -> None:
        """How many, by which labels, who speaks on them, and in which codecs."""
        labels = ", ".join(stream.label for stream in self._streams)
        codecs = list(dict.fromkeys(stream.codec for stream in self._streams))
        if len(self._streams) == 1:
            words = "One stream: both sides are mixed, and who speaks when is not told apart."
            self._add("streams", Verdict.CARE, words, self.peer.cure("streams"))
        else:
            self._add("streams", Verdict.GOOD, f"{len(self._streams)} streams, labels {labels}, echoed as they are.")
        if "unknown" in parties:
            words = "The metadata does not tell who is customer and who is staff on every stream."
            self._add("metadata", Verdict.CARE, words, self.peer.cure("metadata"))
        else:
            self._add("metadata", Verdict.GOOD, "Metadata tells who is customer and who is staff.")
        if any("UNKNOWN" in codec.upper() for codec in codecs):
            words = "A codec we do not know: it is sealed as it comes, and not inspected."
            self._add("codec", Verdict.CARE, words, self.peer.cure("codec"))
        else:
            self._add("codec", Verdict.GOOD, f"Codec {', '.join(codecs)}, kept as it comes.")

    def _tell_suite(self, stream: _Stream, protection: str) -> None:
        if stream.suite in GOOD_SUITES:
            self._add("srtp", Verdict.GOOD, f"Stream {stream.label}: SRTP {stream.suite}.")
        else:
            self._add("srtp", Verdict.CARE, f"Stream {stream.label}: {protection}. It must end.", self.peer.cure("srtp"))

    def _take_of_call(self, event: Event) -> None:
        kind, data = event["type"], event["data"]
        if kind == "OddityNoticed":
            for name in data.get("odd", []):
                if name in ODDITIES and name not in self._odd:
                    self._odd.append(name)
                    oddity = ODDITIES[name]
                    term = oddity.terms.get(self.peer.kind, "")
                    self._add("odd", Verdict.CARE, f"{oddity.words} {oddity.effect}", term)
        elif kind == "StreamHeard":
            for stream in self._streams:
                if stream.label == data.get("label") and stream.heard_ms is None:
                    stream.heard_ms = int(data.get("from_ms", 0))
        elif kind == "PacketsFailed":
            for stream in self._streams:
                if stream.label == data.get("label"):
                    stream.failed += int(data.get("failed", 0))
        elif kind == "CallUpdated":
            self._take_change(str(data.get("what")), data)
        elif kind == "CallEnded":
            self.ended_at, self.end_reason = parse_time(event["at"]), str(data.get("reason"))

    def _take_change(self, what: str, data: dict[str, Any]) -> None:
        if what in _CHANGES and what not in self._refused:
            self._refused.add(what)
            self._add("change", Verdict.GOOD, _CHANGES[what])
        for leg in data.get("legs", [])[len(self._streams) :] if what == "streams" else []:
            self._streams.append(_Stream(str(leg.get("label")), str(leg.get("codec")), str(leg.get("suite"))))

    def _tell_voice(self) -> None:
        self._told_voice = True
        for stream in self._streams:
            if stream.failed and stream.heard_ms is None:
                words = f"Stream {stream.label}: {stream.failed} packets are not under the key that was answered."
                self._add("rtp", Verdict.BAD, words, self.peer.cure("suite"))
            elif stream.heard_ms is None:
                words = f"Stream {stream.label}: no voice within {VOICE_WITHIN.seconds} s of 200 OK."
                self._add("rtp", Verdict.BAD, words, self.peer.cure("rtp"))
            else:
                self._add("rtp", Verdict.GOOD, f"Stream {stream.label}: voice after {max(0, stream.heard_ms) / 1000:.1f} s.")

    def _tell_end(self) -> None:
        self.is_over = True
        if not self._told_voice:
            self._tell_voice()
        if self.end_reason == "bye":
            self._add("bye", Verdict.GOOD, "It ended by BYE.")
        else:
            self._add("bye", Verdict.BAD, f"It did not end by BYE ({self.end_reason.replace('_', ' ')}).", self.peer.cure("bye"))

    def _add(self, what: str, verdict: Verdict, words: str, cure: str = "") -> None:
        self._lines.append(Line(what, verdict, words, cure))
