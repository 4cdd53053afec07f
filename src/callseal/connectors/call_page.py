"""Files of a call page as a stranger's browser would get them, over HTTP(S), for whoever watches it from elsewhere.

Invariants: no redirect is followed, no cookie kept, no more is read than the limit; what cannot be fetched is Unavailable.
"""

import http.client
import ssl
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from callseal.errors import ConfigError, Unavailable

TIMEOUT_SECONDS: Final = 10.0
LIMIT_BYTES: Final = 4 << 20


@dataclass(frozen=True)
class Fetched:
    """An answer: status, headers by lower-case name, body."""

    status: int
    headers: dict[str, str]
    body: bytes


class PageHost:
    """One origin. Raises ConfigError where it is none."""

    def __init__(self, origin: str) -> None:
        self._parts = urlsplit(origin)
        if self._parts.scheme not in ("https", "http") or not self._parts.hostname or self._parts.path not in ("", "/"):
            raise ConfigError("URL: expected the origin of a call page, https://HOST")

    def fetch(self, path: str) -> Fetched:
        """Get one path. Raises Unavailable."""
        host, port = self._parts.hostname or "", self._parts.port
        connection: http.client.HTTPConnection
        if self._parts.scheme == "https":
            connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT_SECONDS, context=ssl.create_default_context())
        else:
            connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
        try:
            connection.request("GET", path, headers={"Accept": "*/*"})
            answer = connection.getresponse()
            body = answer.read(LIMIT_BYTES)
            return Fetched(answer.status, {name.lower(): value for name, value in answer.getheaders()}, body)
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable("page: expected an answer, got none") from error
        finally:
            connection.close()
