"""What the first start makes: folders, the local authority's certificates, the test phone as a known peer.

Invariant: nothing that exists is overwritten.
"""

import socket
from dataclasses import is_dataclass, replace
from datetime import datetime
from pathlib import Path

from callseal.config.settings import Config, Private, Sip, Web
from callseal.errors import ConfigError

SOCKET_PATH_LIMIT = 100  # sun_path holds 108 bytes (unix(7)); the longest name in run/ needs some of them


def make_folders(config: Config) -> None:
    """Make the data folder and what every daemon expects in it. Raises ConfigError where it cannot be used."""
    length = len(str(config.custodian_socket).encode())
    if length > SOCKET_PATH_LIMIT:
        raise ConfigError(f"data: expected a path whose sockets have at most {SOCKET_PATH_LIMIT} bytes, got {length}")
    try:
        config.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in ("run", "logs", "peers", "tls", "spool", "events", "objects", "cards", "log", "records"):
            (config.data / name).mkdir(exist_ok=True, mode=0o700)
        config.draining_file.unlink(missing_ok=True)  # who starts everything wants calls
    except OSError as error:
        raise ConfigError(f"data: cannot write to {config.data}: {error.strerror}") from error


def choose_ports(config: Config, *, anywhere: bool) -> Config:
    """Settle port 0 for the console and SIP before the daemons start, for both must be known to others.

    With `anywhere` (the trial), a port that is taken is replaced by a free one; otherwise it is a ConfigError.
    """
    return replace(
        config,
        sip=replace(config.sip, port=_settle("sip", config.sip, anywhere=anywhere)),
        web=replace(config.web, port=_settle("web", config.web, anywhere=anywhere)),
        private=_settle_private(config.private, anywhere=anywhere),
    )


def _settle_private(private: Private, *, anywhere: bool) -> Private:
    if not private.enabled:
        return private
    private = replace(private, port=_settle("private", private, anywhere=anywhere))
    if private.turn_urls or is_free(private.turn_host, private.turn_port):
        return private
    if not anywhere:
        where = f"{private.turn_host}:{private.turn_port}"
        raise ConfigError(f"private.turn_port: {where} is taken; is Debian's own coturn running? systemctl disable --now coturn")
    with socket.socket(socket.AF_INET6 if ":" in private.turn_host else socket.AF_INET) as probe:
        probe.bind((private.turn_host, 0))
        return replace(private, turn_port=int(probe.getsockname()[1]))


def _settle(name: str, place: Sip | Web | Private, *, anywhere: bool) -> int:
    if place.port and is_free(place.host, place.port):
        return place.port
    if place.port and not anywhere:
        raise ConfigError(f"{name}.port: {place.host}:{place.port} is taken by another program")
    with socket.socket(socket.AF_INET6 if ":" in place.host else socket.AF_INET) as probe:
        probe.bind((place.host, 0))
        return int(probe.getsockname()[1])


def is_free(host: str, port: int) -> bool:
    """Whether a TCP port can be bound here."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def write_settled(config: Config) -> Path:
    """Write the settings as settled to `run/callseal.toml`, which every daemon reads; returns its path."""
    lines = [f'data = "{config.data}"', f"business = {_toml(config.business)}", f"log_level = {_toml(config.log_level)}"]
    for section, values in vars(config).items():
        if is_dataclass(values):
            lines += [f"\n[{section}]", *(f"{key} = {_toml(value)}" for key, value in vars(values).items())]
    path = config.run / "callseal.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def make_certificates(config: Config, now: datetime) -> None:
    """The local authority, the recorder's server certificate and the test phone's, where they are missing."""
    from callseal.net.authority import ensure_authority

    ensure_authority(config.data / "tls", config.data / "peers", server_name=config.sip.server_name, now=now)
