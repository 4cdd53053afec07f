"""The phone systems that may call in: `peers/NAME.toml`, one file each, written by the administrator.

Keys: `certificate_sha256` (hex of the DER certificate, or a list of them), `class` (of recording), `srtp` (only `require`).
A certificate that our own authority did not issue lies beside it as `NAME.pem`. An unknown key or a wrong value is a ConfigError.
"""

import ipaddress
import re
import tomllib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from callseal.errors import ConfigError

PEER_LIMIT = 500
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_CLASS = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class ClearRtp:
    """A live exception: RTP in the clear is taken from this network, through this interface, until then, and is called so."""

    network: Network
    interface: str
    until: datetime

    @property
    def label(self) -> str:
        """What stands on every call that used it."""
        return f"clear, by exception until {self.until.day} {self.until:%b %Y}"


@dataclass(frozen=True)
class Peer:
    """One phone system. Its certificates, by fingerprint, are who it is; nothing that it says of itself is."""

    name: str
    fingerprints: frozenset[str]
    recording_class: str = "default"
    srtp: str = "require"
    clear_rtp: ClearRtp | None = None
    """Never read from the peer's file."""

    def may_be_clear(self, now: datetime) -> ClearRtp | None:
        """The exception that holds now, if any; every use asks again."""
        return self.clear_rtp if self.clear_rtp is not None and now < self.clear_rtp.until else None


def load_peers(folder: Path) -> dict[str, Peer]:
    """Every peer by certificate fingerprint (lower-case hex). Raises ConfigError naming the file."""
    found: dict[str, Peer] = {}
    files = sorted(folder.glob("*.toml"))
    if len(files) > PEER_LIMIT:
        raise ConfigError(f"peers: expected at most {PEER_LIMIT}, got {len(files)}")
    for path in files:
        peer = read_peer(path)
        for fingerprint in peer.fingerprints:
            if fingerprint in found:
                raise ConfigError(f"peers/{path.name}: its certificate is {found[fingerprint].name}'s already")
            found[fingerprint] = peer
    return found


def read_peer(path: Path) -> Peer:
    """Read one peer's file. Raises ConfigError."""
    where = f"peers/{path.name}"
    if not _NAME.fullmatch(path.stem):
        raise ConfigError(f"{where}: expected a name of lower-case letters, digits, dot, dash and underscore")
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{where}: {error}") from error
    unknown = set(table) - {"certificate_sha256", "class", "srtp"}
    if unknown:
        raise ConfigError(f"{where}: unknown setting {sorted(unknown)[0]}")
    given = table.get("certificate_sha256", [])
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise ConfigError(f"{where}: certificate_sha256: expected a fingerprint or a list of them")
    fingerprints = frozenset(text.replace(":", "").lower() for text in texts)
    if not all(_SHA256.fullmatch(text) for text in fingerprints):
        raise ConfigError(f"{where}: certificate_sha256: expected 64 hex digits")
    recording_class = table.get("class", "default")
    if not isinstance(recording_class, str) or not _CLASS.fullmatch(recording_class):
        raise ConfigError(f"{where}: class: expected lower-case letters, digits and dashes")
    if table.get("srtp", "require") != "require":
        raise ConfigError(f"{where}: srtp: expected \"require\"")
    return Peer(path.stem, fingerprints, recording_class)
