"""By what identifiers the phone system may know a recorded call: from headers and metadata, kept sealed with the recording.

RFC 7989 (Session-ID), RFC 7433 (User-to-User; Avaya carries the UCID in it), RFC 7865 (session, group), and vendors' own headers
and elements. They are looked for in bytes, so that metadata which is no XML still gives them. Invariant: few and short.
"""

import re
from typing import Final

from callseal.model.call_id import ID_LIMIT, LENGTH_LIMIT
from callseal.sip.message import Request

HEADERS: Final = (
    "session-id", "cisco-guid", "x-cisco-guid", "x-ucid", "x-avaya-ucid", "x-call-id", "x-callid", "x-original-call-id",
    "x-session-id", "x-genesys-calluuid", "x-twilio-callsid", "x-telnyx-call-control-id", "x-inin-crn",
    "x-broadworks-correlation-info",
)  # fmt: skip
"""Headers whose value is an identifier; behind a semicolon stand parameters."""
_ELEMENTS: Final = (
    rb"(?:sipSessionID|ucid|callid|call-id|callref|callRef|guid|globalCallId|gcid|session-id|sessionid|xcallid|callsid|externalTrackingId)"
)
_ELEMENT: Final = re.compile(rb"<(?:[\w.-]{1,32}:)?" + _ELEMENTS + rb"(?:\s[^<>]{0,200})?>([^<>]{1,256})</", re.I)
_UCID: Final = re.compile(r"(?:00|04)?FA08([0-9A-F]{16})", re.I)
_FROM: Final = re.compile(r";\s*x-(?:refci|nearendguid|farendguid|conf-id|sessionid)\s*=\s*\"?([\w.@-]{4,128})", re.I)


def find_call_ids(request: Request, sessions: tuple[str, ...], groups: tuple[str, ...], raw_metadata: bytes) -> list[str]:
    """Identifiers as they were sent: at most `ID_LIMIT`, the Call-ID first, each once."""
    found = [request.call_id]
    for name in HEADERS:
        value = request.get(name)
        found += [value.partition(";")[0], *(part.partition("=")[2] for part in value.split(";")[1:] if "remote" in part.lower())]
    if ucid := _UCID.search(request.get("user-to-user").partition(";")[0]):
        found.append(ucid[1])
    found += _FROM.findall(request.get("from"))
    found += [*sessions, *groups]
    found += [value.decode("utf-8", "replace").strip() for value in _ELEMENT.findall(raw_metadata[: 64 << 10])]
    kept = [value.strip() for value in found if value.strip() and len(value.strip()) <= LENGTH_LIMIT]
    return list(dict.fromkeys(kept))[:ID_LIMIT]
