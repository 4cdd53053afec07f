"""Events of other processes into the log, under their own source and number: each once, and none left out.

docs/architecture.md, "Events" and "Audit". Invariants: a number that was taken is passed over, one that is missing is a
Conflict; a word, digest or id that does not fit its field is left out, never the event; a run of the same kind becomes one
entry.
"""

from datetime import datetime
from typing import Any, Final

from callseal.audit.entry import EVENTS, FIELDS, TYPES, make_entry
from callseal.custodian.custody import Custody
from callseal.custodian.ledger import SOURCE
from callseal.errors import Conflict, LimitExceeded, RequestError
from callseal.model.clock import parse_time

BATCH_LIMIT: Final = 1000
RUNS: Final = ("Sealed", "PacketsFailed")
WAITING_LIMIT: Final = 100_000
_RENAMED: Final = {"person": "who"}


def append_events(custody: Custody, events: Any, now: datetime) -> dict[str, int]:
    """Append a batch; returns the last number taken of each source in it. Raises RequestError, Conflict, LimitExceeded."""
    custody.check()
    if not isinstance(events, list) or len(events) > BATCH_LIMIT:
        raise LimitExceeded(f"events: expected a list of at most {BATCH_LIMIT}")
    through = dict.fromkeys((_source(event) for event in events), 0)
    for source in through:
        through[source] = custody.history.last.get(source, 0)
    runs: list[tuple[dict[str, Any], int]] = []
    for event in events:
        source, number = _source(event), event.get("n")
        if type(number) is not int or number > through[source] + 1:
            raise Conflict(f"events of {source}: expected number {through[source] + 1}")
        if number <= through[source]:
            continue
        through[source] = number
        before = runs[-1][0] if runs else {}
        if event["type"] in RUNS and (before.get("type"), before.get("source")) == (event["type"], source):
            runs[-1] = (before if before.get("recording") == event.get("recording") else before | {"recording": None}, number)
        else:
            runs.append((event, number))
    announced = _announce(custody, [event for event, _ in runs])
    entries = [_make(event, last) for event, last in runs]
    if announced:
        custody.commit(entries)
    else:
        custody.ledger.append(entries)
    return through


def end_spool_of(custody: Custody, epoch: Any) -> None:
    """The watcher says that no spool holds a part of this epoch. Kept with the next change."""
    found = custody.state.epochs.get(str(epoch))
    if found is None or str(epoch) == str(custody.state.last_epoch):
        raise RequestError("epoch: expected one that has a successor")
    found.drained = True
    custody.keystore.save()


def _announce(custody: Custody, events: list[dict[str, Any]]) -> bool:
    """Remember the parts that were started under an epoch and are not adopted yet; True where any is new."""
    changed = False
    for event in events:
        data, recording = event.get("data"), event.get("recording")
        if event["type"] != "PartStarted" or not isinstance(data, dict) or not FIELDS["what"](recording):
            continue
        epoch, part = custody.state.epochs.get(str(data.get("epoch"))), data.get("part")
        known = custody.history.recordings.get(str(recording))
        if epoch is None or type(part) is not int or (known is not None and part in known.headers):
            continue
        if f"{recording}/{part}" not in epoch.waiting and len(epoch.waiting) < WAITING_LIMIT:
            epoch.waiting.append(f"{recording}/{part}")
            changed = True
    return changed


def _source(event: Any) -> str:
    source = event.get("source") if isinstance(event, dict) else None
    if not FIELDS["source"](source) or source == SOURCE or not isinstance(event.get("type"), str):
        raise RequestError("events: expected a source other than the log's own, and a type")
    return str(source)


def _make(event: dict[str, Any], last: int) -> bytes:
    data = event.get("data") if isinstance(event.get("data"), dict) else {}
    assert isinstance(data, dict)
    named = {_RENAMED.get(name, name): value for name, value in data.items()} | {"what": event.get("recording")}
    may = TYPES["Event"][1] - {"through"}
    fields = {name: value for name, value in named.items() if name in may and value is not None and FIELDS[name](value)}
    if last != event["n"]:
        fields["through"] = last
    kind = event["type"] if event["type"] in EVENTS else "Other"
    return make_entry("Event", parse_time(str(event.get("at"))), event["source"], event["n"], event=kind, **fields)
