"""Recording sessions: how an offer becomes a recording, changes, and ends.

RFC 3261 sections 12 to 15, RFC 3311 (UPDATE), RFC 4028 (session timers, refreshed by the peer), RFC 7866 sections 6 to 9.
Invariants: an offer without SRTP is refused with 488 and changes nothing; a change is answered only when media has it; a
recording ends by BYE, CANCEL or lost signalling, never because metadata was odd or packets stopped.
"""

import secrets
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from callseal.errors import LimitExceeded, NotAcceptable, PeerError, answer_for
from callseal.model.clock import format_time
from callseal.model.ids import new_recording_id
from callseal.model.message import to_text
from callseal.sip.answer import Plan, plan_answer, plan_from_late_answer, plan_offer, write_answer
from callseal.sip.dialog import Dialog, DialogTable, State, Trigger, Unacked
from callseal.sip.exchange import CloseMedia, Connection, Exchange, OpenMedia, Output, Report, Send, UpdateMedia, UpdateMeta
from callseal.sip.leg import make_legs, party_of
from callseal.sip.message import Headers, Request
from callseal.sip.multipart import METADATA, SDP, find_part, read_parts
from callseal.sip.response import ACCEPT, ALLOW, SUPPORTED, write_bye
from callseal.sip.sdp import SessionDescription, parse_sdp
from callseal.sip.siprec import Metadata, describe, merge, parse_metadata
from callseal.sip.transaction import LIFETIME, T1_SECONDS, Transaction

T2_SECONDS = 4.0
WILDCARDS = ("0.0.0.0", "::", "")  # noqa: S104 - compared with, never bound
PAUSE_HEADER = "x-ac-action"


class Sessions:
    """Every live recording session, in any state. `media_host` is where media binds."""

    def __init__(self, media_host: str, max_dialogs: int) -> None:
        self._media_host = media_host
        self._max_dialogs = max_dialogs
        self.dialogs = DialogTable()

    @property
    def is_full(self) -> bool:
        """Whether no further session is taken."""
        return len(self.dialogs) >= self._max_dialogs

    def begin(self, exchange: Exchange) -> list[Output]:
        """An INVITE outside a dialog: refused, or a recording that waits for media."""
        request, connection = exchange.request, exchange.connection
        refused, offer, raw = self._read_offer(exchange, None)
        if refused:
            return refused
        try:
            plan = plan_answer(offer) if offer else plan_offer()
        except NotAcceptable as error:
            return self._refuse_offer(exchange, None, str(error))
        dialog = Dialog(
            call_id=request.call_id,
            local_tag=secrets.token_hex(16),
            invite=request,
            peer=connection.peer.name,
            recording_class=connection.peer.recording_class,
            recording=new_recording_id().hex(),
            started_at=exchange.began,
            transport=connection.transport,
            address=connection.local[0] if self._media_host in WILDCARDS else self._media_host,
            plan=plan,
            metadata=parse_metadata(raw) if raw else Metadata(odd=("metadata: none",)),
            raw_metadata=raw,
            cseq=request.cseq,
            pending=exchange,
            late=offer is None,
        )
        self.dialogs.add(dialog)
        return [self._open(dialog)]

    def change(self, exchange: Exchange, dialog: Dialog) -> list[Output]:
        """Re-INVITE or UPDATE: a new offer, new metadata, both, or a refresh of the session timer."""
        refused, offer, raw = self._read_offer(exchange, dialog)
        if refused:
            return refused
        outputs: list[Output] = []
        if offer is None:
            outputs += self._note_metadata(dialog, raw)
            body = dialog.answer if exchange.request.method == "INVITE" else b""
            return [*outputs, self._accept(exchange, dialog, body)]
        try:
            plan = plan_answer(offer, dialog.plan)
        except NotAcceptable as error:
            return self._refuse_offer(exchange, dialog, str(error))
        outputs += self._note_metadata(dialog, raw)
        if plan == dialog.plan and dialog.answer:
            return [*outputs, self._accept(exchange, dialog, dialog.answer)]
        if plan.streams == dialog.plan.streams:
            dialog.plan = plan
            return [*outputs, self._accept(exchange, dialog, self._write_answer(dialog))]
        dialog.pending, dialog.next_plan = exchange, plan
        return [*outputs, UpdateMedia(dialog.recording, self._streams(dialog, plan))]

    def inform(self, exchange: Exchange, dialog: Dialog) -> list[Output]:
        """INFO: metadata, or a vendor's word for pause and resume."""
        outputs = self._note_metadata(dialog, self._find_metadata(exchange.request))
        action = exchange.request.get(PAUSE_HEADER).lower()
        wanted = True if "pause" in action or "stop" in action else False if "resume" in action or "start" in action else None
        if wanted is not None and any(stream.paused != wanted for stream in dialog.plan.streams):
            before = dialog.plan
            dialog.plan = replace(before, streams=tuple(replace(stream, paused=wanted) for stream in before.streams))
            outputs.append(UpdateMedia(dialog.recording, self._streams(dialog, dialog.plan)))
            outputs += self._report_changes(dialog, before)
        return [*outputs, exchange.reply(200)]

    def bye(self, exchange: Exchange, dialog: Dialog) -> list[Output]:
        """BYE: always 200, with whatever metadata it brings."""
        outputs = self._note_metadata(dialog, self._find_metadata(exchange.request))
        if dialog.pending is not None:
            outputs.append(dialog.pending.reply(487, to_tag=dialog.local_tag))
        dialog.move(Trigger.BYE)
        return [*outputs, exchange.reply(200), *self._close(dialog, "bye")]

    def cancel(self, invite: Transaction) -> list[Output]:
        """CANCEL of an INVITE that still waits for media (section 9.2)."""
        for dialog in self.dialogs.all():
            if dialog.pending is not None and dialog.pending.transaction is invite:
                terminated = dialog.pending.reply(487, to_tag=dialog.local_tag)
                dialog.pending = dialog.next_plan = None
                if dialog.state is not State.OFFERED:
                    return [terminated, UpdateMedia(dialog.recording, self._streams(dialog, dialog.plan))]
                dialog.move(Trigger.CANCEL)
                return [terminated, *self._close(dialog, "cancel")]
        return []

    def acknowledge(self, dialog: Dialog, connection: Connection, request: Request, now: datetime) -> list[Output]:
        """ACK: the answer has arrived; where our 200 held the offer, the ACK holds its answer."""
        if dialog.state is State.OFFERED:
            return []
        dialog.move(Trigger.ACK)
        dialog.unacked = None
        if not dialog.late:
            return []
        dialog.late = False
        part = find_part(read_parts(request.get("content-type"), request.body), SDP)
        before = dialog.plan
        try:
            dialog.plan = plan_from_late_answer(before, parse_sdp(part.content if part else b""))
        except (PeerError, LimitExceeded, NotAcceptable) as error:
            bye = Send(connection.id, write_bye(dialog.invite, dialog.local_tag, connection.local))
            refused = Report("OfferRefused", dialog.recording, {"peer": dialog.peer, "status": 488, "why": str(error)})
            dialog.move(Trigger.REFUSE)
            return [refused, *self._close(dialog, "refused"), bye]
        return [UpdateMedia(dialog.recording, self._streams(dialog, dialog.plan)), *self._report_changes(dialog, before)]

    def media_answered(self, recording: str, ports: list[int], now: datetime) -> list[Output]:
        """Media has it: answer what waits."""
        dialog = self.dialogs.recorded_as(recording)
        if dialog is None:
            return []
        dialog.ports = list(ports)
        exchange, dialog.pending = dialog.pending, None
        if exchange is None:
            return []
        before, after = dialog.plan, dialog.next_plan or dialog.plan
        dialog.plan, dialog.next_plan = after, None
        accepted = self._accept(exchange, dialog, self._write_answer(dialog))
        if dialog.state is State.OFFERED:
            dialog.move(Trigger.ANSWER)
            self._expect_ack(dialog, accepted, now)
            return [accepted, Report("CallStarted", recording, self._started(dialog))]
        if exchange.request.method == "INVITE":
            dialog.move(Trigger.ANSWER)
            self._expect_ack(dialog, accepted, now)
        return [accepted, *self._report_changes(dialog, before)]

    def media_failed(self, recording: str, now: datetime) -> list[Output]:
        """Media is away: a new call gets 503; a change to a live one is accepted on the ports it has, and kept for reopening."""
        dialog = self.dialogs.recorded_as(recording)
        if dialog is None or dialog.pending is None:
            return []
        if dialog.state is not State.OFFERED:
            return self.media_answered(recording, dialog.ports, now)
        refused = dialog.pending.reply(503, (("Retry-After", "5"),), to_tag=dialog.local_tag)
        dialog.move(Trigger.REFUSE)
        self.dialogs.remove(dialog)
        why = "the recorder's media process is away"
        return [
            refused,
            CloseMedia(recording, "refused"),
            Report("OfferRefused", None, {"peer": dialog.peer, "status": 503, "why": why}),
        ]

    def resend(self, now: datetime) -> list[Output]:
        """2xx whose ACK has not come, again (section 13.3.1.4); after 64·T1 the recording simply goes on."""
        outputs: list[Output] = []
        for dialog in self.dialogs.all():
            waiting = dialog.unacked
            if waiting is None or waiting.next_at > now:
                continue
            if now >= waiting.until:
                dialog.unacked = None
                continue
            outputs.append(Send(waiting.connection, waiting.data))
            waiting.interval_seconds = min(waiting.interval_seconds * 2, T2_SECONDS)
            waiting.next_at = now + timedelta(seconds=waiting.interval_seconds)
        return outputs

    def end(self, recording: str, reason: str) -> list[Output]:
        """End a session without the peer's word for it."""
        dialog = self.dialogs.recorded_as(recording)
        if dialog is None or dialog.state is State.OFFERED:
            return []
        dialog.move(Trigger.LOSE)
        return self._close(dialog, reason)

    def reopen(self, recording: str) -> OpenMedia | None:
        """`media.open` for the next part, on the same ports; None for a session that has no ports yet."""
        dialog = self.dialogs.recorded_as(recording)
        if dialog is None or dialog.state is State.OFFERED:
            return None
        dialog.part += 1
        return self._open(dialog)

    def _read_offer(
        self, exchange: Exchange, dialog: Dialog | None
    ) -> tuple[list[Output], SessionDescription | None, bytes]:
        """The outputs of a refusal (or none), the SDP offer (None for none), and the raw metadata."""
        request = exchange.request
        parts = read_parts(request.get("content-type"), request.body)
        sdp, metadata = find_part(parts, SDP), find_part(parts, *METADATA)
        raw = metadata.content if metadata else b""
        tag = dialog.local_tag if dialog else secrets.token_hex(8)
        if sdp is None and metadata is None and request.body.strip():
            if not dialog:
                refused = exchange.reply(415, (("Accept", ACCEPT),), to_tag=tag)
                return [refused, self._bad(exchange, 415, "body: expected SDP and metadata")], None, b""
            return [], None, b""
        if sdp is None:
            return [], None, raw
        try:
            return [], parse_sdp(sdp.content), raw
        except (PeerError, LimitExceeded) as error:
            status = answer_for(error).sip
            return [exchange.reply(status, to_tag=tag), self._bad(exchange, status, str(error))], None, b""

    @staticmethod
    def _find_metadata(request: Request) -> bytes:
        part = find_part(read_parts(request.get("content-type"), request.body), *METADATA)
        return part.content if part else b""

    @staticmethod
    def _bad(exchange: Exchange, status: int, why: str) -> Report:
        return Report("BadRequest", None, {"peer": exchange.connection.peer.name, "status": status, "why": why})

    @staticmethod
    def _refuse_offer(exchange: Exchange, dialog: Dialog | None, why: str) -> list[Output]:
        """488 with a Warning in words that the phone system's engineer can use (section 20.43, code 399)."""
        warning = (("Warning", '399 callseal "SRTP is required: ' + why.replace('"', "'") + '"'),)
        tag = dialog.local_tag if dialog else secrets.token_hex(8)
        recording = dialog.recording if dialog else None
        data = {"peer": exchange.connection.peer.name, "status": 488, "why": why}
        return [exchange.reply(488, warning, to_tag=tag), Report("OfferRefused", recording, data)]

    def _open(self, dialog: Dialog) -> OpenMedia:
        streams = self._streams(dialog, dialog.plan)
        for stream, port in zip(streams, dialog.ports, strict=False):
            stream["port"] = port
        request = {
            "recording": dialog.recording,
            "part": dialog.part,
            "peer": dialog.peer,
            "class": dialog.recording_class,
            "started_at": format_time(dialog.started_at),
            "streams": streams,
            "meta": self._meta(dialog),
            "resume": dialog.part > 0,
        }
        return OpenMedia(dialog.recording, request)

    def _streams(self, dialog: Dialog, plan: Plan) -> list[dict[str, Any]]:
        return [stream.as_message(self._media_host, party_of(stream, dialog.metadata)) for stream in plan.streams]

    @staticmethod
    def _meta(dialog: Dialog) -> dict[str, Any]:
        """Who called whom: personal data, for sealing only."""
        return {
            "started_at": format_time(dialog.started_at),
            "peer": dialog.peer,
            **describe(dialog.metadata),
            "raw_metadata": to_text(dialog.raw_metadata),
            "sip_from": _printable(dialog.invite.get("from")),
            "sip_to": _printable(dialog.invite.get("to")),
            "sip_call_id": _printable(dialog.call_id),
        }

    def _note_metadata(self, dialog: Dialog, raw: bytes) -> list[Output]:
        if not raw:
            return []
        dialog.metadata, dialog.raw_metadata = merge(dialog.metadata, parse_metadata(raw)), raw
        update = UpdateMeta(dialog.recording, self._meta(dialog))
        return [update, self._updated(dialog, "metadata")]

    def _write_answer(self, dialog: Dialog) -> bytes:
        session = int(dialog.recording[:8], 16)
        dialog.answer = write_answer(dialog.plan, dialog.ports, dialog.address, session, dialog.version)
        dialog.version += 1
        return dialog.answer

    def _accept(self, exchange: Exchange, dialog: Dialog, body: bytes) -> Send:
        """200 OK with our Contact (RFC 7866 section 6.2: `+sip.srs`) and the peer's session timer."""
        host, port = exchange.connection.local
        shown = f"[{host}]" if ":" in host else host
        extra: Headers = (
            ("Contact", f"<sip:recorder@{shown}:{port};transport=tls>;+sip.srs"),
            ("Allow", ALLOW),
            ("Supported", SUPPORTED),
            *_session_timer(exchange.request),
        )
        if body:
            extra = (*extra, ("Content-Type", "application/sdp"))
        return exchange.reply(200, extra, body, to_tag=dialog.local_tag)

    @staticmethod
    def _expect_ack(dialog: Dialog, accepted: Send, now: datetime) -> None:
        first = now + timedelta(seconds=T1_SECONDS)
        dialog.unacked = Unacked(accepted.connection, accepted.data, first, T1_SECONDS, now + LIFETIME)

    @staticmethod
    def _started(dialog: Dialog) -> dict[str, Any]:
        return {
            "peer": dialog.peer,
            "class": dialog.recording_class,
            "started_at": format_time(dialog.started_at),
            "transport": dialog.transport,
            "legs": make_legs(dialog.plan.streams, dialog.metadata),
        }

    @staticmethod
    def _updated(dialog: Dialog, what: str) -> Report:
        legs = make_legs(dialog.plan.streams, dialog.metadata)
        return Report("CallUpdated", dialog.recording, {"what": what, "legs": legs})

    def _report_changes(self, dialog: Dialog, before: Plan) -> list[Output]:
        """What an answered change was, in the words of the event table."""
        old, new = before.streams, dialog.plan.streams
        pairs = list(zip(old, new, strict=False))
        changes = {
            "rekeyed": any(a.key != b.key or a.suite != b.suite for a, b in pairs),
            "paused": any(b.paused and not a.paused for a, b in pairs),
            "resumed": any(a.paused and not b.paused for a, b in pairs),
            "streams": len(old) != len(new) or any(a.codecs != b.codecs or a.label != b.label for a, b in pairs),
        }
        return [self._updated(dialog, what) for what, happened in changes.items() if happened]

    def _close(self, dialog: Dialog, reason: str) -> list[Output]:
        was_answered = bool(dialog.answer)
        self.dialogs.remove(dialog)
        closed: list[Output] = [CloseMedia(dialog.recording, reason)]
        return [*closed, Report("CallEnded", dialog.recording, {"reason": reason})] if was_answered else closed


def _session_timer(request: Request) -> Headers:
    """RFC 4028 section 9: the peer refreshes; we never do, so a timer that asks us to is not taken."""
    asked = request.get("session-expires")
    seconds, _, params = asked.partition(";")
    if not seconds.strip().isdecimal() or "refresher=uas" in params.replace(" ", "").lower():
        return ()
    return (("Session-Expires", f"{int(seconds.strip()[:9])};refresher=uac"), ("Require", "timer"))


def _printable(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
