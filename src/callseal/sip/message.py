"""SIP messages off a stream: bytes in; requests, responses and refusals out.

RFC 3261 sections 7, 18.3 (framing by Content-Length), 25. Tolerates what real phone systems send: CRLF keep-alives (RFC 5626
section 3.5.1), folded lines, compact names, blanks before the colon, headers in any order.
Invariants: `feed` never raises; no more than the limits is ever held; a request handed out has one From, To, Call-ID and CSeq, a
Via, and a CSeq that names its method.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from callseal.errors import LimitExceeded, PeerError, answer_for
from callseal.sip.header import TOKEN, NameAddr, Via, parse_cseq, parse_name_addr, parse_via, split_values
from callseal.sip.uri import Uri, parse_uri

HEAD_LIMIT_BYTES = 32 << 10
LINE_LIMIT_BYTES = 8 << 10
HEADER_LIMIT = 200
BODY_LIMIT_BYTES = 64 << 10
SKIP_LIMIT_BYTES = 1 << 20
"""A body over the limit and up to this is read past, so that the connection's other calls go on; a longer one closes it."""

COMPACT = {
    "a": "accept-contact", "b": "referred-by", "c": "content-type", "d": "request-disposition", "e": "content-encoding",
    "f": "from", "i": "call-id", "j": "reject-contact", "k": "supported", "l": "content-length", "m": "contact",
    "o": "event", "r": "refer-to", "s": "subject", "t": "to", "u": "allow-events", "v": "via", "x": "session-expires",
}  # fmt: skip
_SINGLE = ("from", "to", "call-id", "cseq")
_BREAK = re.compile(r"[\r\n]")
BRANCH_COOKIE = "z9hG4bK"

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Request:
    """A request that holds what every request must hold. Header names are in lower case, in the order they came."""

    method: str
    uri: str
    headers: Headers
    body: bytes = field(default=b"", repr=False)

    def get(self, name: str) -> str:
        """The first value of a header, empty where there is none."""
        return first_value(self.headers, name)

    def get_all(self, name: str) -> list[str]:
        """Every value of a header, lists split. Raises PeerError."""
        return [value for known, text in self.headers if known == name for value in split_values(text)]

    @cached_property
    def target(self) -> Uri:
        """The Request-URI."""
        return parse_uri(self.uri)

    @cached_property
    def via(self) -> Via:
        """The top Via: who sent this to us."""
        return parse_via(split_values(self.get("via"))[0])

    @cached_property
    def from_(self) -> NameAddr:
        """From."""
        return parse_name_addr(self.get("from"))

    @cached_property
    def to(self) -> NameAddr:
        """To; a tag in it names a dialog of ours."""
        return parse_name_addr(self.get("to"))

    @property
    def call_id(self) -> str:
        """Call-ID."""
        return self.get("call-id")

    @cached_property
    def cseq(self) -> int:
        """The number in CSeq."""
        return parse_cseq(self.get("cseq"))[0]

    def check(self) -> None:
        """Raises PeerError where a required header is missing, doubled or malformed (section 8.1.1)."""
        names = Counter(name for name, _ in self.headers)
        for name in _SINGLE:
            if names[name] != 1:
                raise PeerError(f"{name}: expected one, got {names[name]}")
        if not self.get("via"):
            raise PeerError("via: expected at least one")
        if not self.call_id or any(char.isspace() for char in self.call_id):
            raise PeerError("call-id: expected one word")
        if parse_cseq(self.get("cseq"))[1] != self.method:
            raise PeerError("CSeq: expected the method of the request")
        if self.via.branch == BRANCH_COOKIE:
            raise PeerError("Via branch: expected a unique part after the cookie")
        if not self.from_.uri or not self.to.uri:
            raise PeerError("From, To: expected a URI")
        if self.target.headers:
            raise PeerError("Request-URI: expected no headers in it (section 19.1.1)")
        if (hops := self.get("max-forwards")) and not (hops.isdecimal() and int(hops[:9]) < 1000):
            raise PeerError("Max-Forwards: expected a small number")


@dataclass(frozen=True)
class Response:
    """A response; a recording server asks nothing, so none is expected."""

    status: int
    headers: Headers


@dataclass(frozen=True)
class Malformed:
    """What could not be understood: the status it deserves, what of its headers could be read, and whether framing is lost."""

    status: int
    why: str
    method: str = ""
    headers: Headers = ()
    close: bool = False


def first_value(headers: Headers, name: str) -> str:
    """The first value of a header, empty where there is none."""
    return next((value for known, value in headers if known == name), "")


class MessageReader:
    """Bytes in, messages out, for one connection. After a `Malformed` with `close`, nothing more comes."""

    def __init__(self, body_limit_bytes: int = BODY_LIMIT_BYTES) -> None:
        self._body_limit_bytes = body_limit_bytes
        self._buffer = bytearray()
        self._head: tuple[str, Headers, int] | None = None
        self._skip = 0
        self._closed = False

    @property
    def is_waiting(self) -> bool:
        """Whether part of a message is held, whose rest must come soon."""
        return bool(self._buffer) or self._head is not None or self._skip > 0

    def feed(self, data: bytes) -> Iterator[Request | Response | Malformed]:
        """Take bytes as they came; yields each whole message, in order."""
        if not self._closed:
            self._buffer += data
        while not self._closed:
            if self._skip:
                skipped = min(self._skip, len(self._buffer))
                del self._buffer[:skipped]
                self._skip -= skipped
                if self._skip:
                    return
            if self._head is None:
                found = self._read_head()
                if found is None:
                    return
                if isinstance(found, Malformed):
                    self._close_after(found)
                    yield found
                    continue
                self._head = found
            start, headers, length = self._head
            if len(self._buffer) < length:
                return
            body = bytes(self._buffer[:length])
            del self._buffer[:length]
            self._head = None
            yield _make_message(start, headers, body)

    def _close_after(self, refusal: Malformed) -> None:
        if refusal.close:
            self._closed = True
            self._buffer.clear()

    def _read_head(self) -> tuple[str, Headers, int] | Malformed | None:
        while self._buffer.startswith(b"\r\n"):
            del self._buffer[:2]
        end = self._buffer.find(b"\r\n\r\n", 0, HEAD_LIMIT_BYTES + 4)
        if end < 0:
            if len(self._buffer) > HEAD_LIMIT_BYTES:
                return Malformed(513, f"head: expected at most {HEAD_LIMIT_BYTES} bytes", close=True)
            return None
        head = self._buffer[:end].decode("utf-8", "surrogateescape")
        del self._buffer[: end + 4]
        start, headers, bad = _split_head(head)
        method = start.partition(" ")[0] if not start.startswith("SIP/") else ""
        try:
            length = _content_length(headers)
        except PeerError as error:
            return Malformed(400, str(error), method, headers, close=True)
        if length > self._body_limit_bytes:
            self._skip = length
            why = f"body: expected at most {self._body_limit_bytes} bytes, got {length}"
            return Malformed(513, why, method, headers, close=length > SKIP_LIMIT_BYTES)
        if bad is not None:
            self._skip = length
            return Malformed(answer_for(bad).sip, str(bad), method, headers)
        return start, headers, length


def _split_head(head: str) -> tuple[str, Headers, PeerError | LimitExceeded | None]:
    """The start line, the headers that can be read, and the first thing that is wrong."""
    lines = head.split("\r\n")
    headers: list[list[str]] = []
    bad: PeerError | LimitExceeded | None = None
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if line[:1] in (" ", "\t") and headers:
            headers[-1][1] = f"{headers[-1][1]} {line.strip()}".strip()
        elif not colon or not TOKEN.fullmatch(name.strip()):
            bad = bad or PeerError("header: expected NAME: VALUE")
        else:
            name = name.strip().lower()
            headers.append([COMPACT.get(name, name), value.strip()])
    if len(headers) > HEADER_LIMIT:
        bad = LimitExceeded(f"headers: expected at most {HEADER_LIMIT}, got {len(headers)}")
    elif any(len(value) > LINE_LIMIT_BYTES for _, value in headers) or len(lines[0]) > LINE_LIMIT_BYTES:
        bad = LimitExceeded(f"line: expected at most {LINE_LIMIT_BYTES} bytes")
    elif any(_BREAK.search(value) for _, value in headers) or _BREAK.search(lines[0]):
        bad = PeerError("header: expected no bare CR or LF")
    kept = () if bad is not None and _BREAK.search("".join(value for _, value in headers)) else headers[:HEADER_LIMIT]
    return lines[0], tuple((name, value[:LINE_LIMIT_BYTES]) for name, value in kept), bad


def _content_length(headers: Headers) -> int:
    """Section 18.3: required on a stream; tolerated missing where no Content-Type announces a body."""
    texts = [value for name, value in headers if name == "content-length"]
    if not texts and not first_value(headers, "content-type"):
        return 0
    if len(texts) != 1 or not (texts[0].isascii() and texts[0].isdecimal() and len(texts[0]) <= 10):
        raise PeerError("Content-Length: expected one number; a stream cannot be read without it")
    return int(texts[0])


def _make_message(start: str, headers: Headers, body: bytes) -> Request | Response | Malformed:
    if start.startswith("SIP/"):
        version, _, rest = start.partition(" ")
        code = rest.partition(" ")[0]
        if version != "SIP/2.0" or len(code) != 3 or not (code.isascii() and code.isdecimal()) or code[0] not in "123456":
            return Malformed(0, "status line: expected SIP/2.0 and a three-digit code")
        return Response(int(code), headers)
    words = start.split(" ")
    method = words[0]
    if len(words) != 3 or not TOKEN.fullmatch(method):
        return Malformed(400, "request line: expected METHOD URI SIP/2.0", method, headers)
    if words[2].upper() != "SIP/2.0":
        status = 505 if re.fullmatch(r"SIP/\d+\.\d+", words[2], re.I) else 400
        return Malformed(status, "request line: expected SIP/2.0", method, headers)
    request = Request(method, words[1], headers, body)
    try:
        request.check()
    except PeerError as error:
        return Malformed(400, str(error), method, headers)
    return request
