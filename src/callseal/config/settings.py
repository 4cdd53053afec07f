"""The one configuration file (TOML), read once into frozen pieces.

Every key has a default that is safe; an unknown key or a wrong type is a ConfigError that names it. There is no key that
weakens sealing, logging or policy.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from callseal.errors import ConfigError

T = TypeVar("T")
_ADDRESS = re.compile(r"[^\s@<>,]{1,64}@[^\s@<>,]{1,190}")
_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
MAX_WORKERS = 64
MEDIA_ENGINES = ("auto", "openssl", "ipsec-mb")


@dataclass(frozen=True)
class Sip:
    """Where the phone system's SIP over TLS arrives (RFC 3261 section 26.3.1)."""

    host: str = "127.0.0.1"
    port: int = 5061
    server_name: str = "localhost"
    max_dialogs: int = 4000
    max_connections: int = 500


@dataclass(frozen=True)
class Media:
    """Where SRTP arrives. Port 0 lets the system choose even ports; otherwise `first_port` to `last_port` are used.

    `workers` processes share the calls, each on a core of its own where there are as many cores.
    """

    host: str = "127.0.0.1"
    first_port: int = 0
    last_port: int = 0
    workers: int = 1
    engine: str = "auto"
    """What opens SRTP: `auto` takes ipsec-mb where it is installed and agrees with OpenSSL."""
    spool_segment_bytes: int = 64 << 20

    def __post_init__(self) -> None:
        """Raises ConfigError."""
        if not 1 <= self.workers <= MAX_WORKERS:
            raise ConfigError(f"media.workers: expected 1 to {MAX_WORKERS}, got {self.workers}")
        if self.engine not in MEDIA_ENGINES:
            raise ConfigError(f"media.engine: expected one of {', '.join(MEDIA_ENGINES)}, got {self.engine[:20]}")


@dataclass(frozen=True)
class Web:
    """Where the console is served. Passkeys need `localhost` or HTTPS on `rp_id`."""

    host: str = "127.0.0.1"
    port: int = 8080
    rp_id: str = "localhost"
    origin: str = ""
    """Empty: `http://localhost:PORT`."""
    session_idle_minutes: int = 15


@dataclass(frozen=True)
class Custody:
    """Where the custodian keeps the erasable cell: `file` on one machine."""

    cell: str = "file"
    recovery_copy_days: int = 7
    max_early_destructions: int = 1000


@dataclass(frozen=True)
class Cards:
    """Where cards are spoken of: classes of recordings, separated by spaces, that keep nothing which no guard can look into."""

    guarded_classes: str = ""

    def guards(self, recording_class: str) -> bool:
        """Whether a class is guarded."""
        return recording_class in self.guarded_classes.split()


@dataclass(frozen=True)
class Retention:
    """How long each class of recording is kept, in days from the UTC day of the call, with its reason in law."""

    default_days: int = 90
    purpose: str = "quality and training"
    lawful_basis: str = "legitimate interests (UK GDPR Art. 6(1)(f))"


@dataclass(frozen=True)
class Private:
    """Private calls between two browsers (docs/spec/private-call.md): the customers' page, its relay, its witness."""

    enabled: bool = False
    host: str = "127.0.0.1"
    port: int = 8081
    origin: str = ""
    """Where customers reach the page; empty: `http://localhost:PORT`."""
    page_origins: str = ""
    """Other origins that serve the page and connect here (split hosting), separated by spaces."""
    phone: str = ""
    public: bool = True
    """Whether anybody may call on the public link; invitations work either way."""
    keep_days: int = 30
    longest_invitation_days: int = 30
    witness: str = "local"
    """`local`: a witness on this machine, which proves little; else `https://HOST` and `witness_key`."""
    witness_key: str = ""
    turn_host: str = "127.0.0.1"
    turn_port: int = 3478
    turn_urls: str = ""
    """Another coturn's URLs, separated by spaces; empty: our own, supervised here."""
    turn_secret_file: str = ""
    """The secret shared with coturn; empty: one is made in the data folder."""
    turn_external_ip: str = ""


@dataclass(frozen=True)
class Mail:
    """Where the day's account is mailed. No host: nothing is mailed. `to`: addresses, apart by commas; `at`: UTC."""

    host: str = ""
    port: int = 587
    security: str = "starttls"
    """`starttls` (RFC 3207) or `implicit` (RFC 8314)."""
    user: str = ""
    password_file: str = ""
    sender: str = ""
    to: str = ""
    at: str = "06:00"
    ca_file: str = ""
    """PEM; empty: the system's."""

    def __post_init__(self) -> None:
        """Raises ConfigError."""
        if self.security not in ("starttls", "implicit"):
            raise ConfigError(f"mail.security: expected starttls or implicit, got {self.security[:20]}")
        if self.host and not (_ADDRESS.fullmatch(self.sender) and all(_ADDRESS.fullmatch(one) for one in self.addresses)):
            raise ConfigError("mail.sender, mail.to: expected addresses")
        if not _TIME.fullmatch(self.at):
            raise ConfigError("mail.at: expected HH:MM")

    @property
    def addresses(self) -> list[str]:
        """Who gets it."""
        return [one.strip() for one in self.to.split(",")]


@dataclass(frozen=True)
class Config:
    """All settings. `data` is the only folder Callseal writes to."""

    data: Path = field(default_factory=lambda: default_data())
    business: str = "Your business"
    log_level: str = "info"
    sip: Sip = field(default_factory=Sip)
    media: Media = field(default_factory=Media)
    web: Web = field(default_factory=Web)
    custody: Custody = field(default_factory=Custody)
    cards: Cards = field(default_factory=Cards)
    retention: Retention = field(default_factory=Retention)
    private: Private = field(default_factory=Private)
    mail: Mail = field(default_factory=Mail)

    @property
    def run(self) -> Path:
        """Sockets and addresses of the running daemons."""
        return self.data / "run"

    @property
    def custodian_socket(self) -> Path:
        """Where the custodian listens."""
        return self.run / "custodian.sock"

    @property
    def media_names(self) -> tuple[str, ...]:
        """The media workers, by number: of their processes, spools and events."""
        return tuple(f"media-{worker}" for worker in range(self.media.workers))

    def media_socket(self, worker: int) -> Path:
        """Where a media worker takes its orders."""
        return self.run / f"media-{worker}.sock"

    @property
    def private_origin(self) -> str:
        """Where customers find the page of private calls."""
        return self.private.origin or f"http://localhost:{self.private.port}"

    @property
    def turn_secret(self) -> Path:
        """The secret that web shares with coturn."""
        return Path(self.private.turn_secret_file) if self.private.turn_secret_file else self.data / "turn" / "secret"

    @property
    def turn_urls(self) -> list[str]:
        """Where browsers find the relay."""
        own = f"turn:{self.private.turn_host}:{self.private.turn_port}"
        return self.private.turn_urls.split() or [f"{own}?transport=udp", f"{own}?transport=tcp"]

    @property
    def sip_socket(self) -> Path:
        """Where the signalling daemon takes the operator's orders."""
        return self.run / "sip.sock"

    @property
    def draining_file(self) -> Path:
        """Stands while the signalling daemon takes no new calls, and says since when."""
        return self.run / "draining.json"

    @property
    def database_url(self) -> str:
        """SQLAlchemy's name for the embedded database."""
        return f"sqlite:///{self.data / 'database' / 'callseal.db'}"


def default_data() -> Path:
    """`$CALLSEAL_DATA`, else the user's data folder (XDG base directories)."""
    if chosen := os.environ.get("CALLSEAL_DATA"):
        return Path(chosen).absolute()
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base).absolute() / "callseal"


def find_config_file() -> Path | None:
    """`$CALLSEAL_CONFIG`, then `callseal.toml` here, in the data folder, in `/etc/callseal`; None where there is none."""
    if chosen := os.environ.get("CALLSEAL_CONFIG"):
        return Path(chosen)
    for path in (Path("callseal.toml"), default_data() / "callseal.toml", Path("/etc/callseal/callseal.toml")):
        if path.is_file():
            return path
    return None


def load_config(path: Path | None = None) -> Config:
    """Read the settings from a file, or the defaults where there is none. Raises ConfigError."""
    if path is None:
        path = find_config_file()
    if path is None:
        return Config()
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"expected a configuration file at {path}, found none") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    return _read(Config, table, "")


def _read(kind: type[T], table: Mapping[str, Any], where: str) -> T:
    hints = get_type_hints(kind)
    known = {item.name for item in fields(kind)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, value in table.items():
        name = f"{where}{key}"
        if key not in known:
            raise ConfigError(f"{name}: unknown setting; expected one of {', '.join(sorted(known))}")
        wanted = hints[key]
        if wanted is Path:
            values[key] = Path(_checked(name, value, str)).expanduser().absolute()
        elif isinstance(wanted, type) and wanted in (str, int, bool):
            values[key] = _checked(name, value, wanted)
        else:
            values[key] = _read(wanted, _checked(name, value, dict), f"{name}.")
    return kind(**values)


def _checked(name: str, value: Any, wanted: type) -> Any:
    if type(value) is not wanted:
        raise ConfigError(f"{name}: expected {wanted.__name__}, got {type(value).__name__}")
    return value
