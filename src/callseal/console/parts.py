"""What the console is given to work with; a daemon fills it in, a test with the same real parts."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from starlette.requests import Request

from callseal.config.settings import Config
from callseal.console.live import LiveFeed
from callseal.flows.opened import OpenedRecording
from callseal.flows.private_call import Switchboard
from callseal.flows.sealed_part import ReadsObjects
from callseal.model.keyring import Asks
from callseal.store.database import Database
from callseal.web.limits import Attempts
from callseal.web.openings import Openings
from callseal.web.origins import Origins
from callseal.web.pages import Pages
from callseal.web.sessions import Sessions

Note = Callable[[str, str | None, dict[str, Any]], None]
"""Writes one event: type, recording or None, data (ids only)."""


@dataclass(frozen=True)
class PrivateDesk:
    """What private calls work with, where they are switched on."""

    switchboard: Switchboard
    trust: Callable[[], Awaitable[dict[str, Any]]]
    page_origin: str
    longest_invitation_days: int


@dataclass(frozen=True)
class Parts:
    """One console's parts. `clock` is monotonic seconds, `now` the time of day in UTC."""

    config: Config
    origins: Origins
    pages: Pages
    keyring: Asks
    database: Database
    objects: ReadsObjects
    sessions: Sessions
    openings: Openings[OpenedRecording]
    attempts: Attempts
    live: LiveFeed
    note: Note
    clock: Callable[[], float]
    now: Callable[[], datetime]
    private: PrivateDesk | None = None


def parts_of(request: Request) -> Parts:
    """The parts of the console that answers this request."""
    parts = request.app.state.parts
    assert isinstance(parts, Parts)
    return parts
