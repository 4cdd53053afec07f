"""Which exceptions from SRTP signalling may believe: those of the custodian's signed note, on a network that is really here.

docs/spec/log-entry.md section 5. Invariants: only a note of the log's pinned key, within its day, and never one older than the
newest seen in this life; a network counts only where a route without a gateway leads to it through the named interface, so that
voice in the clear comes from a tunnel or a neighbour and crosses no router; where anything is in doubt, nothing is excepted.
"""

import ipaddress
import struct
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from callseal.audit.exception import ClearException, decode_exceptions, live
from callseal.audit.note import open_note, parse_vkey
from callseal.config.peers import ClearRtp
from callseal.errors import CallsealError

MAX_NOTE_BYTES = 512 << 10
LOOPBACK = "lo"
_UP_WITHOUT_GATEWAY = 0x1
_GATEWAY = 0x2

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class SignedExceptions:
    """`cards/exceptions.note`, read again whenever its file changes, and looked at again as time passes."""

    def __init__(
        self,
        path: Path,
        vkey: Path,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        routes: Path = Path("/proc/self/net"),
    ) -> None:
        self.path = path
        self._vkey = vkey
        self._now = now
        self._routes = routes
        self._serial = -1
        self.doubts: list[str] = []
        """Why what the last note says does not all hold; short words for the log."""

    def read(self) -> Mapping[str, ClearRtp]:
        """The exceptions that hold, by peer; of several for one peer, the one that ends last."""
        self.doubts = []
        try:
            standing = self._read_note()
        except (OSError, UnicodeDecodeError, CallsealError) as error:
            self.doubts.append(f"the note is not to be believed: {type(error).__name__}")
            return {}
        found: dict[str, ClearRtp] = {}
        for exception in sorted(standing, key=lambda one: one.until):
            network = ipaddress.ip_network(exception.network)
            if is_direct(network, exception.interface, self._routes):
                found[exception.peer] = ClearRtp(network, exception.interface, exception.until)
            else:
                self.doubts.append(f"{exception.peer}: its network is not directly on {exception.interface}")
        return found

    def _read_note(self) -> list[ClearException]:
        if not self.path.exists():
            return []
        if self.path.stat().st_size > MAX_NOTE_BYTES:
            self.doubts.append("the note is too long")
            return []
        verifier = parse_vkey(self._vkey.read_text(encoding="utf-8"))
        note = decode_exceptions(self.path.read_text(encoding="utf-8"), lambda text: open_note(text.encode(), [verifier]).text)
        if note.serial < self._serial:
            self.doubts.append("the note is older than one seen before")
            return []
        self._serial = note.serial
        if self._now() >= note.not_after:
            self.doubts.append("the note is past its day: is the custodian away?")
            return []
        return live(note.exceptions, min(self._now(), note.not_after))


def is_direct(network: Network, interface: str, routes: Path = Path("/proc/self/net")) -> bool:
    """Whether a network lies within one that this machine reaches through the interface without a gateway."""
    if network.is_loopback:
        return interface == LOOPBACK
    read = _read_routes4 if network.version == 4 else _read_routes6
    try:
        direct = read(routes, interface)
    except (OSError, ValueError):
        return False
    return any(isinstance(known, type(network)) and network.subnet_of(known) for known in direct)  # type: ignore[arg-type]


def _read_routes4(routes: Path, interface: str) -> list[Network]:
    found: list[Network] = []
    for line in (routes / "route").read_text(encoding="ascii").splitlines()[1:]:
        name, destination, gateway, flags, _, _, _, mask, *_ = line.split()
        if (
            name == interface
            and int(gateway, 16) == 0
            and int(flags, 16) & (_UP_WITHOUT_GATEWAY | _GATEWAY) == _UP_WITHOUT_GATEWAY
        ):
            address, length = struct.pack("=I", int(destination, 16)), bin(int(mask, 16)).count("1")
            if length:
                found.append(ipaddress.ip_network((address, length)))
    return found


def _read_routes6(routes: Path, interface: str) -> list[Network]:
    found: list[Network] = []
    for line in (routes / "ipv6_route").read_text(encoding="ascii").splitlines():
        destination, length, _, _, gateway, _, _, _, flags, name = line.split()
        if name == interface and int(gateway, 16) == 0 and not int(flags, 16) & _GATEWAY and int(length, 16):
            found.append(ipaddress.ip_network((bytes.fromhex(destination), int(length, 16))))
    return found
