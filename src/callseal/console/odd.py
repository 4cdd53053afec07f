"""What each phone system sends that is odd: for the administrator, in plain words and in the vendor's."""

from typing import Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import HTMLResponse

from callseal.console.parts import Parts, parts_of
from callseal.model.clock import format_time
from callseal.model.oddity import SeenOddity
from callseal.sip.oddities import ODDITIES, Weight
from callseal.store.oddities import list_oddities
from callseal.web.guards import READERS

WEIGHTS = {Weight.ALARM: "look at this", Weight.LESS: "less is known", Weight.NOTE: "harmless"}
"""In words, the weightiest first."""

router = APIRouter()


@router.get("/odd", dependencies=[Depends(READERS)], include_in_schema=False)
def show_page(request: Request) -> HTMLResponse:
    """The page: a table for each phone system."""
    parts = parts_of(request)
    return parts.pages.show(request, "odd.html", peers=_by_peer(parts))


@router.get("/api/odd", dependencies=[Depends(READERS)], tags=["phone systems"])
def send_oddities(request: Request) -> dict[str, Any]:
    """The same as data: for each phone system, what it sends that is odd, the weightiest first."""
    shown = _by_peer(parts_of(request))
    for row in (row for rows in shown.values() for row in rows):
        row |= {"first_at": format_time(row["first_at"]), "last_at": format_time(row["last_at"])}
    return {"peers": shown}


def _by_peer(parts: Parts) -> dict[str, list[dict[str, Any]]]:
    with parts.database.read() as connection:
        seen = list_oddities(connection)
    shown: dict[str, list[dict[str, Any]]] = {}
    for odd in seen:
        if odd.name in ODDITIES:
            shown.setdefault(odd.peer, []).append(_show(odd))
    for rows in shown.values():
        rows.sort(key=lambda row: (list(WEIGHTS).index(row["weight"]), -row["times"]))
    return shown


def _show(odd: SeenOddity) -> dict[str, Any]:
    known = ODDITIES[odd.name]
    return {
        "name": odd.name, "words": known.words, "effect": known.effect, "terms": known.terms, "weight": known.weight,
        "weight_words": WEIGHTS[known.weight], "times": odd.times, "first_at": odd.first_at, "last_at": odd.last_at,
        "last_recording": odd.last_recording,
    }  # fmt: skip
