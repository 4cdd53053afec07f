"""Where a request came from: is this host ours, and was a change asked for by our own page?

Source: RFC 6454 (origin), Fetch `Origin` header; RFC 9110 section 7.2 (Host); W3C Secure Contexts for where passkeys work.
Invariants: a host is ours when it is the configured one, `localhost`, or an address in digits, which no name server can
point elsewhere (so DNS rebinding finds no door); a change without our own `Origin` is refused.
"""

import hmac
import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from callseal.errors import Denied, RequestError

_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9.-]{1,253}))(?::[0-9]{1,5})?")


@dataclass(frozen=True)
class Origins:
    """The one configured origin (`https://name` or `http://localhost:PORT`) and the rule for the others."""

    configured: str
    rp_id: str

    def check_host(self, host: str) -> None:
        """Raises RequestError where `Host` is not a name of ours."""
        if host != urlsplit(self.configured).netloc and not is_unspoofable(host):
            raise RequestError("host: expected the configured name, localhost or an address; see web.origin in the settings")

    def origin_of(self, host: str) -> str:
        """The origin of our own pages when they are asked for under this host."""
        return self.configured if host == urlsplit(self.configured).netloc else f"http://{host}"

    def check_origin(self, origin: str | None, host: str) -> None:
        """Raises Denied where a change was not asked for by our own page."""
        if origin is None or not hmac.compare_digest(origin.encode(), self.origin_of(host).encode()):
            raise Denied("origin: expected a request from this console's own page")

    def is_https(self, host: str) -> bool:
        """Whether the browser reaches us by HTTPS under this host."""
        return self.origin_of(host).startswith("https://")

    def allows_passkeys(self, host: str) -> bool:
        """Whether a browser lets a passkey for `rp_id` be used under this host (secure context, and the name fits)."""
        name = name_of(host)
        fits = name == self.rp_id or name.endswith("." + self.rp_id)
        return fits and (self.is_https(host) or name == "localhost")


def name_of(host: str) -> str:
    """The name or address in a `Host` header, without its port; empty where it is malformed."""
    match = _HOST.fullmatch(host)
    return (match.group(1) or match.group(2)).lower() if match else ""


def is_unspoofable(host: str) -> bool:
    """Whether a `Host` cannot be another's name that points here: `localhost` or an address in digits."""
    name = name_of(host)
    if name == "localhost":
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
