"""HTML from templates: everything escaped, nothing inline, so that the content policy needs no exception.

Invariants: autoescape is always on; a name that a template uses and nobody gave is an error, not an empty string.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from callseal.web.guards import session_of


class Pages:
    """The templates of one app, with the words and figures that all pages share."""

    def __init__(self, folder: Path, business: str, **shared: Any) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        self._environment.globals.update(business=business, **shared)
        self._environment.filters.update(length=show_length, moment=show_moment, day=show_day, iso=show_iso)

    def show(self, request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        """Fill a template for whoever asks; `session` is None before sign-in."""
        session = getattr(request.state, "session", None) or session_of(request)
        text = self._environment.get_template(template).render(session=session, path=request.url.path, **values)
        return HTMLResponse(text, status)


def show_length(milliseconds: int | None) -> str:
    """A length of time as `2:05` or `1:02:05`; `–` where it is not known."""
    if milliseconds is None:
        return "–"
    minutes, seconds = divmod(milliseconds // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def show_moment(moment: datetime | None) -> str:
    """A moment as `24 November 2026, 07:03:05 UTC`."""
    return "–" if moment is None else f"{show_day(moment)}, {moment.astimezone(UTC):%H:%M:%S} UTC"


def show_day(moment: datetime | None) -> str:
    """A day as `24 November 2026`."""
    return "–" if moment is None else f"{moment.astimezone(UTC).day} {moment.astimezone(UTC):%B %Y}"


def show_iso(moment: datetime) -> str:
    """A moment for machines: RFC 3339."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")
