"""What a browser or an API client is told when something is refused or fails: the kind and one sentence, never an input.

Invariants: the status comes from `errors.ANSWERS`; `/api/` answers JSON, everything else a page; what was sent is not
repeated (a validation error names the field only).
"""

from typing import Any
from urllib.parse import quote

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.websockets import WebSocket

from callseal.errors import CallsealError, InternalError, Unauthenticated, answer_for
from callseal.web.headers import POLICY_VIOLATION
from callseal.web.pages import Pages

TITLES = {
    400: "That could not be understood",
    401: "Please sign in",
    403: "Not allowed",
    404: "There is no such page",
    405: "Not possible here",
    406: "Not acceptable",
    409: "It has changed meanwhile",
    410: "Gone for good",
    413: "Too much at once",
    416: "Beyond the end",
    422: "Something is missing",
    503: "A part of Callseal is away",
}


def answer_errors(app: FastAPI, pages: Pages) -> None:
    """Register what is said for each kind of error."""

    def say(request: Request, status: int, kind: str, message: str) -> Response:
        if request.url.path.startswith(("/api/", "/hooks/")) or request.headers.get("sec-fetch-dest") in ("empty", "audio"):
            return JSONResponse({"error": kind, "message": message}, status)
        return pages.show(request, "error.html", status, title=TITLES.get(status, "Something went wrong"), message=message)

    async def ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, CallsealError)
        if isinstance(request, WebSocket):
            await request.close(POLICY_VIOLATION)
            return Response()
        if isinstance(error, Unauthenticated) and request.method == "GET" and request.headers.get("sec-fetch-dest") == "document":
            return RedirectResponse(f"/signin?next={quote(request.url.path)}", 303)
        return say(request, answer_for(error).http, type(error).__name__, str(error))

    async def framework(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return say(request, error.status_code, "RequestError", TITLES.get(error.status_code, "Something went wrong"))

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return say(request, 422, "RequestError", "; ".join(_describe(item) for item in error.errors()[:5]))

    async def unforeseen(request: Request, error: Exception) -> Response:
        structlog.get_logger().error("request_failed", path=_pattern(request), kind=type(error).__name__)
        return say(request, 500, InternalError.__name__, "Something went wrong on our side.")

    app.add_exception_handler(CallsealError, ours)
    app.add_exception_handler(HTTPException, framework)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, unforeseen)


def _describe(item: dict[str, Any]) -> str:
    field = ".".join(str(part) for part in item["loc"] if part not in ("body", "query", "path"))
    return f"{field}: {str(item['msg']).lower()}"


def _pattern(request: Request) -> str:
    return str(getattr(request.scope.get("route"), "path", "-"))
