"""Signing in and out. The custodian verifies; this page only carries the proof, and keeps the session that follows.

Invariants: a new token at each sign-in, in a cookie no script can read; the answer to a wrong name, password or code is one and
the same; attempts are limited for each address.
"""

from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from callseal.console.parts import parts_of
from callseal.errors import Denied, NotFound, RequestError, TamperedError, Unauthenticated
from callseal.web.guards import ANYONE, COOKIE, SIGNED_IN, session_of, signed_in

router = APIRouter()
REFUSED = "That did not fit. Check the name, the password and the code, or use your passkey."


class SignIn(BaseModel):
    """A passkey's answer, or name, password and code."""

    model_config = ConfigDict(extra="forbid")
    nonce: str = Field(max_length=200)
    response: dict[str, Any] | None = None
    name: str | None = Field(None, max_length=80)
    password: str | None = Field(None, max_length=200)
    code: str | None = Field(None, pattern=r"^[0-9]{6}$")


@router.get("/", dependencies=[Depends(ANYONE)], include_in_schema=False)
async def show_first() -> Response:
    """The list of calls is the first page."""
    return RedirectResponse("/calls", 303)


@router.get("/signin", dependencies=[Depends(ANYONE)], include_in_schema=False)
async def show_signin(request: Request) -> HTMLResponse:
    """The page, which says whether passkeys can work at this address, and why not."""
    return parts_of(request).pages.show(request, "signin.html", **place_of(request))


def place_of(request: Request) -> dict[str, Any]:
    """Whether passkeys work where the browser is, and where they would."""
    origins = parts_of(request).origins
    host = request.headers.get("host", "")
    configured = urlsplit(origins.configured)
    local = configured.hostname == "localhost"
    loopback = host.startswith(("127.", "[::1]", "localhost"))
    return {
        "passkeys": origins.allows_passkeys(host),
        "host": host,
        "origin": origins.configured,
        "tunnel_port": configured.port if local else None,
        "in_the_clear": not origins.is_https(host) and not loopback,
    }


@router.post("/api/signin/begin", dependencies=[Depends(ANYONE)], tags=["people"])
async def begin_signin(request: Request) -> dict[str, Any]:
    """Options for a discoverable passkey, and the custodian's nonce."""
    parts = parts_of(request)
    count_attempt(request)
    reply = await parts.keyring.ask("signin.begin")
    return {"options": reply.get("options"), "nonce": reply["nonce"]}


@router.post("/api/signin/finish", dependencies=[Depends(ANYONE)], tags=["people"])
async def finish_signin(request: Request, body: SignIn) -> JSONResponse:
    """Verified by the custodian: a new session. Raises Unauthenticated, in the same words for every mistake."""
    parts = parts_of(request)
    count_attempt(request)
    fields = body.model_dump(exclude_none=True)
    try:
        reply = await parts.keyring.ask("signin.finish", **fields)
    except (Denied, NotFound, RequestError, TamperedError, Unauthenticated) as error:
        parts.note("SignInRefused", None, {"why": "passkey" if body.response else "password"})
        raise Unauthenticated(REFUSED) from error
    old = session_of(request)
    if old is not None:
        parts.sessions.end(old)
    token = parts.sessions.begin(reply["person"], reply["role"], reply["name"], reply["method"], parts.clock())
    parts.note("SignedIn", None, {"person": reply["person"], "role": reply["role"], "method": reply["method"]})
    answer = JSONResponse({"role": reply["role"], "name": reply["name"]})
    secure = parts.origins.is_https(request.headers.get("host", ""))
    answer.set_cookie(COOKIE, token, httponly=True, samesite="strict", secure=secure, path="/")
    return answer


@router.post("/api/signout", dependencies=[Depends(SIGNED_IN)], tags=["people"])
async def sign_out(request: Request) -> JSONResponse:
    """End this session and wipe what it had opened."""
    parts_of(request).sessions.end(signed_in(request))
    answer = JSONResponse({"ended": True})
    answer.delete_cookie(COOKIE, path="/")
    return answer


@router.get("/api/session", dependencies=[Depends(SIGNED_IN)], tags=["people"])
async def show_session(request: Request) -> dict[str, Any]:
    """Who is signed in; a page that plays asks now and then, so that a listener does not lapse."""
    session = signed_in(request)
    return {"name": session.name, "role": session.role, "method": session.method}


def count_attempt(request: Request) -> None:
    """Raises LimitExceeded where this address tries too often."""
    parts = parts_of(request)
    parts.attempts.count(request.client.host if request.client else "-", parts.clock())
