"""`callseal reconcile`: the phone system's own records, beside what was sealed.

1. Read the file by the columns of its format (`records/NAME.toml`, or `--format`).
2. Hand its calls to the custodian for keyed tokens, and keep those.
3. Wait until the watcher has found each, or told of it; show the days. Exit 1 where a call was not sealed.
"""

import asyncio
import json
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from callseal.config.records import FORMAT_NAMES, load_records
from callseal.config.settings import Config, load_config
from callseal.errors import NotFound, RequestError
from callseal.flows.read_records import BYTES_LIMIT, ReadRecords, read_csv
from callseal.flows.reconcile import take_records
from callseal.keyring.client import Keyring
from callseal.model.record import KeptRecord, RecordedDay
from callseal.store.database import Database
from callseal.store.records import list_days, list_unsealed

LOOK_EVERY_SECONDS = 0.5
console = Console(highlight=False, soft_wrap=True)


def reconcile(
    file: Annotated[Path | None, typer.Argument(help="The phone system's call records (CSV). None: how it stands.")] = None,
    peer: Annotated[str, typer.Option(help="Whose records they are: the name of a file in peers/.")] = "",
    format_name: Annotated[
        str, typer.Option("--format", help=f"{', '.join(FORMAT_NAMES)}. [default: by records/NAME.toml]")
    ] = "",
    check: Annotated[bool, typer.Option("--check", help="Only say how the file reads; keep nothing.")] = False,
    days: Annotated[int, typer.Option(min=1, max=366, help="How many days to show.")] = 7,
    wait: Annotated[float, typer.Option(min=0, max=3600, help="Seconds to wait for what goes on or is being sealed.")] = 20.0,
    as_json: Annotated[bool, typer.Option("--json", help="Say it as JSON.")] = False,
    config_file: Annotated[Path | None, typer.Option("--config", help="The configuration file.")] = None,
) -> int:
    """Compare the phone system's own call records with what was sealed, by day, and list what is missing."""
    config = load_config(config_file)
    database = Database(config.database_url)
    try:
        database.check_schema()
        taken: dict[str, int] = {}
        if file is not None:
            read = _read(config, file, peer, format_name)
            taken = {"calls": len(read.calls), "unanswered": read.unanswered, "unreadable": read.unreadable, "other": read.other}
            if not check:
                taken |= asyncio.run(_take(config, database, peer, read))
            if not as_json:
                console.print(describe(taken))
            if check:
                return 0
        found, unsealed = _wait(database, peer, days, wait if file is not None else 0)
    finally:
        database.close()
    if as_json:
        print(json.dumps({"taken": taken, "days": [_plain(day) for day in found], "unsealed": [_plain(one) for one in unsealed]}))
    else:
        _print(found, unsealed)
    return 1 if unsealed else 0


def describe(taken: dict[str, int]) -> str:
    """How a file read, in one sentence."""
    words = [f"{taken['calls']:,} calls read"]
    for name, meaning in (
        ("unanswered", "rows of calls that were never answered"), ("other", "rows of other kinds"),
        ("unreadable", "rows that could not be read"), ("new", "new"), ("known", "known already"),
        ("too_old", "of days whose recordings are no longer kept"),
    ):  # fmt: skip
        if taken.get(name):
            words.append(f"{taken[name]:,} {meaning}")
    return ", ".join(words) + "."


def _read(config: Config, file: Path, peer: str, format_name: str) -> ReadRecords:
    """Step 1. Raises NotFound, RequestError, ConfigError."""
    if not peer or not (config.data / "peers" / f"{peer}.toml").is_file():
        raise NotFound("peer: expected --peer with the name of a file in peers/")
    try:
        with file.open("rb") as opened:
            content = opened.read(BYTES_LIMIT + 1)
    except OSError as error:
        raise RequestError(f"file: expected to read it, got {error.strerror}") from error
    return read_csv(content, load_records(config.data / "records", peer, format_name))


async def _take(config: Config, database: Database, peer: str, read: ReadRecords) -> dict[str, int]:
    keyring = Keyring(config.custodian_socket)
    try:
        return await take_records(database, keyring, peer, read.calls, "csv", datetime.now(UTC))
    finally:
        await keyring.close()


def _wait(database: Database, peer: str, days: int, seconds: float) -> tuple[list[RecordedDay], list[KeptRecord]]:
    """Step 3."""
    today = datetime.now(UTC).date()
    first = today - timedelta(days=days - 1)
    end = time.monotonic() + seconds
    while True:
        with database.read() as connection:
            found = [day for day in list_days(connection, first, today) if not peer or day.peer == peer]
            unsealed = list_unsealed(connection, first, today, peer)
        if time.monotonic() >= end or not any(day.waiting for day in found):
            return found, unsealed
        time.sleep(LOOK_EVERY_SECONDS)


def _print(found: list[RecordedDay], unsealed: list[KeptRecord]) -> None:
    for day in found:
        console.print(f"{day.day} {day.peer}: {day.words}", style="red" if day.gaps else None)
    if not found:
        console.print("No records of these days.")
    for one in unsealed:
        console.print(f"  not sealed: {one.started_at:%Y-%m-%d %H:%M:%S} {one.peer} {one.why} /reconciliation/{one.record}")


def _plain(value: RecordedDay | KeptRecord) -> dict[str, Any]:
    return {name: item.isoformat() if isinstance(item, date) else item for name, item in vars(value).items()}
