"""Exceptions from encryption on the wire: an administrator asks, a compliance officer approves with a passkey, either ends it.

docs/spec/open-call.md section 4, "Exceptions from SRTP". Invariant: here nothing is decided: each step is asked of the custodian
and proved to it, for this exception alone.
"""

from typing import Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import HTMLResponse

from callseal.console.asking import begin, prove, taken
from callseal.console.call import read_names
from callseal.console.listen import Proof
from callseal.console.parts import parts_of
from callseal.model.roles import ADMINISTRATOR, COMPLIANCE_OFFICER
from callseal.web.guards import EXCEPTION_KEEPERS, signed_in

router = APIRouter()


class Ask(BaseModel):
    """What is to be excepted, for how long, and why."""

    model_config = ConfigDict(extra="forbid")
    peer: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")
    network: str = Field(min_length=3, max_length=50)
    interface: str = Field(min_length=1, max_length=15)
    days: int = Field(ge=1, le=30)
    reason: str = Field(min_length=10, max_length=500)


class Which(BaseModel):
    """One exception, by its random id."""

    model_config = ConfigDict(extra="forbid")
    exception: str = Field(pattern=r"^[0-9a-f]{32}$")


@router.get("/exceptions", dependencies=[Depends(EXCEPTION_KEEPERS)], include_in_schema=False)
async def show_exceptions(request: Request) -> HTMLResponse:
    """The page; its list comes from the API."""
    return parts_of(request).pages.show(request, "exceptions.html", asks=signed_in(request).role == ADMINISTRATOR)


@router.get("/api/exceptions", dependencies=[Depends(EXCEPTION_KEEPERS)], tags=["exceptions"])
async def send_exceptions(request: Request) -> dict[str, Any]:
    """What was asked and what stands, as the custodian knows it."""
    parts = parts_of(request)
    reply = await parts.keyring.ask("exceptions.list")
    names, own = await read_names(parts), signed_in(request)
    shown = [
        {
            "exception": item["id"],
            "peer": item["peer"],
            "network": item["network"],
            "interface": item["interface"],
            "stands": item["state"] == "stands",
            "until": item["until"],
            "days": item["days"],
            "reason": item["reason"],
            "asked_by": names.get(item["asked_by"], item["asked_by"]),
            "asked_at": item["asked_at"],
            "approved_by": names.get(item["approved_by"] or "", item["approved_by"]),
            "log_index": item["log_index"],
            "approvable": item["state"] == "asked" and own.role == COMPLIANCE_OFFICER and item["asked_by"] != own.person,
        }
        for item in reply["exceptions"]
    ]
    return {"exceptions": shown}


@router.post("/api/exceptions/ask/begin", dependencies=[Depends(EXCEPTION_KEEPERS)], tags=["exceptions"])
async def begin_ask(request: Request, body: Ask) -> dict[str, Any]:
    """Ask the custodian; it answers with what is to be proved."""
    return await begin(request, "except", **body.model_dump())


@router.post("/api/exceptions/ask", dependencies=[Depends(EXCEPTION_KEEPERS)], tags=["exceptions"])
async def finish_ask(request: Request, body: Proof) -> dict[str, Any]:
    """Proved: it waits for another person. Raises Denied."""
    asked = taken(request, body.nonce, "except")
    reply = await prove(request, "exception.ask", asked, body)
    return {"log_index": reply["log_index"]}


@router.post("/api/exceptions/approve/begin", dependencies=[Depends(EXCEPTION_KEEPERS)], tags=["exceptions"])
async def begin_approve(request: Request, body: Which) -> dict[str, Any]:
    """Ask the custodian; it answers with what is to be proved."""
    return await begin(request, "approve", exception=body.exception)


@router.post("/api/exceptions/approve", dependencies=[Depends(EXCEPTION_KEEPERS)], tags=["exceptions"])
async def finish_approve(request: Request, body: Proof) -> dict[str, Any]:
    """Proved: it stands until its day. Raises Denied, Conflict."""
    asked = taken(request, body.nonce, "approve")
    reply = await prove(request, "exception.approve", asked, body)
    return {"until": reply["until"], "log_index": reply["log_index"]}


@router.post("/api/exceptions/end/begin", dependencies=[Depends(EXCEPTION_KEEPERS)], tags=["exceptions"])
async def begin_end(request: Request, body: Which) -> dict[str, Any]:
    """Ask the custodian; it answers with what is to be proved."""
    return await begin(request, "withdraw", exception=body.exception)


@router.post("/api/exceptions/end", dependencies=[Depends(EXCEPTION_KEEPERS)], tags=["exceptions"])
async def finish_end(request: Request, body: Proof) -> dict[str, Any]:
    """Proved: it holds no longer. Raises Denied."""
    asked = taken(request, body.nonce, "withdraw")
    reply = await prove(request, "exception.end", asked, body)
    return {"log_index": reply["log_index"]}
