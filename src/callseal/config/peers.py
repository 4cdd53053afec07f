"""The phone systems that may call in: `peers/NAME.toml`, one file each, written by `callseal peer` or by the administrator.

A peer shows who it is by a client certificate: `certificate_sha256` (fingerprints of the DER) or `certificate_name` (a name in a
certificate that the authority in `NAME.ca.pem` issued; our own where there is no such file). A pinned certificate of another
authority lies beside it as `NAME.pem`. A cloud sender that has none shows it by `networks` (whence it calls) and `[[secret]]`
(SHA-256 of a 128-bit word in the Request-URI) together. A proxy's file names the peers that it speaks for in `behind`. `srtp` is
`require` and nothing else: the one exception is not made here, but on the record in the custodian's log (`net.exceptions`). An
unknown key or a wrong value is a ConfigError.
"""

import ipaddress
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from callseal.config.vendors import GENERIC, list_vendors, load_vendor
from callseal.errors import ConfigError

PEER_LIMIT = 500
SECRET_LIMIT = 4
SMALLEST_PREFIX = {4: 8, 6: 19}
"""A network wider than this is nobody's own."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_CLASS = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_KEYS = {"type", "certificate_sha256", "certificate_name", "networks", "secret", "class", "srtp", "behind"}

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
class Secret:
    """A word of a cloud sender, by its SHA-256; with `until`, it ends then (rotation)."""

    sha256: str
    until: datetime | None = None

    def is_live(self, now: datetime) -> bool:
        """Whether it still counts."""
        return self.until is None or now < self.until


@dataclass(frozen=True)
class Peer:
    """One phone system. Its certificate, or address and secret, is who it is; nothing that it says of itself is."""

    name: str
    fingerprints: frozenset[str] = frozenset()
    recording_class: str = "default"
    srtp: str = "require"
    kind: str = GENERIC
    certificate_names: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()
    secrets: tuple[Secret, ...] = ()
    behind: frozenset[str] = frozenset()
    """A proxy's: the peers that it may name in `X-Callseal-Peer`, having verified their certificates, and for no other."""
    clear_rtp: ClearRtp | None = None
    """Never read from the peer's file."""

    @property
    def is_cloud(self) -> bool:
        """Whether it proves itself by address and secret."""
        return bool(self.secrets)

    def may_be_clear(self, now: datetime) -> ClearRtp | None:
        """The exception that holds now, if any; every use asks again."""
        return self.clear_rtp if self.clear_rtp is not None and now < self.clear_rtp.until else None

    def cure(self, fault: str) -> str:
        """The setting that cures a fault, in the terms of its vendor."""
        return load_vendor(self.kind).cure(fault)


def load_peers(folder: Path) -> dict[str, Peer]:
    """Every peer by name. Raises ConfigError naming the file."""
    files = sorted(folder.glob("*.toml"))
    if len(files) > PEER_LIMIT:
        raise ConfigError(f"peers: expected at most {PEER_LIMIT}, got {len(files)}")
    peers = {path.stem: read_peer(path) for path in files}
    for what, of in _UNIQUE:
        owner: dict[str, str] = {}
        for peer in peers.values():
            for mark in of(peer):
                if mark in owner:
                    raise ConfigError(f"peers/{peer.name}.toml: its {what} is {owner[mark]}'s already")
                owner[mark] = peer.name
    return peers


_UNIQUE: tuple[tuple[str, Callable[[Peer], list[str]]], ...] = (
    ("certificate", lambda peer: sorted(peer.fingerprints)),
    ("secret", lambda peer: [secret.sha256 for secret in peer.secrets]),
)


def read_peer(path: Path) -> Peer:
    """Read one peer's file. Raises ConfigError."""
    where = f"peers/{path.name}"
    if not _NAME.fullmatch(path.stem):
        raise ConfigError(f"{where}: expected a name of lower-case letters, digits, dot, dash and underscore")
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{where}: {error}") from error
    try:
        return _make_peer(path.stem, table)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def is_peer_name(text: str) -> bool:
    """Whether a peer may be called so."""
    return _NAME.fullmatch(text) is not None


def read_network(text: str) -> Network:
    """An address or CIDR range, not wider than one sender's. Raises ConfigError."""
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        raise ConfigError(f"networks: expected an address or ADDRESS/LENGTH ({error})") from error
    if network.prefixlen < SMALLEST_PREFIX[network.version]:
        raise ConfigError(f"networks: expected at least /{SMALLEST_PREFIX[network.version]}, got /{network.prefixlen}")
    return network


def _make_peer(name: str, table: dict[str, Any]) -> Peer:
    unknown = set(table) - _KEYS
    if unknown:
        raise ConfigError(f"unknown setting {sorted(unknown)[0]}")
    fingerprints = frozenset(text.replace(":", "").lower() for text in _texts(table, "certificate_sha256"))
    if not all(_SHA256.fullmatch(text) for text in fingerprints):
        raise ConfigError("certificate_sha256: expected 64 hex digits")
    names = frozenset(text.lower() for text in _texts(table, "certificate_name"))
    if not all(_HOST.fullmatch(text) for text in names):
        raise ConfigError("certificate_name: expected a host name that stands in the certificate")
    networks = tuple(read_network(text) for text in _texts(table, "networks"))
    secrets = _secrets(table.get("secret", []))
    if bool(networks) != bool(secrets):
        raise ConfigError("networks, secret: expected both together, or neither")
    if not (fingerprints or names or secrets):
        raise ConfigError("expected a fingerprint (certificate_sha256), certificate_name, or networks with a secret")
    if secrets and (fingerprints or names):
        raise ConfigError("secret: expected no certificate beside it")
    recording_class = table.get("class", "default")
    if not isinstance(recording_class, str) or not _CLASS.fullmatch(recording_class):
        raise ConfigError("class: expected lower-case letters, digits and dashes")
    if table.get("srtp", "require") != "require":
        raise ConfigError('srtp: expected "require"; an exception is asked for and approved on the console')
    kind = table.get("type", GENERIC)
    if kind not in list_vendors():
        raise ConfigError(f"type: expected one of {', '.join(list_vendors())}")
    behind = frozenset(_texts(table, "behind"))
    if behind and (secrets or name in behind or not all(map(is_peer_name, behind))):
        raise ConfigError("behind: expected the names of other peers, and a certificate of the proxy's own")
    return Peer(name, fingerprints, recording_class, "require", kind, names, networks, secrets, behind)


def _texts(table: dict[str, Any], key: str) -> list[str]:
    given = table.get(key, [])
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or len(texts) > 256 or not all(isinstance(text, str) and text for text in texts):
        raise ConfigError(f"{key}: expected a text or a list of them")
    return texts


def _secrets(given: Any) -> tuple[Secret, ...]:
    if not isinstance(given, list) or len(given) > SECRET_LIMIT or not all(isinstance(item, dict) for item in given):
        raise ConfigError(f"secret: expected up to {SECRET_LIMIT} tables [[secret]]")
    found = []
    for item in given:
        digest, until = item.get("sha256"), item.get("until")
        if set(item) - {"sha256", "until"} or not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            raise ConfigError("secret: expected sha256 of 64 hex digits, and perhaps until")
        if until is not None and not isinstance(until, datetime):
            raise ConfigError("secret.until: expected a time")
        found.append(Secret(digest, until.replace(tzinfo=until.tzinfo or UTC) if until else None))
    return tuple(found)


def write_peer(peer: Peer) -> str:
    """The text of a peer's file, which `read_peer` reads back as the same peer."""
    lines = [f'type = "{peer.kind}"']
    for key, values in (
        ("certificate_sha256", sorted(peer.fingerprints)),
        ("certificate_name", sorted(peer.certificate_names)),
        ("behind", sorted(peer.behind)),
        ("networks", [str(network) for network in peer.networks]),
    ):
        if values:
            quoted = ", ".join(f'"{value}"' for value in values)
            lines.append(f"{key} = [{quoted}]" if len(values) > 1 else f"{key} = {quoted}")
    lines += [f'class = "{peer.recording_class}"', f'srtp = "{peer.srtp}"']
    for secret in peer.secrets:
        lines += ["", "[[secret]]", f'sha256 = "{secret.sha256}"']
        if secret.until is not None:
            lines.append(f"until = {secret.until.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}")
    return "\n".join(lines) + "\n"
