"""The witness over HTTP: one request, one answer, with limits; a witness that is away is Unavailable.

C2SP tlog-witness. No redirect is followed, no proxy of the environment is used.
"""

import asyncio
import http.client
import ssl
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from callseal.errors import ConfigError, Unavailable

TIMEOUT_SECONDS: Final = 5.0
ANSWER_LIMIT_BYTES: Final = 16 << 10


class HttpWitness:
    """A witness at `http://` (this machine) or `https://`."""

    def __init__(self, url: str) -> None:
        """Raises ConfigError where this is no address of a witness."""
        parts = urlsplit(url)
        local = parts.hostname in ("localhost", "127.0.0.1", "::1")
        if parts.scheme not in ("https", "http") or not parts.hostname or (parts.scheme == "http" and not local):
            raise ConfigError("private.witness: expected https://HOST, or http:// on this machine")
        self._parts = parts

    async def add_checkpoint(self, body: bytes) -> tuple[int, bytes]:
        """Send one `add-checkpoint` request; status and body. Raises Unavailable."""
        return await asyncio.to_thread(self._post, body)

    def _post(self, body: bytes) -> tuple[int, bytes]:
        host, port = self._parts.hostname or "", self._parts.port
        connection: http.client.HTTPConnection
        if self._parts.scheme == "https":
            connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT_SECONDS, context=ssl.create_default_context())
        else:
            connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
        try:
            connection.request("POST", f"{self._parts.path.rstrip('/')}/add-checkpoint", body, {"Content-Type": "text/plain"})
            answer = connection.getresponse()
            return answer.status, answer.read(ANSWER_LIMIT_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable("witness: expected an answer, got none") from error
        finally:
            connection.close()


class LocalWitness:
    """The witness that `callseal up` runs on this machine: its address stands in `run/`, and changes with each start."""

    def __init__(self, address: Path) -> None:
        self._address = address

    async def add_checkpoint(self, body: bytes) -> tuple[int, bytes]:
        """As `HttpWitness.add_checkpoint`. Raises Unavailable."""
        try:
            where = self._address.read_text(encoding="ascii").strip()
        except OSError as error:
            raise Unavailable("witness: expected it to run on this machine") from error
        return await HttpWitness(f"http://{where}").add_checkpoint(body)
