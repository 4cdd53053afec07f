"""How time is written: RFC 3339 in UTC with milliseconds, and offsets in whole milliseconds. Time itself is an argument."""

from datetime import UTC, datetime

from callseal.errors import RequestError


def format_time(moment: datetime) -> str:
    """Write an aware datetime as `2026-11-24T07:03:00.123Z`."""
    if moment.tzinfo is None:
        raise ValueError("expected an aware datetime")
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_time(text: str) -> datetime:
    """Read what `format_time` wrote; raises RequestError."""
    try:
        moment = datetime.fromisoformat(text)
    except (ValueError, TypeError) as error:
        raise RequestError("time: expected RFC 3339 with a zone, such as 2026-11-24T07:03:00.000Z") from error
    if moment.tzinfo is None:
        raise RequestError("time: expected a zone (Z)")
    return moment.astimezone(UTC)
