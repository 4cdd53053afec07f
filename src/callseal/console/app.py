"""The console: one FastAPI app of pages and their API, in the order in which a request meets it.

1. `web.headers.Gate`: security headers, our own host, our own origin, body limit.
2. The route's guard: who may use it. 3. The page, which relays to the custodian. 4. `web.answers`: what a refusal looks like.

Invariant: the app does not come to life with a route that has no guard.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter, Depends, FastAPI
from starlette.requests import Request

from callseal.config.settings import Config
from callseal.console import (
    call,
    calls,
    enrol,
    erasure,
    exceptions,
    export,
    exports,
    files,
    health,
    holds,
    hooks,
    listen,
    log,
    odd,
    people,
    private,
    reconciliation,
    signin,
    terminal,
)
from callseal.console.live import NEWEST, LiveFeed
from callseal.console.parts import Note, Parts, PrivateDesk
from callseal.flows.opened import OpenedRecording
from callseal.flows.sealed_part import ReadsObjects
from callseal.model.keyring import Asks
from callseal.store.database import Database
from callseal.web.answers import answer_errors
from callseal.web.guards import (
    EXCEPTION_KEEPERS,
    KEEPERS,
    LOG_READERS,
    PEOPLE_KEEPERS,
    PRIVATE_CALLERS,
    READERS,
    SIGNED_IN,
    check_routes,
)
from callseal.web.headers import Gate
from callseal.web.limits import Attempts
from callseal.web.openings import Openings
from callseal.web.origins import Origins
from callseal.web.pages import Pages
from callseal.web.sessions import Session, Sessions

TEMPLATES: Final = Path(__file__).parent / "templates"
SWEEP_SECONDS: Final = 5.0
PAGES: Final = (
    files, signin, enrol, calls, call, listen, export, exports, holds, erasure, exceptions, terminal, reconciliation, hooks,
    log, odd, people, health, private,
)  # fmt: skip

router = APIRouter()


def make_parts(
    config: Config, keyring: Asks, database: Database, objects: ReadsObjects, note: Note,
    clock: Callable[[], float], now: Callable[[], datetime], private: PrivateDesk | None = None,
) -> Parts:  # fmt: skip
    """What the console works with. `config.web.port` is the port that browsers use."""
    origin = config.web.origin or f"http://localhost:{config.web.port}"
    openings: Openings[OpenedRecording] = Openings()
    return Parts(
        config=config,
        origins=Origins(origin, config.web.rp_id),
        pages=Pages(TEMPLATES, config.business, pages_of=lambda session: pages_of(session, private=private is not None)),
        keyring=keyring,
        database=database,
        objects=objects,
        sessions=Sessions(config.web.session_idle_minutes * 60.0, on_end=openings.end_session),
        openings=openings,
        attempts=Attempts(),
        live=LiveFeed(lambda: calls.read_newest(database, NEWEST)),
        note=note,
        clock=clock,
        now=now,
        private=private,
    )


def pages_of(session: Session, *, private: bool = False) -> list[tuple[str, str]]:
    """The pages that a person's role may see, in the order of the bar at the top."""
    places = (
        ("/calls", "Calls", READERS),
        *((("/private", "Private calls", PRIVATE_CALLERS),) if private else ()),
        ("/holds", "Holds", KEEPERS),
        ("/exports", "Exports", KEEPERS),
        ("/reconciliation", "Reconciliation", READERS),
        ("/exceptions", "Exceptions", EXCEPTION_KEEPERS),
        ("/log", "Log", LOG_READERS),
        ("/odd", "Odd", READERS),
        ("/health", "Health", READERS),
        ("/people", "People", PEOPLE_KEEPERS),
    )
    return [(path, name) for path, name, guard in places if guard.allows(session)]


def make_app(parts: Parts) -> Gate:
    """The console over these parts. Raises ConfigError where a route does not say who may use it."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        sweeper = asyncio.create_task(_sweep(parts))
        try:
            yield
        finally:
            parts.live.stop()
            sweeper.cancel()
            with suppress(asyncio.CancelledError):
                await sweeper
            parts.openings.end_all()

    app = FastAPI(
        title="Callseal", version=version("callseal"), lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None
    )
    app.state.parts = parts
    app.state.files = files.read_files()
    for page in (*PAGES, None):
        app.router.routes.extend((page.router if page else router).routes)
    check_routes(app.router.routes)
    answer_errors(app, parts.pages)
    return Gate(app, parts.origins)


@router.get("/api/openapi.json", dependencies=[Depends(SIGNED_IN)], include_in_schema=False)
async def send_openapi(request: Request) -> dict[str, Any]:
    """The API in OpenAPI 3.1."""
    described: dict[str, Any] = request.app.openapi()
    return described


async def _sweep(parts: Parts) -> None:
    """Wipe what has lapsed without waiting for a next request."""
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        now = parts.clock()
        before = len(parts.sessions)
        parts.sessions.sweep(now)
        parts.openings.sweep(now)
        if len(parts.sessions) != before:
            parts.live.wake()
