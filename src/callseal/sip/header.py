"""Header field values by the grammar of RFC 3261 section 25: lists, parameters, name-addr, Via, CSeq.

Tolerant where RFC 3261 can be read one way only (white space, missing brackets, unquoted display names); whatever can be read two
ways is a PeerError. Invariant: a quoted string never hides a separator.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from callseal.errors import PeerError

CSEQ_LIMIT = 1 << 31
"""RFC 3261 section 8.1.1.5."""

TOKEN = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+")
_VIA = re.compile(
    r"SIP\s*/\s*2\.0\s*/\s*([A-Za-z0-9\-.!%*_+`'~]+)\s+"
    r"(\[[0-9A-Fa-f:.]+\]|[^\s;:,\[\]]+)\s*(?::\s*(\d{1,5}))?\s*(;.*)?",
    re.S,
)
_CSEQ = re.compile(r"(\d+)\s+(\S+)")


@dataclass(frozen=True)
class NameAddr:
    """From, To, Contact: a display name, a URI as text, and the header's own parameters (names in lower case)."""

    display: str
    uri: str
    params: dict[str, str]

    @property
    def tag(self) -> str:
        """The dialog's tag, empty where there is none."""
        return self.params.get("tag", "")


@dataclass(frozen=True)
class Via:
    """One hop: transport, sent-by, and its parameters."""

    transport: str
    host: str
    port: int | None
    params: dict[str, str]

    @property
    def branch(self) -> str:
        """The transaction's id, empty where an RFC 2543 element sent none."""
        return self.params.get("branch", "")


def _pieces(text: str, separator: str) -> Iterator[str]:
    """Split at a separator outside quoted strings and angle brackets."""
    start, quoted, depth, skip = 0, False, 0, False
    for at, char in enumerate(text):
        if skip:
            skip = False
        elif quoted:
            skip, quoted = char == "\\", char != '"'
        elif char == '"':
            quoted = True
        elif char == "<":
            depth += 1
        elif char == ">":
            depth -= 1
        elif char == separator and depth == 0:
            yield text[start:at]
            start = at + 1
        if depth not in (0, 1):
            raise PeerError("header: expected balanced angle brackets")
    if quoted or depth:
        raise PeerError("header: expected a closing quote or bracket")
    yield text[start:]


def split_values(text: str) -> list[str]:
    """The values of a comma-separated header, trimmed. Raises PeerError."""
    return [piece.strip() for piece in _pieces(text, ",")]


def unquote(text: str) -> str:
    """The content of a quoted string, or the text itself."""
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.S)
    return text


def parse_params(text: str) -> dict[str, str]:
    """`;name=value;flag` as a dict; names in lower case, the first of two wins. Raises PeerError."""
    params: dict[str, str] = {}
    first, *rest = _pieces(text, ";")
    if first.strip():
        raise PeerError("parameters: expected ; before the first")
    for item in rest:
        name, _, value = item.partition("=")
        name = name.strip().lower()
        if not TOKEN.fullmatch(name):
            raise PeerError("parameters: expected NAME or NAME=VALUE after ;")
        params.setdefault(name, unquote(value.strip()))
    return params


def parse_name_addr(text: str) -> NameAddr:
    """Read From, To or one Contact. Without brackets, parameters belong to the header (section 20.10). Raises PeerError."""
    text = text.strip()
    before, *rest = _pieces(text, ";")
    params = parse_params("".join(f";{item}" for item in rest))
    before = before.strip()
    if not before.endswith(">"):
        if "<" in before or '"' in before or not before:
            raise PeerError("address: expected <URI> after the display name")
        return NameAddr("", before, params)
    display, _, uri = before[:-1].rpartition("<")
    display = display.strip()
    if display.startswith('"') and not (len(display) > 1 and display.endswith('"')):
        raise PeerError("address: expected a closing quote after the display name")
    return NameAddr(unquote(display), uri.strip(), params)


def parse_via(text: str) -> Via:
    """Read one Via value. Raises PeerError."""
    found = _VIA.fullmatch(text.strip())
    if found is None:
        raise PeerError("Via: expected SIP/2.0/TRANSPORT HOST[:PORT];PARAMETERS")
    return Via(found[1].upper(), found[2].lower(), int(found[3]) if found[3] else None, parse_params(found[4] or ""))


def parse_cseq(text: str) -> tuple[int, str]:
    """Read CSeq as number and method. Raises PeerError."""
    found = _CSEQ.fullmatch(text.strip())
    if found is None or len(found[1]) > 12 or int(found[1]) >= CSEQ_LIMIT:
        raise PeerError("CSeq: expected a number below 2^31 and a method")
    return int(found[1]), found[2]
