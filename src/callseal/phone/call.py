"""One recording session as its client: INVITE, ACK, voice, BYE.

RFC 7866 sections 6 and 7.1 (the session recording client), RFC 3261 sections 12 (dialogs) and 13 (INVITE).
Invariants: voice starts only after a 200 OK whose answer took one of our keys; an INVITE that got 200 is always acknowledged; a
refusal is raised by its kind with the recorder's status and reason.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from callseal.config.vendors import Shape
from callseal.errors import CallsealError, Denied, LimitExceeded, NotAcceptable, NotFound, PeerError, Unavailable
from callseal.phone.codec import CODECS, Codec
from callseal.phone.line import ALLOW, Destination, Line
from callseal.phone.message import Headers, Incoming, write_request
from callseal.phone.metadata import CONTENT_TYPE, Participant, write_metadata
from callseal.phone.sdp import SUITES, AnsweredMedia, Media, draw_cryptos, read_answer, write_offer
from callseal.phone.track import Track

LABELS = ("1", "2")

_REFUSALS: dict[int, tuple[type[CallsealError], str]] = {
    403: (Denied, "this certificate is not that of a known phone system; see peers/NAME.toml"),
    413: (LimitExceeded, "the body is longer than the recorder reads"),
    481: (NotFound, "the recorder does not know this call"),
    482: (PeerError, "the recorder has a call of this name already"),
    488: (NotAcceptable, "the recorder takes SRTP with one of these suites only: " + ", ".join(SUITES)),
    503: (Unavailable, "try again later; `callseal doctor` says what is away"),
    513: (LimitExceeded, "the message is longer than the recorder reads"),
}


@dataclass(frozen=True)
class Plan:
    """What a call is made of. Numbers and names are only what the metadata tells."""

    codec: Codec = CODECS["PCMA"]
    suites: tuple[str, ...] = tuple(SUITES)
    participants: tuple[Participant, ...] = (
        Participant("sip:+441632960001@example.com", "A customer"),
        Participant("sip:205@example.com", "A member of staff"),
    )
    metadata: bool = True
    labels: tuple[str, ...] = LABELS
    shape: Shape | None = None
    """A vendor's way of sending all this (`phone.shape`); None for the standard's own."""


@dataclass
class Dialog:
    """What names the dialog and where its requests go (RFC 3261 section 12.1.2)."""

    call_id: str
    local_tag: str
    sequence: int = 0
    remote_tag: str = ""
    target: str = ""
    route: list[str] = field(default_factory=list)


def refusal(answer: Incoming, method: str) -> CallsealError:
    """The error that a final response of 300 or more stands for, and what to do about it."""
    kind, advice = _REFUSALS.get(answer.status, (PeerError, "the recorder's log says more"))
    return kind(f"{method}: expected 200 OK, got {answer.status} {answer.reason[:80]}: {advice}")


def write_multipart(parts: Sequence[tuple[str, Headers, bytes]]) -> tuple[str, bytes]:
    """Content-Type and body of `multipart/mixed` (RFC 2046 section 5.1) from parts of (type, further headers, body)."""
    boundary = f"callseal-{os.urandom(12).hex()}"
    body = b""
    for content_type, headers, content in parts:
        lines = [f"--{boundary}", f"Content-Type: {content_type}", *(f"{name}: {value}" for name, value in headers), "", ""]
        body += "\r\n".join(lines).encode() + content + b"\r\n"
    return f"multipart/mixed;boundary={boundary}", body + f"--{boundary}--\r\n".encode()


class Call:
    """One call on a line. `tracks` carry the payloads; whoever paces them calls `track.send_next()`."""

    def __init__(
        self, line: Line, destination: Destination, plan: Plan, payloads: Sequence[Sequence[bytes]], call_id: str = ""
    ) -> None:
        self.line, self.destination, self.plan = line, destination, plan
        self.host = line.local[0]
        self.dialog = Dialog(call_id or f"{os.urandom(12).hex()}@callseal-phone", os.urandom(8).hex())
        self.tracks = [Track(label, plan.codec, sent, self.host) for label, sent in zip(plan.labels, payloads, strict=True)]
        self.medias = [Media(track.label, track.port, draw_cryptos(plan.suites)) for track in self.tracks]
        self.answers: list[AnsweredMedia] = []
        self.setup_ms = 0.0
        self._session = int.from_bytes(os.urandom(4))
        self._version = 0

    def offer(self, direction: str = "sendonly") -> bytes:
        """The SDP offer of this call; a new version each time."""
        self._version += 1
        return write_offer(self.host, self._session, self._version, self.plan.codec, self.medias, direction)

    def body(self, offer: bytes) -> tuple[str, bytes]:
        """Content-Type and body of the INVITE: offer and metadata, or the offer alone."""
        if not self.plan.metadata:
            return "application/sdp", offer
        metadata = write_metadata(self.plan.participants, self.plan.labels, self.dialog.call_id, datetime.now(UTC))
        return write_multipart(
            [("application/sdp", (), offer), (CONTENT_TYPE, (("Content-Disposition", "recording-session"),), metadata)]
        )

    async def invite(self, body: tuple[str, bytes] | None = None) -> None:
        """Offer the call (again, within its dialog: a re-INVITE) and start its tracks. Raises a refusal by its kind.

        `body` is a Content-Type with its body; by default what `self.body(self.offer())` gives.
        """
        content_type, content = body or self.body(self.offer())
        headers = (
            *self.invite_headers(),
            ("Accept", "application/sdp, application/rs-metadata-request"),
            ("Content-Type", content_type),
        )
        began = time.perf_counter()
        answer = await self.transact("INVITE", headers, content)
        self.setup_ms = (time.perf_counter() - began) * 1000
        if answer.status >= 300:
            raise refusal(answer, "INVITE")
        again = bool(self.answers)
        self.answers = read_answer(answer.body, self.medias)
        for track, answered in zip(self.tracks, self.answers, strict=True):
            if answered.label and answered.label != track.label:
                raise PeerError("answer: expected our own a=label back (RFC 7866 section 7.1.2)")
            if not again:
                track.start(answered)

    async def transact(self, method: str, headers: Headers = (), body: bytes = b"") -> Incoming:
        """One request of this dialog and its final response; an INVITE is acknowledged whatever it says."""
        self.dialog.sequence += 1
        branch = f"z9hG4bK{os.urandom(12).hex()}"
        request_uri = self.dialog.target or self.destination.uri
        answer = await self.line.request(
            branch, method, write_request(method, request_uri, [*self._headers(method, branch), *headers], body)
        )
        if method == "INVITE":
            if answer.status < 300:
                self._establish(answer)
                branch, request_uri = f"z9hG4bK{os.urandom(12).hex()}", self.dialog.target
            self.line.send(write_request("ACK", request_uri, self._headers("ACK", branch, answer.header("To"))))
        return answer

    async def bye(self) -> None:
        """Hang up. Raises what the recorder refused with, or Unavailable."""
        await self.require("BYE")

    async def require(self, method: str, headers: Headers = (), body: bytes = b"") -> None:
        """One request of this dialog that must be accepted. Raises what the recorder refused with, or Unavailable."""
        answer = await self.transact(method, headers, body)
        if answer.status >= 300:
            raise refusal(answer, method)

    def invite_headers(self) -> Headers:
        """What an INVITE says beside what each must."""
        return (("Require", "siprec"),)

    def contact(self, where: str) -> str:
        """Our Contact (RFC 7866 section 6.1: `+sip.src`)."""
        return f"<sip:phone@{where};transport=tls>;+sip.src"

    def close(self) -> None:
        """Give back the ports."""
        for track in self.tracks:
            track.close()

    def _establish(self, answer: Incoming) -> None:
        if not self.dialog.remote_tag:
            self.dialog.remote_tag = _parameter(answer.header("To"), "tag")
            self.dialog.route = list(reversed(answer.all_headers("Record-Route")))
        if not self.dialog.remote_tag:
            raise PeerError("200 OK: expected a tag in To (RFC 3261 section 12.1.1)")
        contact = answer.header("Contact")
        self.dialog.target = contact.partition("<")[2].partition(">")[0] or contact.partition(";")[0] or self.destination.uri

    def _headers(self, method: str, branch: str, to: str = "") -> list[tuple[str, str]]:
        host, port = self.line.local
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        contact = [("Contact", self.contact(where)), ("Allow", ALLOW)]
        to = to or f"<{self.destination.uri}>" + (f";tag={self.dialog.remote_tag}" if self.dialog.remote_tag else "")
        return [
            ("Via", f"SIP/2.0/TLS {where};branch={branch};rport"),
            ("Max-Forwards", "70"),
            *(("Route", route) for route in self.dialog.route),
            ("From", f'"Callseal test phone" <sip:phone@{where};transport=tls>;tag={self.dialog.local_tag}'),
            ("To", to),
            ("Call-ID", self.dialog.call_id),
            ("CSeq", f"{self.dialog.sequence} {method}"),
            *(contact if method not in ("ACK", "BYE") else []),
            ("User-Agent", "Callseal-test-phone"),
        ]


def _parameter(value: str, name: str) -> str:
    for part in value.rpartition(">")[2].split(";")[1:]:
        key, _, text = part.partition("=")
        if key.strip().lower() == name:
            return text.strip()
    return ""
