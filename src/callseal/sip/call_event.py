"""What is told of a session in events, as the table in docs/architecture.md has it.

Invariant: no number, no name, no id of the phone system's own.
"""

from collections.abc import Iterable
from typing import Any

from callseal.model.clock import format_time
from callseal.sip.answer import Stream
from callseal.sip.dialog import Dialog
from callseal.sip.exchange import Report
from callseal.sip.leg import make_legs
from callseal.sip.oddities import heaviest, known_oddities


def call_started(dialog: Dialog) -> Report:
    """`CallStarted`."""
    data = {
        "peer": dialog.peer,
        "class": dialog.recording_class,
        "started_at": format_time(dialog.started_at),
        "transport": dialog.transport,
        "legs": make_legs(dialog.effective_streams(), dialog.metadata),
    }
    if any(stream.clear for stream in dialog.plan.streams):
        data["why"] = "clear-by-exception"
    return Report("CallStarted", dialog.recording, data | _related(dialog))


def call_updated(dialog: Dialog, what: str) -> Report:
    """`CallUpdated` for one kind of change."""
    legs = make_legs(dialog.effective_streams(), dialog.metadata)
    return Report("CallUpdated", dialog.recording, {"what": what, "legs": legs} | _related(dialog))


def tell_changes(dialog: Dialog, before: tuple[Stream, ...]) -> list[Report]:
    """What has changed since the streams were `before`, one event a kind."""
    after = dialog.effective_streams()
    pairs = list(zip(before, after, strict=False))
    changes = {
        "rekeyed": any(a.key != b.key or a.suite != b.suite for a, b in pairs),
        "paused": any(b.paused and not a.paused for a, b in pairs),
        "resumed": any(a.paused and not b.paused for a, b in pairs),
        "streams": len(before) != len(after) or any(a.codecs != b.codecs or a.label != b.label for a, b in pairs),
    }
    return [call_updated(dialog, what) for what, happened in changes.items() if happened]


def tell_oddities(dialog: Dialog, names: Iterable[str]) -> list[Report]:
    """`OddityNoticed` for those that this call has not shown before; they are remembered."""
    new = known_oddities(set(names) - dialog.odd)
    dialog.odd.update(new)
    if not new:
        return []
    return [Report("OddityNoticed", dialog.recording, {"peer": dialog.peer, "odd": new, "weight": heaviest(new)})]


def _related(dialog: Dialog) -> dict[str, Any]:
    relation = dialog.relation
    named = {"conversation": relation.conversation, "same_call_as": relation.same_call_as}
    return {name: value for name, value in named.items() if value}
