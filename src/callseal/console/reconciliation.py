"""Every call of the phone systems' own records beside what was sealed: by day and peer, and each that is missing with why.

Invariants: counts, times and random ids; no identifier and no number of a call stands in what is read here.
"""

from datetime import date, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import HTMLResponse

from callseal.console.parts import Parts, parts_of
from callseal.errors import RequestError
from callseal.model.clock import format_time
from callseal.model.record import KeptRecord, RecordedDay, RecordState
from callseal.store.records import get_record, list_days, list_near, list_unsealed
from callseal.web.guards import READERS

DAYS: Final = 30
NEAR: Final = timedelta(minutes=2)
STATES: Final = {
    RecordState.WAITING: "going on, or being sealed",
    RecordState.SEALED: "sealed",
    RecordState.UNSEALED: "not sealed",
    RecordState.EXEMPT: "not to be recorded",
}
WHY: Final = {
    "no-voice": "It was signalled and answered, and no packet of voice came.",
    "refused": "The phone system offered a call then and was refused: without encryption, or in a way we could not read.",
    "draining": "No new calls were taken then: the recorder was being drained.",
    "recorder-away": "The recorder was not running then.",
    "unknown": "It was never offered to the recorder, or under identifiers that its record does not hold.",
}
DO: Final = {
    "no-voice": "Look at the call's page, then at the UDP ports between the phone system and the recorder.",
    "refused": "See the alert of that time; it names the setting.",
    "draining": "Let the phone system know a second recorder.",
    "recorder-away": "Let the phone system know a second recorder.",
    "unknown": "Look in the phone system whether its recording rule covers this call. "
    "If calls of its kind are not to be recorded, declare that in records/PEER.toml.",
}

router = APIRouter()


@router.get("/reconciliation", dependencies=[Depends(READERS)], include_in_schema=False)
async def show_reconciliation(request: Request) -> HTMLResponse:
    """The page."""
    days, unsealed = _read(parts_of(request), *_span(request, None, None))
    counts = ("records", "sealed", "exempt", "waiting", "gaps", "unlisted")
    total = RecordedDay(parts_of(request).now().date(), "", **{name: sum(getattr(day, name) for day in days) for name in counts})
    shown = [{"record": one, "why": WHY.get(one.why, WHY["unknown"])} for one in unsealed]
    words: dict[str, Any] = {"total": total.words, "gaps": total.gaps, "span": DAYS, "clock": clock_words}
    return parts_of(request).pages.show(request, "reconciliation.html", days=days, unsealed=shown, **words)


@router.get("/reconciliation/{record}", dependencies=[Depends(READERS)], include_in_schema=False)
async def show_record(request: Request, record: str) -> HTMLResponse:
    """One record's page. Raises NotFound."""
    parts = parts_of(request)
    with parts.database.read() as connection:
        found = get_record(connection, record)
        near = list_near(connection, found, NEAR)
    why = found.why if found.why in WHY else "unknown"
    words = {"state": STATES[found.state], "why": WHY[why], "todo": DO[why]} if found.state is RecordState.UNSEALED else {}
    return parts.pages.show(
        request, "record.html", found=found, near=near, state=STATES[found.state], words=words, clock=clock_words
    )


@router.get("/api/reconciliation", dependencies=[Depends(READERS)], tags=["reconciliation"])
def send_reconciliation(
    request: Request,
    first: Annotated[date | None, Query(description="UTC day")] = None,
    last: Annotated[date | None, Query(description="UTC day")] = None,
) -> dict[str, Any]:
    """Days and gaps, at most 366 days at once."""
    days, unsealed = _read(parts_of(request), *_span(request, first, last))
    return {"days": [_show_day(day) for day in days], "unsealed": [_show_record(record) for record in unsealed]}


def clock_words(skew_ms: int | None) -> str:
    """What is known of a phone system's clock."""
    if skew_ms is None:
        return "not measured"
    if abs(skew_ms) < 1000:
        return "as ours"
    words = f"{abs(skew_ms) / 1000:,.1f} s {'ahead of' if skew_ms > 0 else 'behind'} ours"
    whole_hours = abs(skew_ms) > 1_800_000 and abs(skew_ms) % 3_600_000 in (*range(60_000), *range(3_540_000, 3_600_000))
    return words + (": is the time zone of its records set?" if whole_hours else "")


def _read(parts: Parts, first: date, last: date) -> tuple[list[RecordedDay], list[KeptRecord]]:
    with parts.database.read() as connection:
        return list_days(connection, first, last), list_unsealed(connection, first, last)


def _span(request: Request, first: date | None, last: date | None) -> tuple[date, date]:
    last = last or parts_of(request).now().date()
    first = first or last - timedelta(days=DAYS - 1)
    if not timedelta() <= last - first <= timedelta(days=366):
        raise RequestError("first, last: expected at most 366 days, in order")
    return first, last


def _show_day(day: RecordedDay) -> dict[str, Any]:
    return {**vars(day), "day": day.day.isoformat(), "words": day.words}


def _show_record(record: KeptRecord) -> dict[str, Any]:
    times = {"started_at": format_time(record.started_at), "received_at": format_time(record.received_at)}
    return {**vars(record), **times, "state": record.state.value}
