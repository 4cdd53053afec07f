"""Responses, written for the connection that the request came on.

RFC 3261 sections 8.2.6, 12.1.1 and 21; RFC 3581 (rport). Invariants: Via, From, To, Call-ID and CSeq are the request's own;
nothing in a Via decides where a response goes.
"""

import os
import re
from contextlib import suppress

from callseal.errors import PeerError
from callseal.sip.header import parse_name_addr, split_values
from callseal.sip.message import BRANCH_COOKIE, Headers, Request

REASONS = {
    100: "Trying", 200: "OK", 400: "Bad Request", 403: "Forbidden", 405: "Method Not Allowed", 406: "Not Acceptable",
    415: "Unsupported Media Type", 416: "Unsupported URI Scheme", 420: "Bad Extension",
    481: "Call/Transaction Does Not Exist", 482: "Loop Detected", 487: "Request Terminated", 488: "Not Acceptable Here",
    491: "Request Pending", 500: "Server Internal Error", 501: "Not Implemented", 503: "Service Unavailable",
    505: "Version Not Supported", 513: "Message Too Large",
}  # fmt: skip

ALLOW = "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO"
ACCEPT = "application/sdp, multipart/mixed, application/rs-metadata+xml, application/rs-metadata"
SUPPORTED = "siprec, timer"

_RPORT = re.compile(r";\s*rport\s*(?==?\s*(?:;|$))(?:=\s*)?", re.I)
_TAGGED = re.compile(r";\s*tag\s*=", re.I)


def write_response(
    headers: Headers, status: int, source: tuple[str, int], extra: Headers = (), body: bytes = b"", to_tag: str = ""
) -> bytes:
    """A response to a request with these headers, which came from `source` (address, port).

    `to_tag` is added to To where it has none (section 8.2.6.2).
    """
    lines = [f"SIP/2.0 {status} {REASONS[status]}"]
    vias = [value for name, value in headers if name == "via"]
    lines += [f"Via: {_stamp(value, source) if at == 0 else value}" for at, value in enumerate(vias)]
    if 200 <= status < 300:
        lines += [f"Record-Route: {value}" for name, value in headers if name == "record-route"]
    for name, shown in (("from", "From"), ("to", "To"), ("call-id", "Call-ID"), ("cseq", "CSeq")):
        value = next((value for known, value in headers if known == name), "")
        if name == "to" and to_tag and not _TAGGED.search(value.rpartition(">")[2]):
            value = f"{value};tag={to_tag}"
        if value:
            lines.append(f"{shown}: {value}")
    lines += [f"{name}: {value}" for name, value in extra]
    lines += [f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + body


def _stamp(value: str, source: tuple[str, int]) -> str:
    """Note in the top Via where the request came from (RFC 3261 section 18.2.1, RFC 3581 section 4)."""
    try:
        top, *rest = split_values(value)
    except PeerError:
        return value
    received = f";received={source[0]}"
    asked = _RPORT.subn(lambda _: f";rport={source[1]}", top, count=1)
    if asked[1]:
        top = asked[0] + received
    elif source[0].lower() not in top.lower():
        top += received
    return ", ".join([top, *rest])


def write_bye(invite: Request, local_tag: str, local: tuple[str, int]) -> bytes:
    """Our only request: the end of a session whose late answer we refuse (section 15.1.1), on the connection it came on."""
    target = invite.uri
    with suppress(PeerError, IndexError):
        target = parse_name_addr(invite.get_all("contact")[0]).uri
    host = f"[{local[0]}]" if ":" in local[0] else local[0]
    lines = [
        f"BYE {target} SIP/2.0",
        f"Via: SIP/2.0/TLS {host}:{local[1]};branch={BRANCH_COOKIE}{os.urandom(12).hex()}",
        "Max-Forwards: 70",
        *(f"Route: {value}" for name, value in invite.headers if name == "record-route"),
        f"From: {invite.get('to')};tag={local_tag}",
        f"To: {invite.get('from')}",
        f"Call-ID: {invite.call_id}",
        "CSeq: 1 BYE",
        "Content-Length: 0",
    ]
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")
