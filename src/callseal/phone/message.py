"""The phone's own SIP messages: writes requests and replies, reads what comes back. No socket here.

RFC 3261 sections 7, 17.1.1.3 (ACK), 18.3 (framing by Content-Length). Written apart from `callseal.sip` so that each checks the
other. Invariants: header names are compared without case, a message is never longer than its limits, and a malformed one ends the
connection (PeerError).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from callseal.errors import LimitExceeded, PeerError

MAX_HEAD_BYTES = 16 << 10
MAX_BODY_BYTES = 64 << 10

_COMPACT = {"v": "via", "f": "from", "t": "to", "i": "call-id", "m": "contact", "l": "content-length", "c": "content-type"}

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Incoming:
    """A response (`status` above 0) or a request (`method` not empty), with its headers in order."""

    status: int
    reason: str
    method: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str:
        """The first value of a header, empty where there is none."""
        return next((value for known, value in self.headers if known == name.lower()), "")

    def all_headers(self, name: str) -> list[str]:
        """Every value of a header that may be repeated, in order."""
        return [value for known, value in self.headers if known == name.lower()]

    @property
    def sequence(self) -> tuple[int, str]:
        """CSeq as number and method. Raises PeerError."""
        number, _, method = self.header("CSeq").partition(" ")
        if not number.isdecimal() or not method.strip():
            raise PeerError("CSeq: expected a number and a method")
        return int(number), method.strip()


def write_request(method: str, uri: str, headers: Headers, body: bytes = b"") -> bytes:
    """One request with its Content-Length."""
    return _write(f"{method} {uri} SIP/2.0", headers, body)


def write_reply(request: Incoming, status: int, reason: str) -> bytes:
    """A reply without a body to a request that the recorder sent us (RFC 3261 section 8.2.6.2)."""
    copied = [(name.title(), value) for name, value in request.headers if name in ("via", "from", "to", "call-id", "cseq")]
    return _write(f"SIP/2.0 {status} {reason}", copied, b"")


def _write(first: str, headers: Headers, body: bytes) -> bytes:
    lines = [first, *(f"{name}: {value}" for name, value in headers), f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


class MessageReader:
    """Bytes in, messages out, for one connection."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Incoming]:
        """Take bytes as they came; yields each whole message. Raises PeerError or LimitExceeded."""
        self._buffer += data
        while True:
            while self._buffer.startswith(b"\r\n"):
                del self._buffer[:2]
            end = self._buffer.find(b"\r\n\r\n")
            if end > MAX_HEAD_BYTES or (end < 0 and len(self._buffer) > MAX_HEAD_BYTES):
                raise LimitExceeded(f"SIP head: expected at most {MAX_HEAD_BYTES} bytes")
            if end < 0:
                return
            first, headers = _read_head(bytes(self._buffer[:end]))
            length = _content_length(headers)
            if len(self._buffer) < end + 4 + length:
                return
            body = bytes(self._buffer[end + 4 : end + 4 + length])
            del self._buffer[: end + 4 + length]
            yield _read_first(first, headers, body)


def _read_head(head: bytes) -> tuple[str, tuple[tuple[str, str], ...]]:
    try:
        lines = head.decode("utf-8").split("\r\n")
    except UnicodeDecodeError as error:
        raise PeerError("SIP head: expected UTF-8") from error
    headers: list[tuple[str, str]] = []
    for line in lines[1:]:
        if line[:1] in (" ", "\t") and headers:
            headers[-1] = (headers[-1][0], f"{headers[-1][1]} {line.strip()}")
            continue
        name, colon, value = line.partition(":")
        if not colon:
            raise PeerError("SIP header: expected NAME: VALUE")
        name = name.strip().lower()
        headers.append((_COMPACT.get(name, name), value.strip()))
    return lines[0], tuple(headers)


def _content_length(headers: tuple[tuple[str, str], ...]) -> int:
    text = next((value for name, value in headers if name == "content-length"), "")
    if not text.isdecimal():
        raise PeerError("Content-Length: expected a number; over TLS it is required (RFC 3261 section 18.3)")
    length = int(text)
    if length > MAX_BODY_BYTES:
        raise LimitExceeded(f"SIP body: expected at most {MAX_BODY_BYTES} bytes, got {length}")
    return length


def _read_first(first: str, headers: tuple[tuple[str, str], ...], body: bytes) -> Incoming:
    words = first.split(" ", 2)
    if len(words) >= 2 and words[0] == "SIP/2.0" and len(words[1]) == 3 and words[1].isdecimal():
        return Incoming(int(words[1]), words[2] if len(words) == 3 else "", "", headers, body)
    if len(words) == 3 and words[2] == "SIP/2.0":
        return Incoming(0, "", words[0], headers, body)
    raise PeerError("SIP first line: expected a request or a response of SIP/2.0")
