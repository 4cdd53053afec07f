"""A SIP URI as text in, parts out.

RFC 3261 section 19.1. Schemes other than sip and sips keep their rest whole in `host`.
Invariant: no white space, no angle bracket and no control character survives in a part.
"""

import re
from dataclasses import dataclass

from callseal.errors import PeerError

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*")
_FORBIDDEN = re.compile(r"[\x00-\x20<>\"\x7f]")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.\-]+)(?::(\d{1,5}))?")


@dataclass(frozen=True)
class Uri:
    """Parts of a URI; `user` is as written (escapes kept), `params` keep their order, `headers` is what follows `?`."""

    scheme: str
    user: str
    host: str
    port: int | None
    params: tuple[tuple[str, str], ...]
    headers: str

    @property
    def is_sip(self) -> bool:
        """Whether a user agent server may serve it (RFC 3261 section 8.2.2.1)."""
        return self.scheme in ("sip", "sips")


def parse_uri(text: str) -> Uri:
    """Read a Request-URI or addr-spec. Raises PeerError."""
    if _FORBIDDEN.search(text):
        raise PeerError("URI: expected no white space, quotes or angle brackets")
    scheme, colon, rest = text.partition(":")
    if not colon or not _SCHEME.fullmatch(scheme):
        raise PeerError("URI: expected SCHEME:…")
    scheme = scheme.lower()
    if scheme not in ("sip", "sips"):
        return Uri(scheme, "", rest, None, (), "")
    user, at, place = rest.rpartition("@")
    if at and not user:
        raise PeerError("URI: expected a user before @")
    place, _, headers = place.partition("?")
    address, *parameters = place.split(";")
    found = _HOST.fullmatch(address)
    if found is None or int(found[2] or 1) not in range(1, 65536):
        raise PeerError("URI: expected HOST or HOST:PORT")
    pairs = tuple((name.lower(), value) for name, _, value in (item.partition("=") for item in parameters if item))
    return Uri(scheme, user, found[1].lower(), int(found[2]) if found[2] else None, pairs, headers)
