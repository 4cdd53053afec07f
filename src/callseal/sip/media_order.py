"""What media is asked to do for a session, in the words of docs/architecture.md "Media control".

Invariants: personal data stands in `meta` only, which is sealed with the recording; a stream that anybody has paused (by SDP, by
metadata, by INFO) is paused.
"""

from typing import Any

from callseal.model.clock import format_time
from callseal.model.message import to_text
from callseal.sip.answer import Stream
from callseal.sip.call_ids import find_call_ids
from callseal.sip.dialog import Dialog
from callseal.sip.exchange import OpenMedia, UpdateMedia, UpdateMeta
from callseal.sip.leg import party_of
from callseal.sip.siprec import describe


def open_media(dialog: Dialog, host: str) -> OpenMedia:
    """Begin its recording, or its next part on the ports that it has."""
    streams = _messages(dialog, dialog.effective_streams(), host)
    for stream, port in zip(streams, dialog.ports, strict=False):
        stream["port"] = port
    request = {
        "recording": dialog.recording,
        "part": dialog.part,
        "peer": dialog.peer,
        "class": dialog.recording_class,
        "started_at": format_time(dialog.started_at),
        "streams": streams,
        "meta": meta_of(dialog),
        "resume": dialog.part > 0,
    }
    return OpenMedia(dialog.recording, request)


def update_media(dialog: Dialog, host: str) -> UpdateMedia:
    """Its streams as they are to be: those of the change that waits, or as they stand."""
    plan = dialog.next_plan or dialog.plan
    return UpdateMedia(dialog.recording, _messages(dialog, dialog.effective_streams(plan), host))


def update_meta(dialog: Dialog) -> UpdateMeta:
    """What is known of the call now."""
    return UpdateMeta(dialog.recording, meta_of(dialog))


def meta_of(dialog: Dialog) -> dict[str, Any]:
    """Who called whom: personal data, for sealing only."""
    described = describe(dialog.metadata)
    described["session"]["odd"] = sorted(dialog.odd)
    related = {"same_call_as": dialog.relation.same_call_as, "conversation": dialog.relation.conversation}
    meta: dict[str, Any] = _printable({
        "started_at": format_time(dialog.started_at),
        "peer": dialog.peer,
        **described,
        **{name: value for name, value in related.items() if value},
        "raw_metadata": to_text(dialog.raw_metadata),
        "sip_from": dialog.invite.get("from"),
        "sip_to": dialog.invite.get("to"),
        "sip_call_id": dialog.call_id,
        "call_ids": find_call_ids(dialog.invite, dialog.metadata.sessions, dialog.metadata.groups, dialog.raw_metadata),
    })  # fmt: skip
    return meta


def _messages(dialog: Dialog, streams: tuple[Stream, ...], host: str) -> list[dict[str, Any]]:
    return [_printable(stream.as_message(host, party_of(stream, dialog.metadata, len(streams)))) for stream in streams]


def _printable(value: Any) -> Any:
    """A value whose texts are UTF-8: bytes of a peer's that are not are shown as such."""
    match value:
        case str():
            return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        case dict():
            return {name: _printable(item) for name, item in value.items()}
        case list() | tuple():
            return [_printable(item) for item in value]
    return value
