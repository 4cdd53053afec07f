"""Copies that left the house: which are outstanding, and the word of who has confirmed that one is gone.

Source: keys-and-recordings section 6; docs/spec/open-call.md section 4, "Exports". Invariants: the list is the custodian's, made
from the log; a confirmation is proved to it like an opening, for this export alone.
"""

import asyncio
from typing import Any, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import HTMLResponse

from callseal.console.asking import begin, prove, taken
from callseal.console.call import read_names, show_export
from callseal.console.listen import Proof
from callseal.console.parts import Parts, parts_of
from callseal.model.clock import format_time
from callseal.model.roles import EXPORT_ENDS
from callseal.store.calls import get_started_at
from callseal.web.guards import KEEPERS

router = APIRouter()


class Gone(BaseModel):
    """Which export, by the log entry that allowed it, and how its end is known."""

    model_config = ConfigDict(extra="forbid")
    export: int = Field(ge=0, lt=1 << 53)
    how: Literal["holder-wrote", "seen-deleted", "medium-destroyed"]


@router.get("/exports", dependencies=[Depends(KEEPERS)], include_in_schema=False)
async def show_exports(request: Request) -> HTMLResponse:
    """The page; its lists come from the API."""
    return parts_of(request).pages.show(request, "exports.html", ends=EXPORT_ENDS)


@router.get("/api/exports", dependencies=[Depends(KEEPERS)], tags=["exports"])
async def send_exports(request: Request) -> dict[str, Any]:
    """Exports, outstanding ones first; at most a thousand."""
    parts = parts_of(request)
    reply = await parts.keyring.ask("exports.list")
    names = await read_names(parts)
    began = await asyncio.to_thread(_began, parts, [export["recording"] for export in reply["exports"]])
    return {
        "outstanding": reply["outstanding"],
        "all": reply["all"],
        "exports": [show_export(export, names) | {"call_at": began.get(export["recording"])} for export in reply["exports"]],
    }


@router.post("/api/exports/gone/begin", dependencies=[Depends(KEEPERS)], tags=["exports"])
async def begin_gone(request: Request, body: Gone) -> dict[str, Any]:
    """Ask the custodian; it answers with what is to be proved."""
    return await begin(request, "confirm", export=body.export, how=body.how)


@router.post("/api/exports/gone", dependencies=[Depends(KEEPERS)], tags=["exports"])
async def finish_gone(request: Request, body: Proof) -> dict[str, Any]:
    """Proved: the log has it, and the copy is no longer outstanding. Raises Denied, Conflict where it was confirmed before."""
    asked = taken(request, body.nonce, "confirm")
    reply = await prove(request, "export.gone", asked, body)
    return {"log_index": reply["log_index"]}


def _began(parts: Parts, recordings: list[str]) -> dict[str, str]:
    with parts.database.read() as connection:
        return {name: format_time(at) for name, at in get_started_at(connection, recordings).items()}
