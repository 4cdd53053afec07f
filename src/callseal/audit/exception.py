"""Exceptions from SRTP as the custodian vouches for them: one signed note of all that stand, and signalling believes no other.

docs/spec/log-entry.md section 5. Around it is a C2SP signed-note by the log's key. Its text has four lines:
`callseal/v1/exceptions`, serial (the log's size when it was written), not after, and the exceptions as canonical JSON (RFC 8785).
Invariants: nothing of a note is used before it verifies and after its day; an exception names one peer, one network on one
interface, and its end, at most 30 days after it was made.
"""

import hashlib
import ipaddress
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from callseal.audit import canonical
from callseal.errors import CallsealError, RequestError, TamperedError
from callseal.model.clock import format_time, parse_time

FIRST_LINE = "callseal/v1/exceptions"
LONGEST = timedelta(days=30)
LIMIT = 500
SMALLEST_PREFIX = {4: 16, 6: 48}
"""A directly connected network is not wider than this."""
_ID = re.compile(r"[0-9a-f]{32}")
_PEER = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,14}")


@dataclass(frozen=True)
class ClearException:
    """Voice in the clear from one network on one interface is taken of one peer, until then."""

    id: str
    peer: str
    network: str
    interface: str
    until: datetime

    def plain(self) -> dict[str, Any]:
        """For the note and for its digest."""
        return {
            "id": self.id, "peer": self.peer, "network": self.network, "interface": self.interface,
            "until": format_time(self.until),
        }  # fmt: skip

    def digest(self) -> str:
        """SHA-256 of its canonical JSON, as it stands in the log."""
        return hashlib.sha256(canonical.encode(self.plain())).hexdigest()


@dataclass(frozen=True)
class ExceptionNote:
    """All exceptions that stand. A later note has a higher serial; after `not_after` none is to be believed."""

    serial: int
    not_after: datetime
    exceptions: tuple[ClearException, ...]


def check_place(peer: object, network: object, interface: object) -> None:
    """Raises RequestError where these do not name a peer, a small network and an interface."""
    if not isinstance(peer, str) or not _PEER.fullmatch(peer):
        raise RequestError("peer: expected the name of a phone system")
    if not isinstance(interface, str) or not _INTERFACE.fullmatch(interface):
        raise RequestError("interface: expected the name of a network interface")
    try:
        found = ipaddress.ip_network(network if isinstance(network, str) else "")
    except ValueError as error:
        raise RequestError("network: expected ADDRESS/LENGTH") from error
    if found.prefixlen < SMALLEST_PREFIX[found.version] and not found.is_loopback:
        raise RequestError(f"network: expected one network, at least /{SMALLEST_PREFIX[found.version]}, got /{found.prefixlen}")


def read_exception(value: Any) -> ClearException:
    """What `plain` wrote. Raises TamperedError."""
    try:
        if set(value) != {"id", "peer", "network", "interface", "until"} or not _ID.fullmatch(value["id"]):
            raise TamperedError("exception: expected its five fields")
        check_place(value["peer"], value["network"], value["interface"])
        return ClearException(value["id"], value["peer"], value["network"], value["interface"], parse_time(value["until"]))
    except (RequestError, TypeError, KeyError) as error:
        raise TamperedError("exception: expected a peer, a network, an interface and a time") from error


def encode_exceptions(note: ExceptionNote, sign: Callable[[str], str]) -> str:
    """The signed note; `sign` turns a text, whose lines each end in a newline, into a signed note."""
    listed = canonical.encode([exception.plain() for exception in note.exceptions]).decode()
    return sign(f"{FIRST_LINE}\n{note.serial}\n{format_time(note.not_after)}\n{listed}\n")


def decode_exceptions(note: str, verify: Callable[[str], str]) -> ExceptionNote:
    """The exceptions of a signed note. Raises TamperedError for a foreign signature or a text not in the one form."""
    text = verify(note)
    lines = text.split("\n")
    if len(lines) != 5 or lines[0] != FIRST_LINE or not lines[1].isdecimal():
        raise TamperedError(f"exceptions: expected four lines that begin {FIRST_LINE}")
    try:
        listed = canonical.decode(lines[3].encode())
        read = tuple(read_exception(value) for value in listed) if isinstance(listed, list) else ()
        found = ExceptionNote(int(lines[1]), parse_time(lines[2]), read)
    except CallsealError as error:
        raise TamperedError("exceptions: expected a time and a list in canonical JSON") from error
    if len(found.exceptions) > LIMIT or encode_exceptions(found, str) != text:
        raise TamperedError("exceptions: expected one canonical form")
    return found


def live(exceptions: Iterable[ClearException], now: datetime) -> list[ClearException]:
    """Those that have not ended."""
    return [exception for exception in exceptions if now < exception.until]
