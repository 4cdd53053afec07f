"""How a phone system writes down its calls (`call_records.toml`), and what one peer's records are: `records/PEER.toml`.

Keys of a peer's file: `format`, `zone` (IANA, for times without one), `columns` (replaces some of the format's), `not_recorded`
(classes of calls that are not to be recorded: `class`, `column`, `matches`), `webhook_secrets` (whsec_…, old and new).
An unknown key or a wrong value is a ConfigError that repeats no secret.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from callseal.errors import ConfigError, NotFound

FORMATS: Final = Path(__file__).parent / "call_records.toml"
FORMAT_NAMES: Final = ("generic", "cisco-cucm", "cisco-cube", "oracle", "audiocodes", "avaya")
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_WORD: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")
_RULE_LIMIT: Final = 50


@dataclass(frozen=True)
class RecordFormat:
    """Which column says what; see `call_records.toml`."""

    call_ids: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    started_at: tuple[str, ...] = ()
    ended_at: tuple[str, ...] = ()
    duration_seconds: tuple[str, ...] = ()
    answered: tuple[str, ...] = ()
    """Where one is named, a row that has none of them is a call that was never answered, and passed over."""
    times: str = "iso"
    header: tuple[str, ...] = ()
    same_call: str = ""
    only: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True)
class NotRecorded:
    """A class of calls that is not to be recorded: those whose column matches."""

    name: str
    column: str
    matches: re.Pattern[str]


@dataclass(frozen=True)
class PeerRecords:
    """One peer's records."""

    peer: str
    format: RecordFormat
    zone: ZoneInfo
    not_recorded: tuple[NotRecorded, ...] = ()
    webhook_secrets: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"PeerRecords({self.peer})"


def load_formats() -> dict[str, RecordFormat]:
    """The formats that come with Callseal."""
    tables = tomllib.loads(FORMATS.read_text(encoding="utf-8"))
    return {name: _format(RecordFormat(), table, name) for name, table in tables.items()}


def load_records(folder: Path, peer: str, format_name: str = "") -> PeerRecords:
    """What is set for a peer, the generic format where nothing is. Raises ConfigError, NotFound for an unknown format or name."""
    if not _NAME.fullmatch(peer):
        raise NotFound("peer: expected the name of a phone system")
    path = folder / f"{peer}.toml"
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        table = {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"records/{path.name}: expected readable TOML ({type(error).__name__})") from error
    where = f"records/{path.name}"
    if unknown := set(table) - {"format", "zone", "columns", "not_recorded", "webhook_secrets"}:
        raise ConfigError(f"{where}: unknown setting {sorted(unknown)[0]}")
    formats = load_formats()
    name = format_name or table.get("format", "generic")
    if name not in formats:
        raise NotFound(f"format: expected one of {', '.join(formats)}")
    try:
        zone = ZoneInfo(str(table.get("zone", "UTC")))
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ConfigError(f"{where}: zone: expected a name like Europe/London") from error
    secrets = _texts(table.get("webhook_secrets", []), f"{where}: webhook_secrets")
    columns = _format(formats[name], table.get("columns", {}), where)
    return PeerRecords(peer, columns, zone, _rules(table.get("not_recorded", []), where), secrets)


def _format(base: RecordFormat, table: Mapping[str, Any], where: str) -> RecordFormat:
    known = {item.name for item in fields(RecordFormat)}
    if not isinstance(table, Mapping) or set(table) - known:
        raise ConfigError(f"{where}: columns: expected only {', '.join(sorted(known))}")
    values: dict[str, Any] = {}
    for name, value in table.items():
        if name == "only" and isinstance(value, Mapping):
            values[name] = tuple((column, _texts(allowed, f"{where}: only")) for column, allowed in value.items())
        elif name in ("times", "same_call") and isinstance(value, str):
            values[name] = value
        else:
            values[name] = _texts(value, f"{where}: {name}")
    return replace(base, **values)


def _rules(rules: Any, where: str) -> tuple[NotRecorded, ...]:
    if not isinstance(rules, list) or len(rules) > _RULE_LIMIT:
        raise ConfigError(f"{where}: not_recorded: expected at most {_RULE_LIMIT} tables")
    found = []
    for rule in rules:
        if not isinstance(rule, dict) or set(rule) != {"class", "column", "matches"}:
            raise ConfigError(f"{where}: not_recorded: expected class, column and matches")
        name, column, pattern = (str(rule[key]) for key in ("class", "column", "matches"))
        if not _WORD.fullmatch(name):
            raise ConfigError(f"{where}: not_recorded: class: expected lower-case letters, digits and dashes")
        try:
            found.append(NotRecorded(name, column, re.compile(pattern)))
        except re.error as error:
            raise ConfigError(f"{where}: not_recorded: matches: expected a regular expression") from error
    return tuple(found)


def _texts(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > 200 or not all(isinstance(item, str) for item in value):
        raise ConfigError(f"{where}: expected a list of texts")
    return tuple(value)
