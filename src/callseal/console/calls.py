"""The list of calls: as they happen, by state, and by number through the custodian's search tokens.

Invariants: a number that is searched for comes in a body, goes to the custodian, and is not kept; every list has a limit.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import HTMLResponse, StreamingResponse

from callseal.console.parts import parts_of
from callseal.console.words import STATES, show_call
from callseal.model.call import CallState
from callseal.model.clock import parse_time
from callseal.store.calls import list_calls
from callseal.store.database import Database
from callseal.web.guards import READERS, WATCHING, signed_in

PAGE: Final = 50

router = APIRouter()


class Search(BaseModel):
    """A number, the last four digits of one, or an account id."""

    model_config = ConfigDict(extra="forbid")
    value: str = Field(min_length=1, max_length=40)


@router.get("/calls", dependencies=[Depends(READERS)], include_in_schema=False)
async def show_calls(request: Request) -> HTMLResponse:
    """The page; its rows come from the API, so that there is one way to draw them."""
    states = {state.value: words for state, words in STATES.items()}
    return parts_of(request).pages.show(request, "calls.html", states=states)


@router.get("/api/calls", dependencies=[Depends(READERS)], tags=["calls"])
def send_calls(
    request: Request,
    before: Annotated[str | None, Query(max_length=40, description="RFC 3339: calls that began earlier")] = None,
    state: CallState | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = PAGE,
) -> dict[str, Any]:
    """Calls, newest first; `more` says that there are older ones."""
    older = None if before is None else (parse_time(before), "")
    calls = _list(parts_of(request).database, limit + 1, older, state)
    return {"calls": calls[:limit], "more": len(calls) > limit}


@router.post("/api/calls/search", dependencies=[Depends(READERS)], tags=["calls"])
async def search_calls(request: Request, body: Search) -> dict[str, Any]:
    """Calls with this number or these last digits, as far as its group's index key still lives."""
    parts = parts_of(request)
    tokens = (await parts.keyring.ask("search.tokens", value=body.value))["tokens"]
    return {"calls": await asyncio.to_thread(_list, parts.database, 200, None, None, tokens)}


@router.get("/api/calls/live", dependencies=[Depends(WATCHING)], tags=["calls"])
async def follow_calls(request: Request) -> StreamingResponse:
    """Server-sent events: each change of the newest calls, until the session ends."""
    parts = parts_of(request)
    session = signed_in(request)

    async def events() -> AsyncIterator[bytes]:
        async for event in parts.live.follow(lambda: parts.sessions.is_live(session, parts.clock())):
            yield event

    return StreamingResponse(events(), media_type="text/event-stream")


def read_newest(database: Database, limit: int) -> list[dict[str, Any]]:
    """The newest calls, for the live feed."""
    return _list(database, limit, None, None)


def _list(
    database: Database, limit: int, before: tuple[datetime, str] | None, state: CallState | None, tokens: list[str] | None = None
) -> list[dict[str, Any]]:
    with database.read() as connection:
        return [show_call(call) for call in list_calls(connection, limit=limit, before=before, state=state, tokens=tokens)]
