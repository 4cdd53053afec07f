"""Enrolling with a link that works once. Its token comes in the body of a request, never in a request line.

Invariants: the token and the TOTP seed pass through and are not kept; attempts are limited for each address.
"""

from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

import segno
from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import HTMLResponse

from callseal.console.parts import parts_of
from callseal.console.signin import count_attempt, place_of
from callseal.web.guards import ANYONE

router = APIRouter()


class Begin(BaseModel):
    """Which invitation, and how this person will prove themselves."""

    model_config = ConfigDict(extra="forbid")
    token: str = Field(min_length=1, max_length=200)
    kind: Literal["passkey", "totp"]


class Finish(BaseModel):
    """The new passkey, or the new password with a first code."""

    model_config = ConfigDict(extra="forbid")
    token: str = Field(min_length=1, max_length=200)
    nonce: str = Field(max_length=200)
    response: dict[str, Any] | None = None
    password: str | None = Field(None, min_length=12, max_length=200)
    code: str | None = Field(None, pattern=r"^[0-9]{6}$")


@router.get("/enrol", dependencies=[Depends(ANYONE)], include_in_schema=False)
async def show_enrol(request: Request) -> HTMLResponse:
    """The page; the link's token stands after the # and is not sent here."""
    return parts_of(request).pages.show(request, "enrol.html", **place_of(request))


@router.post("/api/enrol/begin", dependencies=[Depends(ANYONE)], tags=["people"])
async def begin_enrol(request: Request, body: Begin) -> dict[str, Any]:
    """Passkey options, or the TOTP seed as text and as the squares of a QR code."""
    count_attempt(request)
    reply = await parts_of(request).keyring.ask("enrol.begin", token=body.token, kind=body.kind)
    if body.kind == "passkey":
        return {"options": reply["options"], "nonce": reply["nonce"]}
    uri = str(reply["secret_uri"])
    squares = ["".join("1" if square else "0" for square in row) for row in segno.make(uri, error="m").matrix]
    secret = parse_qs(urlsplit(uri).query)["secret"][0]
    return {"squares": squares, "secret": secret, "nonce": reply["nonce"]}


@router.post("/api/enrol/finish", dependencies=[Depends(ANYONE)], tags=["people"])
async def finish_enrol(request: Request, body: Finish) -> dict[str, str]:
    """Verified by the custodian: the person exists, and signs in next."""
    count_attempt(request)
    reply = await parts_of(request).keyring.ask("enrol.finish", **body.model_dump(exclude_none=True))
    return {"role": str(reply["role"])}
