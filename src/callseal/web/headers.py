"""The outermost layer of every answer: security headers on all, foreign hosts and foreign changes turned away.

Source: CSP Level 3, Trusted Types, Fetch Metadata, HTML (COOP, CORP), RFC 9111 (no-store).
Invariants: no answer leaves without `HEADERS`, errors included; no change (POST, DELETE …) is looked at before its `Origin`
was found to be ours; a body longer than `BODY_LIMIT_BYTES` is not read.
"""

from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from callseal.errors import CallsealError, LimitExceeded, answer_for
from callseal.web.origins import Origins

BODY_LIMIT_BYTES: Final = 64 << 10
SIGNED_PATHS: Final = "/hooks/"
"""What programs send, signed with a secret that no browser has: the signature stands in for the origin."""
SAFE_METHODS: Final = frozenset({"GET", "HEAD"})

CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "media-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)

HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": (
        "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=(), "
        "publickey-credentials-create=(self), publickey-credentials-get=(self)"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


MICROPHONE: Final = {"/private": HEADERS["Permissions-Policy"].replace("microphone=()", "microphone=(self)")}
"""The one page that may use the microphone, and its policy."""
POLICY_VIOLATION: Final = 1008


class Gate:
    """The console as ASGI: `app` with this layer around all of it."""

    def __init__(self, app: ASGIApp, origins: Origins) -> None:
        self.app = app
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check the request's frame, then hand it in; put the headers on whatever comes out."""
        headers = Headers(scope=scope) if scope["type"] != "lifespan" else Headers({})
        host = headers.get("host", "")
        if scope["type"] == "websocket":
            try:
                self._origins.check_host(host)
                self._origins.check_origin(headers.get("origin"), host)
            except CallsealError:
                await send({"type": "websocket.close", "code": POLICY_VIOLATION})
                return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    answer[name] = value
                if policy := MICROPHONE.get(scope["path"]):
                    answer["Permissions-Policy"] = policy
                if self._origins.is_https(host):
                    answer["Strict-Transport-Security"] = "max-age=31536000"
            await send(message)

        try:
            self._origins.check_host(host)
            if scope["method"] not in SAFE_METHODS:
                if not scope["path"].startswith(SIGNED_PATHS):
                    self._origins.check_origin(headers.get("origin"), host)
                _check_length(headers)
        except CallsealError as error:
            refusal = JSONResponse({"error": type(error).__name__, "message": str(error)}, answer_for(error).http)
            await refusal(scope, receive, send_with_headers)
            return
        await self.app(scope, receive, send_with_headers)


def _check_length(headers: Headers) -> None:
    """A body states its length (our pages always do), and it is within the limit."""
    if "transfer-encoding" in headers:
        raise LimitExceeded("body: expected a stated length")
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > BODY_LIMIT_BYTES:
        raise LimitExceeded(f"body: expected at most {BODY_LIMIT_BYTES} bytes")
