"""Recording sessions: how an offer becomes a recording, changes, and ends.

RFC 3261 sections 12 to 15, RFC 3311 (UPDATE), RFC 4028 (session timers, refreshed by the peer), RFC 7866 sections 6 to 9.
Invariants: an offer without SRTP is refused with 488 and changes nothing; a change is answered only when media has it; a
recording ends by BYE, CANCEL or lost signalling, never because metadata was odd or packets stopped; a change is refused for
nothing but its encryption.
"""

import secrets
from datetime import datetime, timedelta

from callseal.errors import CallsealError, NotAcceptable, PeerError, answer_for
from callseal.model.ids import new_recording_id
from callseal.sip import notice
from callseal.sip.answer import plan_answer, plan_from_late_answer, plan_offer, write_answer
from callseal.sip.call_event import call_started, call_updated, tell_changes, tell_oddities
from callseal.sip.conversation import Conversations
from callseal.sip.crypto_attribute import fault_of
from callseal.sip.dialog import Dialog, DialogTable, State, Trigger, Unacked
from callseal.sip.exchange import CloseMedia, Connection, Exchange, OpenMedia, Output, Report, Send
from callseal.sip.media_order import open_media, update_media, update_meta
from callseal.sip.message import Request
from callseal.sip.multipart import Body, read_body
from callseal.sip.response import ACCEPT, write_bye
from callseal.sip.sdp import SessionDescription, parse_sdp
from callseal.sip.siprec import Metadata, find_quiet, merge
from callseal.sip.siprec_from import read_from_metadata
from callseal.sip.siprec_xml import parse_metadata
from callseal.sip.transaction import LIFETIME, T1_SECONDS, Transaction

T2_SECONDS = 4.0
WILDCARDS = ("0.0.0.0", "::", "")  # noqa: S104 - compared with, never bound
PAUSE_HEADER = "x-ac-action"
OUR_LINES = 4
"""The most voice lines that we offer ourselves, where the INVITE had no SDP."""


class Sessions:
    """Every live recording session, in any state. `media_host` is where media binds."""

    def __init__(self, media_host: str, max_dialogs: int) -> None:
        self._media_host = media_host
        self._max_dialogs = max_dialogs
        self._conversations = Conversations()
        self.dialogs = DialogTable()

    @property
    def is_full(self) -> bool:
        """Whether no further session is taken."""
        return len(self.dialogs) >= self._max_dialogs

    def begin(self, exchange: Exchange) -> list[Output]:
        """An INVITE outside a dialog: refused, or a recording that waits for media."""
        request, connection = exchange.request, exchange.connection
        body = _body_of(request)
        if body.sdp is None and body.metadata is None and request.body.strip():
            refused = exchange.reply(415, (("Accept", ACCEPT),), to_tag=secrets.token_hex(8))
            return [refused, _bad(exchange, 415, "body: expected SDP and metadata")]
        metadata = _first_metadata(request, body)
        try:
            offer = parse_sdp(body.sdp) if body.sdp is not None else None
            clear = connection.peer.may_be_clear(exchange.began)
            lines = min(OUR_LINES, max(1, len(metadata.voiced)))
            plan = plan_answer(offer, clear=clear) if offer else plan_offer(lines, clear)
        except NotAcceptable as error:
            return _refuse_offer(exchange, None, str(error))
        except PeerError as error:
            status = answer_for(error).sip
            return [exchange.reply(status, to_tag=secrets.token_hex(8)), _bad(exchange, status, str(error))]
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
            metadata=metadata,
            raw_metadata=body.metadata or b"",
            cseq=request.cseq,
            pending=exchange,
            late=offer is None,
        )
        self.dialogs.add(dialog)
        self._relate(dialog, exchange.began)
        odd = notice.notice_invite(request) | notice.notice_body(request, body) | set(metadata.odd)
        odd |= notice.notice_offer(offer, metadata) if offer else {"offer-late"}
        told = tell_oddities(dialog, odd | self._odd_relation(dialog))
        return [self._open(dialog), *told]

    def change(self, exchange: Exchange, dialog: Dialog) -> list[Output]:
        """Re-INVITE or UPDATE: a new offer, new metadata, both, or a refresh of the session timer."""
        request = exchange.request
        body = _body_of(request)
        odd = notice.notice_body(request, body)
        offer: SessionDescription | None = None
        if body.sdp is not None:
            try:
                offer = parse_sdp(body.sdp)
            except PeerError:
                odd.add("body-unreadable")
        if offer is None:
            answer = dialog.answer if request.method == "INVITE" else b""
            changed = [*self._note_metadata(dialog, body.metadata, exchange.began, odd), *self._update_if(dialog)]
            return [*changed, exchange.accept(answer, dialog.local_tag)]
        try:
            plan = plan_answer(offer, dialog.plan, clear=exchange.connection.peer.may_be_clear(exchange.began))
        except NotAcceptable as error:
            return _refuse_offer(exchange, dialog, str(error))
        odd |= notice.notice_change(dialog.plan, offer) | (notice.notice_offer(offer, dialog.metadata) & {"pause-by-address"})
        outputs = self._note_metadata(dialog, body.metadata, exchange.began, odd)
        if plan.streams == dialog.plan.streams:
            is_refresh, dialog.plan = plan == dialog.plan and bool(dialog.answer), plan
            answer = dialog.answer if is_refresh else self._write_answer(dialog)
            return [*outputs, *self._update_if(dialog), exchange.accept(answer, dialog.local_tag)]
        dialog.pending, dialog.next_plan = exchange, plan
        return [*outputs, self._update(dialog)]

    @staticmethod
    def must_wait(request: Request, dialog: Dialog) -> int:
        """The status that a change deserves while another is under way, 0 for none (RFC 3261 section 14.2, RFC 3311 section 5.2).

        500: an earlier one has no answer yet. 491: our own offer waits for its answer, so that the two would cross.
        """
        offers = _body_of(request).sdp is not None
        if dialog.pending is not None:
            crosses = offers or request.method == "INVITE" or dialog.pending.request.method == "UPDATE"
            return 500 if crosses else 0
        waits_for_ack = dialog.late and dialog.unacked is not None
        return 491 if waits_for_ack and (offers or request.method == "INVITE") else 0

    def inform(self, exchange: Exchange, dialog: Dialog) -> list[Output]:
        """INFO: metadata, or a vendor's word for pause and resume."""
        body = _body_of(exchange.request)
        odd = notice.notice_body(exchange.request, body) if body.metadata else set()
        action = exchange.request.get(PAUSE_HEADER).lower()
        wanted = True if "pause" in action or "stop" in action else False if "resume" in action or "start" in action else None
        outputs: list[Output] = []
        if wanted is not None and wanted != dialog.is_held:
            before, dialog.is_held = dialog.effective_streams(), wanted
            outputs += tell_changes(dialog, before)
            odd.add("pause-by-info")
        outputs += self._note_metadata(dialog, body.metadata, exchange.began, odd)
        return [*self._update_if(dialog), *outputs, exchange.reply(200)]

    def bye(self, exchange: Exchange, dialog: Dialog) -> list[Output]:
        """BYE: always 200, with whatever metadata it brings."""
        body = _body_of(exchange.request)
        odd = {"metadata-in-bye"} if body.metadata else set()
        outputs = self._note_metadata(dialog, body.metadata, exchange.began, odd, may_pause=False)
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
                    return [terminated, self._update(dialog)]
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
        before = dialog.effective_streams()
        try:
            answer = parse_sdp(_body_of(request).sdp or b"")
            dialog.plan = plan_from_late_answer(dialog.plan, answer, connection.peer.may_be_clear(now))
        except CallsealError as error:
            bye = Send(connection.id, write_bye(dialog.invite, dialog.local_tag, connection.local))
            refused = Report("OfferRefused", dialog.recording, {"peer": dialog.peer, "status": 488, "why": str(error)})
            dialog.move(Trigger.REFUSE)
            return [refused, *self._close(dialog, "refused"), bye]
        odd = notice.notice_offer(answer, dialog.metadata) - {"direction-other"}
        return [self._update(dialog), *tell_changes(dialog, before), *tell_oddities(dialog, odd)]

    def media_answered(self, recording: str, ports: list[int], now: datetime, worker: int = 0) -> list[Output]:
        """Media has it: answer what waits, once the newest of what it was asked is done."""
        dialog = self.dialogs.recorded_as(recording)
        if dialog is None:
            return []
        dialog.ports, dialog.worker = list(ports), worker
        dialog.orders = max(0, dialog.orders - 1)
        if dialog.orders or dialog.pending is None:
            return []
        return self._answer(dialog, dialog.pending, now)

    def media_failed(self, recording: str, now: datetime) -> list[Output]:
        """Media is away: a new call gets 503; a change to a live one is accepted on the ports it has, and kept for reopening."""
        dialog = self.dialogs.recorded_as(recording)
        if dialog is None:
            return []
        dialog.orders = max(0, dialog.orders - 1)
        if dialog.pending is None:
            return []
        if dialog.state is not State.OFFERED:
            return self._answer(dialog, dialog.pending, now) if not dialog.orders else []
        refused = dialog.pending.reply(503, (("Retry-After", "5"),), to_tag=dialog.local_tag)
        dialog.move(Trigger.REFUSE)
        self.dialogs.remove(dialog)
        data = {"peer": dialog.peer, "status": 503, "why": "the recorder's media process is away"}
        return [refused, CloseMedia(recording, "refused"), Report("OfferRefused", None, data)]

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

    def attach(self, recording: str, is_known: bool, again: bool = False) -> Output | None:
        """What media is told of a live session on a new line: that it goes on or, where media knows it no more, to begin its
        next part on the same ports. None for a session that has no ports yet."""
        dialog = self.dialogs.recorded_as(recording)
        if dialog is None or dialog.state is State.OFFERED:
            return None
        if is_known:
            return self._update(dialog)
        if not again:
            dialog.part += 1
        return self._open(dialog)

    def restore(self, dialog: Dialog) -> None:
        """Take up a session that a process before this one led; one that had no answer yet is forgotten: its peer asks again."""
        self.dialogs.add(dialog)
        if dialog.state not in (State.ANSWERED, State.CONFIRMED):
            self.dialogs.remove(dialog)

    def _answer(self, dialog: Dialog, exchange: Exchange, now: datetime) -> list[Output]:
        """200 OK to what has waited for media."""
        before, was_offered = dialog.effective_streams(), dialog.state is State.OFFERED
        dialog.plan, dialog.next_plan, dialog.pending = dialog.next_plan or dialog.plan, None, None
        accepted = exchange.accept(self._write_answer(dialog), dialog.local_tag)
        if exchange.request.method == "INVITE":
            dialog.move(Trigger.ANSWER)
            first = now + timedelta(seconds=T1_SECONDS)
            dialog.unacked = Unacked(accepted.connection, accepted.data, first, T1_SECONDS, now + LIFETIME)
        return [accepted, *([call_started(dialog)] if was_offered else tell_changes(dialog, before))]

    def _open(self, dialog: Dialog) -> OpenMedia:
        dialog.orders += 1
        dialog.told_paused = tuple(stream.paused for stream in dialog.effective_streams())
        return open_media(dialog, self._media_host)

    def _update(self, dialog: Dialog) -> Output:
        dialog.orders += 1
        order = update_media(dialog, self._media_host)
        dialog.told_paused = tuple(stream["paused"] for stream in order.streams)
        return order

    def _update_if(self, dialog: Dialog) -> list[Output]:
        """An order to media where what is paused is not what it was told last."""
        paused = tuple(stream.paused for stream in dialog.effective_streams())
        return [self._update(dialog)] if paused != dialog.told_paused else []

    def _note_metadata(
        self, dialog: Dialog, raw: bytes | None, now: datetime, odd: set[str], may_pause: bool = True
    ) -> list[Output]:
        """Take newer metadata in: what it tells, pauses and relates; then what was odd in it and in its message."""
        if raw is None:
            return [*tell_oddities(dialog, odd)]
        old, before = dialog.metadata, dialog.effective_streams()
        dialog.metadata, dialog.raw_metadata = merge(old, parse_metadata(raw)), raw
        quiet = find_quiet(dialog.quiet, old, dialog.metadata) if may_pause else dialog.quiet
        odd = odd | set(dialog.metadata.odd) | ({"pause-by-metadata"} if quiet - dialog.quiet else set())
        dialog.quiet = quiet
        related = dialog.relation
        self._relate(dialog, now)
        told = tell_oddities(dialog, odd | self._odd_relation(dialog))
        what = ["metadata"] + (["related"] if dialog.relation != related else [])
        changes = tell_changes(dialog, before) if may_pause else []
        return [update_meta(dialog), *(call_updated(dialog, word) for word in what), *changes, *told]

    def _relate(self, dialog: Dialog, now: datetime) -> None:
        """Find what a recording belongs with; what was found once stays."""
        live = self.dialogs.recorded_as
        is_half = "metadata-in-from" in dialog.metadata.odd
        found = self._conversations.join(
            dialog.peer, dialog.recording, dialog.metadata, now, lambda other: live(other) is not None, is_half
        )
        dialog.relation = dialog.relation.with_more(found)

    @staticmethod
    def _odd_relation(dialog: Dialog) -> set[str]:
        relation, is_half = dialog.relation, "metadata-in-from" in dialog.metadata.odd
        twice = {"recorded-twice"} if relation.same_call_as and not is_half else set()
        return twice | ({"ids-reused"} if relation.reuses_ids else set())

    def _write_answer(self, dialog: Dialog) -> bytes:
        session = int(dialog.recording[:8], 16)
        dialog.answer = write_answer(dialog.plan, dialog.ports, dialog.address, session, dialog.version)
        dialog.version += 1
        return dialog.answer

    def _close(self, dialog: Dialog, reason: str) -> list[Output]:
        was_answered = bool(dialog.answer)
        self.dialogs.remove(dialog)
        closed: list[Output] = [CloseMedia(dialog.recording, reason)]
        return [*closed, Report("CallEnded", dialog.recording, {"reason": reason})] if was_answered else closed


def _body_of(request: Request) -> Body:
    return read_body(request.get("content-type"), request.body)


def _first_metadata(request: Request, body: Body) -> Metadata:
    """What an INVITE tells of the call: its document, else what stands in From, else nothing."""
    if body.metadata is not None:
        return merge(Metadata(), parse_metadata(body.metadata))
    return read_from_metadata(request.from_) or Metadata(odd=("metadata-missing",))


def _bad(exchange: Exchange, status: int, why: str) -> Report:
    return Report("BadRequest", None, {"peer": exchange.connection.peer.name, "status": status, "why": why})


def _refuse_offer(exchange: Exchange, dialog: Dialog | None, why: str) -> list[Output]:
    """488 with a Warning in words that the phone system's engineer can use (section 20.43, code 399)."""
    warning = (("Warning", '399 callseal "SRTP is required: ' + why.replace('"', "'") + '"'),)
    tag = dialog.local_tag if dialog else secrets.token_hex(8)
    peer = exchange.connection.peer
    data = {"peer": peer.name, "status": 488, "why": why, "cure": peer.cure(fault_of(why))}
    return [exchange.reply(488, warning, to_tag=tag), Report("OfferRefused", dialog.recording if dialog else None, data)]
