"""The customers' side of private calls, on a host of its own: three static files, the manifest with its proof, one socket.

docs/spec/private-call.md sections 8 and 10; CSP Level 3, Integrity-Policy, RFC 6454. It knows no cookie and no person, and
shares nothing with the console's origin. Invariants: no answer leaves without `headers`; a socket is taken only from a page
origin of the settings; the page is served byte for byte as it was built.
"""

import contextlib
import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from callseal.errors import CallsealError, LimitExceeded, answer_for
from callseal.flows.private_call import Room, Switchboard
from callseal.web.call_page import TYPES, build_page, content_policy
from callseal.web.headers import POLICY_VIOLATION
from callseal.web.limits import Attempts
from callseal.web.line import SocketLine
from callseal.web.origins import is_unspoofable

FRAMES_IN_A_CALL: Final = 200
JOINS_A_MINUTE: Final = 30


@dataclass(frozen=True)
class Desk:
    """What the app works with. `page_origins` are others that serve the page; `trust` gives manifest and proof."""

    origin: str
    page_origins: tuple[str, ...]
    switchboard: Switchboard
    trust: Callable[[], Awaitable[dict[str, Any]]]
    clock: Callable[[], float]

    def allows(self, origin: str | None, host: str) -> bool:
        """Whether a page of this origin may connect here."""
        own = [self.origin, *self.page_origins]
        if is_unspoofable(host):
            own.append(f"http://{host}")
        return origin is not None and any(hmac.compare_digest(origin.encode(), one.encode()) for one in own)


def make_app(desk: Desk) -> "Headed":
    """The portal over its parts."""
    files = build_page()
    attempts = Attempts(JOINS_A_MINUTE)

    async def page(request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        if name not in files:
            return JSONResponse({"error": "NotFound", "message": "There is no such file."}, 404)
        return Response(files[name], headers={"Content-Type": TYPES[name]})

    async def manifest(request: Request) -> Response:
        try:
            answer: Response = JSONResponse(await desk.trust())
        except CallsealError as error:
            answer = JSONResponse({"error": type(error).__name__, "message": str(error)}, answer_for(error).http)
        origin = request.headers.get("origin")
        if origin in desk.page_origins:
            answer.headers["Access-Control-Allow-Origin"] = origin
            answer.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        return answer

    async def signal(socket: WebSocket) -> None:
        if not desk.allows(socket.headers.get("origin"), socket.headers.get("host", "")):
            await socket.close(POLICY_VIOLATION)
            return
        await socket.accept()
        line = SocketLine(socket, desk.clock, FRAMES_IN_A_CALL, last="end")
        try:
            attempts.count(socket.client.host if socket.client else "", desk.clock())
        except LimitExceeded:
            line.send({"type": "end", "reason": "too-many", "by": "server"})
            line.close()
        await _serve(desk.switchboard, line)

    routes = [
        Route("/", page), Route("/manifest", manifest), Route("/{name}", page), WebSocketRoute("/signal", signal),
    ]  # fmt: skip
    return Headed(Starlette(routes=routes), desk)


async def _serve(switchboard: Switchboard, line: SocketLine) -> None:
    """One customer's socket: the first frame joins or rejoins, the others belong to that call."""
    room: Room | None = None
    try:
        async with contextlib.aclosing(line.frames()) as frames:
            async for frame in frames:
                if room is not None:
                    switchboard.customer_says(room, line, frame)
                elif frame["type"] == "join":
                    room = await switchboard.join(line, frame)
                elif frame["type"] == "rejoin":
                    room = switchboard.rejoin(line, frame)
                if room is None:
                    break
    except CallsealError:
        line.send({"type": "end", "reason": "server", "by": "server"})
    finally:
        if room is not None:
            switchboard.customer_gone(room, line)


class Headed:
    """The portal as ASGI, with its headers on every answer."""

    def __init__(self, app: ASGIApp, desk: Desk) -> None:
        self.app = app
        self._https = desk.origin.startswith("https://")
        self._name = urlsplit(desk.origin).netloc
        self._headers = {
            "Content-Security-Policy": content_policy() + "; frame-ancestors 'none'",
            "Integrity-Policy": "blocked-destinations=(script)",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "no-referrer",
            "Permissions-Policy": "microphone=(self), camera=(), display-capture=(), geolocation=(), payment=(), usb=()",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Embedder-Policy": "require-corp",
            "Cache-Control": "no-store",
        }
        if self._https:
            self._headers["Strict-Transport-Security"] = "max-age=31536000"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check the host, hand the request in, put the headers on what comes out."""
        host = dict(scope.get("headers", ())).get(b"host", b"").decode("latin-1")
        app = self.app if scope["type"] == "lifespan" or host == self._name or is_unspoofable(host) else _refuse_host

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                names = {name.lower() for name, _ in message["headers"]}
                more = dict(self._headers, **{"Cross-Origin-Resource-Policy": "same-origin"})
                message["headers"] += [
                    (name.lower().encode(), value.encode()) for name, value in more.items() if name.lower().encode() not in names
                ]
            await send(message)

        await app(scope, receive, send_with_headers)


async def _refuse_host(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": POLICY_VIOLATION})
        return
    await JSONResponse({"error": "RequestError", "message": "host: expected the one of the settings"}, 400)(scope, receive, send)
