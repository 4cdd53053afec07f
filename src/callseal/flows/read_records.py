"""A phone system's records, CSV or a webhook's JSON, read into calls by a format of columns. No file, no socket.

RFC 4180 for CSV. Invariants: rows, columns and lengths have limits; a row that cannot be read is counted, and no error repeats
what it held; a call that was never answered is no call to be recorded.
"""

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from callseal.config.records import PeerRecords, RecordFormat
from callseal.errors import LimitExceeded, RequestError
from callseal.model.record import CallRecord

ROW_LIMIT: Final = 200_000
FIELD_LIMIT: Final = 4096
COLUMN_LIMIT: Final = 500
ID_LIMIT: Final = 12
BYTES_LIMIT: Final = 256 << 20
_EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
_CLOCK: Final = re.compile(
    r"[.*]?(\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?\s+([A-Za-z]{1,5})\s+[A-Za-z]{3}\s+([A-Za-z]{3})\s+(\d{1,2})\s+(\d{4})"
)


@dataclass(frozen=True)
class ReadRecords:
    """The calls of a file, and how many of its rows were passed over, by why."""

    calls: tuple[CallRecord, ...]
    unanswered: int = 0
    unreadable: int = 0
    other: int = 0


def read_csv(content: bytes, records: PeerRecords) -> ReadRecords:
    """Read a file. Raises RequestError where it is no CSV with the format's columns, LimitExceeded."""
    if len(content) > BYTES_LIMIT:
        raise LimitExceeded(f"records: expected at most {BYTES_LIMIT >> 20} MiB")
    text = content.decode("utf-8-sig", "replace")
    head = text.partition("\n")[0]
    delimiter = max((",", ";", "|", "\t"), key=head.count)
    rows = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True)
    header = list(records.format.header)
    try:
        header = header or [name.strip() for name in next(rows, [])]
        wanted = {*records.format.started_at}
        if len(header) > COLUMN_LIMIT or not wanted & set(header):
            raise RequestError(f"records: expected a column {' or '.join(sorted(wanted))}, got none; see records/PEER.toml")
        return collect(_rows(rows, header), records)
    except csv.Error as error:
        raise RequestError(f"records: expected CSV, line {rows.line_num}") from error


def read_webhook(body: bytes, records: PeerRecords) -> ReadRecords:
    """Read a webhook's body: an object, or its `data`, or a list of such. Raises RequestError."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError("webhook: expected JSON") from error
    value = value.get("data", value) if isinstance(value, dict) else value
    items = value if isinstance(value, list) else [value]
    if not all(isinstance(item, dict) for item in items):
        raise RequestError("webhook: expected an object, or a list of objects")
    return collect(({name: "" if field is None else str(field) for name, field in item.items()} for item in items), records)


def collect(rows: Iterator[Mapping[str, str]], records: PeerRecords) -> ReadRecords:
    """Rows into calls; rows that agree in `same_call` become one."""
    calls: dict[object, CallRecord] = {}
    unanswered = unreadable = other = 0
    for number, row in enumerate(rows):
        if number >= ROW_LIMIT:
            raise LimitExceeded(f"records: expected at most {ROW_LIMIT} rows")
        form = records.format
        if any(row.get(column, "").strip() not in allowed for column, allowed in form.only):
            other += 1
            continue
        if form.answered and not any(_time(row.get(column, ""), records) for column in form.answered):
            unanswered += 1
            continue
        call = _call(row, records)
        if call is None:
            unreadable += 1
            continue
        same: object = row.get(form.same_call, "").strip() or number
        known = calls.get(same)
        calls[same] = call if known is None else _joined(known, call)
    return ReadRecords(tuple(calls.values()), unanswered, unreadable, other)


def _rows(rows: Any, header: list[str]) -> Iterator[Mapping[str, str]]:
    for row in rows:
        if any(cell.strip() for cell in row):
            yield {name: cell[:FIELD_LIMIT] for name, cell in zip(header, row, strict=False)}


def _call(row: Mapping[str, str], records: PeerRecords) -> CallRecord | None:
    form = records.format
    started_at = _first_time(row, form.started_at, records)
    if started_at is None:
        return None
    ended_at = _first_time(row, form.ended_at, records)
    seconds = next((row[column] for column in form.duration_seconds if row.get(column, "").strip()), "")
    duration = None if ended_at is None else max(0, (ended_at - started_at) // timedelta(milliseconds=1))
    if duration is None and re.fullmatch(r"\d{1,6}(\.\d{1,6})?", seconds.strip()):
        duration = int(float(seconds) * 1000)
    exempt = next((rule.name for rule in records.not_recorded if rule.matches.search(row.get(rule.column, ""))), "")
    return CallRecord(started_at, _values(row, form.call_ids), _values(row, form.numbers), duration, exempt)


def _values(row: Mapping[str, str], columns: tuple[str, ...]) -> tuple[str, ...]:
    found = (row.get(column, "").strip()[:160] for column in columns)
    return tuple(dict.fromkeys(value for value in found if value and value != "0"))[:ID_LIMIT]


def _joined(known: CallRecord, more: CallRecord) -> CallRecord:
    ids = tuple(dict.fromkeys(known.call_ids + more.call_ids))[:ID_LIMIT]
    numbers = tuple(dict.fromkeys(known.numbers + more.numbers))[:ID_LIMIT]
    durations = [length for length in (known.duration_ms, more.duration_ms) if length is not None]
    return replace(
        known, started_at=min(known.started_at, more.started_at), call_ids=ids, numbers=numbers,
        duration_ms=max(durations, default=None), exempt=known.exempt or more.exempt,
    )  # fmt: skip


def _first_time(row: Mapping[str, str], columns: tuple[str, ...], records: PeerRecords) -> datetime | None:
    return next((moment for column in columns if (moment := _time(row.get(column, ""), records))), None)


def _time(text: str, records: PeerRecords) -> datetime | None:
    """A moment in UTC; None where there is none, or none after 2000."""
    text = text.strip()
    try:
        parsed = _parse(text, records.format, records)
        moment = None if parsed is None else parsed.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return moment if moment is not None and moment >= _EARLIEST else None


def _parse(text: str, form: RecordFormat, records: PeerRecords) -> datetime | None:
    if not text:
        return None
    if form.times == "epoch":
        return datetime.fromtimestamp(float(text), UTC) if re.fullmatch(r"\d{9,11}(\.\d+)?", text) else None
    if form.times == "clock":
        found = _CLOCK.fullmatch(text)
        if found is None:
            return None
        clock, part, zone, month, day, year = found.groups()
        moment = datetime.strptime(f"{clock} {month} {day} {year}", "%H:%M:%S %b %d %Y").replace(  # noqa: DTZ007
            microsecond=int((part or "0").ljust(6, "0"))
        )
        return moment.replace(tzinfo=UTC if zone.upper() in ("UTC", "GMT", "Z") else records.zone)
    is_iso = form.times == "iso"
    moment = datetime.fromisoformat(text.replace("Z", "+00:00")) if is_iso else datetime.strptime(text, form.times)  # noqa: DTZ007
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=records.zone)
