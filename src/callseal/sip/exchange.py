"""One request and its response, and what the recorder wants done: its outputs, as plain values.

Replies go to the connection that the request came on (RFC 3261 section 18.2.2 for reliable transports); media orders follow
docs/architecture.md, "Media control"; reports are events and hold no personal data.
"""

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from callseal.config.peers import Peer
from callseal.sip.message import Headers, Request
from callseal.sip.response import ALLOW, SUPPORTED, write_response
from callseal.sip.transaction import Transaction

_SIPS = re.compile(r"[^<,]*<?\s*sips:", re.I)


@dataclass(frozen=True)
class Connection:
    """Where a message came from: a connection's number, whose it is, its two ends, and its measured TLS version and suite."""

    id: int
    peer: Peer
    source: tuple[str, int]
    local: tuple[str, int]
    transport: str


@dataclass(frozen=True)
class Send:
    """Bytes for a connection; with `close`, the last ones."""

    connection: int
    data: bytes = field(repr=False)
    close: bool = False


@dataclass(frozen=True)
class OpenMedia:
    """Open a recording; the answer comes back as `media_answered` or `media_failed`. `request` is `media.open`."""

    recording: str
    request: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class UpdateMedia:
    """Change a recording's streams; answered like `OpenMedia`."""

    recording: str
    streams: list[dict[str, Any]] = field(repr=False)


@dataclass(frozen=True)
class UpdateMeta:
    """Seal what was told later of a call."""

    recording: str
    meta: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class CloseMedia:
    """End a recording: `bye`, `cancel`, `signalling_lost` or `refused`."""

    recording: str
    reason: str


@dataclass(frozen=True)
class Report:
    """An event, as the table in docs/architecture.md has it."""

    kind: str
    recording: str | None
    data: dict[str, Any]


Output = Send | OpenMedia | UpdateMedia | UpdateMeta | CloseMedia | Report


@dataclass
class Exchange:
    """A request on a connection and the transaction that remembers its response."""

    connection: Connection
    request: Request
    transaction: Transaction
    began: datetime

    def reply(self, status: int, extra: Headers = (), body: bytes = b"", to_tag: str = "") -> Send:
        """The response, remembered for when the request comes again."""
        data = write_response(self.request.headers, status, self.connection.source, extra, body, to_tag)
        self.transaction.response = data
        return Send(self.connection.id, data)

    def accept(self, body: bytes, to_tag: str) -> Send:
        """200 OK with our Contact (RFC 7866 section 6.2: `+sip.srs`) and the peer's session timer; `body` is SDP or nothing."""
        host, port = self.connection.local
        shown = f"[{host}]" if ":" in host else host
        place = f"recorder@{shown}:{port}"
        contact = f"<sips:{place}>" if _asks_for_sips(self.request) else f"<sip:{place};transport=tls>"
        extra: Headers = (
            ("Contact", f"{contact};+sip.srs"),
            ("Allow", ALLOW),
            ("Supported", SUPPORTED),
            *_session_timer(self.request),
        )
        if body:
            extra = (*extra, ("Content-Type", "application/sdp"))
        return self.reply(200, extra, body, to_tag=to_tag)


def _asks_for_sips(request: Request) -> bool:
    """Whether our Contact must be a SIPS URI (RFC 3261 section 12.1.1): a client that asks for it ends the session otherwise."""
    route = request.get("record-route") or request.get("contact")
    return request.uri.lower().startswith("sips:") or bool(_SIPS.match(route))


def _session_timer(request: Request) -> Headers:
    """RFC 4028 section 9: the peer refreshes; we never do, so a timer that asks us to is not taken."""
    asked = request.get("session-expires")
    seconds, _, params = asked.partition(";")
    if not seconds.strip().isdecimal() or "refresher=uas" in params.replace(" ", "").lower():
        return ()
    return (("Session-Expires", f"{int(seconds.strip()[:9])};refresher=uac"), ("Require", "timer"))
