"""The session recording server's decisions: messages in, outputs out.

RFC 3261 section 8.2 (how a server treats a request), RFC 7866 section 6.2, 7.1.2. What belongs to a recording session is decided
in `session`; here a request finds its transaction, its method and its dialog.
Invariants: no request moves a dialog of another peer; a trusted peer is never refused over metadata; nothing here does I/O.
"""

import secrets
from datetime import datetime

from callseal.errors import PeerError
from callseal.sip.exchange import Connection, Exchange, Output, Report, Send
from callseal.sip.message import Malformed, Request, Response, first_value
from callseal.sip.response import ACCEPT, ALLOW, SUPPORTED, write_response
from callseal.sip.session import Sessions
from callseal.sip.transaction import TransactionTable

KNOWN_METHODS = {"REGISTER", "SUBSCRIBE", "NOTIFY", "MESSAGE", "REFER", "PUBLISH", "PRACK"}
OPTION_TAGS = {"siprec", "timer", "record-aware", "histinfo", "path", "gruu", "tdialog", "norefersub", "replaces", "100rel"}
"""What Require may name: what we do, and what changes nothing for a server that sends no provisional responses."""
_ANSWERABLE = ("application/sdp", "application/*", "*/*")


class Recorder:
    """All peers' signalling. `draining` refuses new calls and OPTIONS with 503 while live calls go on."""

    def __init__(self, media_host: str, max_dialogs: int = 4000) -> None:
        self._transactions = TransactionTable()
        self._sessions = Sessions(media_host, max_dialogs)
        self._tag = secrets.token_hex(8)
        self.draining = False

    @property
    def sessions(self) -> Sessions:
        """The live recording sessions."""
        return self._sessions

    def receive(self, connection: Connection, message: Request | Response | Malformed, now: datetime) -> list[Output]:
        """Act on one message of a peer that has proved who it is."""
        if isinstance(message, Response):
            return []
        if isinstance(message, Malformed):
            return self._refuse_malformed(connection, message)
        if message.method == "ACK":
            return self._ack(connection, message, now)
        known = self._transactions.find(connection.peer.name, message)
        if known is not None:
            return [Send(connection.id, known.response)] if known.response else []
        exchange = Exchange(connection, message, self._transactions.begin(connection.peer.name, message, now), now)
        return self._check(exchange) or self._dispatch(exchange)

    def media_answered(self, recording: str, ports: list[int], now: datetime, worker: int = 0) -> list[Output]:
        """A media worker has opened or changed a recording; `ports` stand in the order of its streams."""
        return self._sessions.media_answered(recording, ports, now, worker)

    def media_failed(self, recording: str, now: datetime) -> list[Output]:
        """Media could not do what was asked, or is away."""
        return self._sessions.media_failed(recording, now)

    def tick(self, now: datetime) -> list[Output]:
        """What has come due: answers whose ACK has not come."""
        return self._sessions.resend(now)

    def end(self, recording: str, reason: str) -> list[Output]:
        """End a recording whose signalling is lost."""
        return self._sessions.end(recording, reason)

    def attach(self, recording: str, is_known: bool, again: bool = False) -> Output | None:
        """What a media worker on a new line is told of a live recording that it knows, or knows no more; `again` where it was
        told so before, and refused."""
        return self._sessions.attach(recording, is_known, again)

    def _check(self, exchange: Exchange) -> list[Output]:
        """What is refused for any method (section 8.2.1 and 8.2.2)."""
        request = exchange.request
        if not request.target.is_sip:
            return [exchange.reply(416, to_tag=self._tag)]
        if request.method in ("BYE", "CANCEL"):
            return []
        try:
            required = {tag.lower() for tag in request.get_all("require") if tag}
        except PeerError:
            required = set()
        unknown = sorted(tag for tag in required if tag not in OPTION_TAGS and "siprec" not in tag)
        if unknown:
            return [exchange.reply(420, (("Unsupported", ", ".join(unknown)),), to_tag=self._tag)]
        return []

    def _dispatch(self, exchange: Exchange) -> list[Output]:
        request = exchange.request
        if request.method == "CANCEL":
            return self._cancel(exchange)
        if request.method not in ("INVITE", "UPDATE", "INFO", "BYE", "OPTIONS"):
            status = 405 if request.method in KNOWN_METHODS else 501
            return [exchange.reply(status, (("Allow", ALLOW),), to_tag=self._tag)]
        if request.to.tag:
            return self._in_dialog(exchange)
        if request.method == "OPTIONS":
            return [self._options(exchange)]
        if request.method != "INVITE":
            return [exchange.reply(481, to_tag=self._tag)]
        return self._invite(exchange)

    def _options(self, exchange: Exchange) -> Send:
        if self.draining:
            return exchange.reply(503, (("Retry-After", "30"),), to_tag=self._tag)
        return exchange.reply(200, (("Allow", ALLOW), ("Accept", ACCEPT), ("Supported", SUPPORTED)), to_tag=self._tag)

    def _invite(self, exchange: Exchange) -> list[Output]:
        """A new session, unless its Call-ID is another peer's live call or the request has looped (section 8.2.2.2)."""
        request, peer = exchange.request, exchange.connection.peer.name
        if exchange.connection.peer.behind:
            return [exchange.reply(403, to_tag=self._tag), _bad(peer, 403, "a proxy's call without the name of its phone system")]
        for dialog in self._sessions.dialogs.with_call_id(request.call_id):
            if dialog.peer != peer:
                return [exchange.reply(403, to_tag=self._tag), _bad(peer, 403, "Call-ID of another peer's live call")]
            if dialog.remote_tag == request.from_.tag and dialog.cseq == request.cseq:
                return [exchange.reply(482, to_tag=self._tag), _bad(peer, 482, "the same INVITE by another way")]
        if self.draining or self._sessions.is_full:
            return [exchange.reply(503, (("Retry-After", "10"),), to_tag=self._tag), _bad(peer, 503, "draining or full")]
        if not _may_answer_with_sdp(request):
            refused = exchange.reply(406, (("Accept", ACCEPT),), to_tag=self._tag)
            return [refused, _bad(peer, 406, "Accept: expected SDP, or a recording's INVITE")]
        return self._sessions.begin(exchange)

    def _in_dialog(self, exchange: Exchange) -> list[Output]:
        request, peer = exchange.request, exchange.connection.peer.name
        dialog = self._sessions.dialogs.find(request)
        if dialog is not None and dialog.peer != peer:
            return [exchange.reply(481), _bad(peer, 481, f"{request.method} in another peer's live call")]
        if dialog is None:
            return [exchange.reply(481)]
        if request.cseq <= dialog.cseq:
            return [exchange.reply(500)]
        if request.method == "OPTIONS":
            dialog.cseq = request.cseq
            return [exchange.reply(200, (("Allow", ALLOW), ("Accept", ACCEPT), ("Supported", SUPPORTED)))]
        if request.method in ("INVITE", "UPDATE") and (status := self._sessions.must_wait(request, dialog)):
            return [exchange.reply(status, (("Retry-After", str(secrets.randbelow(10))),) if status == 500 else ())]
        dialog.cseq = request.cseq
        if request.method == "BYE":
            return self._sessions.bye(exchange, dialog)
        if request.method == "INFO":
            return self._sessions.inform(exchange, dialog)
        return self._sessions.change(exchange, dialog)

    def _cancel(self, exchange: Exchange) -> list[Output]:
        """Section 9.2: 200 to the CANCEL, 487 to an INVITE that still waits; a final response stands."""
        peer = exchange.connection.peer.name
        invite = self._transactions.find(peer, exchange.request, "INVITE")
        if invite is None:
            return [exchange.reply(481, to_tag=self._tag)]
        accepted = exchange.reply(200, to_tag=self._tag)
        return [accepted, *(self._sessions.cancel(invite) if not invite.response else [])]

    def _ack(self, connection: Connection, request: Request, now: datetime) -> list[Output]:
        dialog = self._sessions.dialogs.find(request)
        if dialog is None or dialog.peer != connection.peer.name:
            return []
        return self._sessions.acknowledge(dialog, connection, request, now)

    def _refuse_malformed(self, connection: Connection, message: Malformed) -> list[Output]:
        """The response that a malformed request deserves, where it can be given at all; never to ACK or to a response."""
        outputs: list[Output] = []
        if message.status and message.method and message.method != "ACK" and first_value(message.headers, "via"):
            data = write_response(message.headers, message.status, connection.source, to_tag=self._tag)
            outputs.append(Send(connection.id, data, message.close))
        elif message.close:
            outputs.append(Send(connection.id, b"", True))
        if message.status:
            outputs.append(_bad(connection.peer.name, message.status, message.why))
        return outputs


def _may_answer_with_sdp(request: Request) -> bool:
    """Whether Accept lets us answer with SDP (RFC 4475 section 3.3.15); a recording's INVITE is answered whatever it says."""
    texts = [text for name, text in request.headers if name == "accept"]
    accepted = {value.partition(";")[0].strip().lower() for text in texts for value in text.split(",")}
    is_recording = "siprec" in request.get("require").lower() or request.get("content-type").lower().startswith("multipart/")
    return not accepted or is_recording or any(value in _ANSWERABLE or "rs-metadata" in value for value in accepted)


def _bad(peer: str, status: int, why: str) -> Report:
    return Report("BadRequest", None, {"peer": peer, "status": status, "why": why})

