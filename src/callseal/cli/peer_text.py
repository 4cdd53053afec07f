"""What `callseal peer add` prints and the guides show: the vendor's own configuration and the firewall rules. Text only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from callseal.config.settings import Config
from callseal.config.vendors import Vendor, fill_in


@dataclass(frozen=True)
class Place:
    """Where the phone system finds the recorder, and by which files. `secret` is a cloud sender's word, empty for others."""

    name: str
    host: str
    port: int
    first_port: int
    last_port: int
    folder: str
    secret: str = ""

    @property
    def uri(self) -> str:
        """The recorder's URI, as the phone system dials it."""
        return f"sip:{self.secret or 'recorder'}@{_bracket(self.host)}:{self.port};transport=tls"

    def values(self) -> Mapping[str, str]:
        """What a vendor's configuration may name."""
        is_address = self.host.replace(".", "").isdecimal() or ":" in self.host
        return {
            "name": self.name,
            "host": self.host,
            "address": self.host if is_address else f"ADDRESS-OF-{self.host}",
            "target": f"ipv4:{self.host}:{self.port}" if is_address else f"dns:{self.host}:{self.port}",
            "port": str(self.port),
            "uri": self.uri,
            "secret": self.secret or "recorder",
            "ca_file": f"{self.folder}/ca.pem",
            "cert_file": f"{self.folder}/{self.name}.pem",
            "key_file": f"{self.folder}/{self.name}.key",
        }


def place_of(config: Config, name: str, host: str | None = None, secret: str = "") -> Place:
    """The recorder as it is configured here; `host` is what the phone system calls it."""
    named = config.sip.server_name if config.sip.server_name != "localhost" else config.sip.host
    port, media = config.sip.port or _running_port(config), config.media
    return Place(name, host or named, port, media.first_port, media.last_port, str(config.data / "tls"), secret)


def render_configuration(vendor: Vendor, place: Place) -> str:
    """The vendor's configuration for this recorder."""
    return fill_in(vendor.configuration, place.values())


def render_firewall(place: Place, sources: Sequence[str] = ()) -> str:
    """nftables rules for the recorder's machine: signalling and voice from the phone system, and from nobody else."""
    ports = f"{place.first_port}-{place.last_port}" if place.first_port else "FIRST-LAST"
    lines = ["# on the recorder's machine (nftables)"]
    if not place.first_port:
        lines.append("# set media.first_port and media.last_port in callseal.toml first: now the system chooses the ports")
    for source in sources or ["ADDRESS-OF-THE-PHONE-SYSTEM"]:
        family = "ip6" if ":" in source else "ip"
        lines.append(f"nft add rule inet filter input {family} saddr {source} tcp dport {place.port} accept  # SIP over TLS")
        lines.append(f"nft add rule inet filter input {family} saddr {source} udp dport {ports} accept  # SRTP and SRTCP")
    lines += [
        f"# on the phone system's side, outwards: TCP {place.port}, UDP {ports}; nothing is opened inwards",
    ]
    return "\n".join(lines) + "\n"


def _running_port(config: Config) -> int:
    """The port that the system chose, where the recorder runs; else the one that everybody expects."""
    try:
        return int((config.run / "sip.address").read_text(encoding="utf-8").rpartition(":")[2])
    except (OSError, ValueError):
        return 5061


def _bracket(host: str) -> str:
    return f"[{host}]" if ":" in host else host
