"""`callseal calls`: what was recorded, newest first; from the database alone, so it also answers while Callseal is stopped.

No number and no name stands there: who spoke is sealed with the call.
"""

import json
from dataclasses import asdict
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from callseal.config.settings import load_config
from callseal.errors import RequestError
from callseal.model.call import Call, CallState
from callseal.model.clock import format_time
from callseal.store.calls import list_calls
from callseal.store.database import Database

_COLOURS = {
    CallState.LIVE: "bold cyan",
    CallState.ENDED: "yellow",
    CallState.SEALED: "green",
    CallState.INTERRUPTED: "yellow",
    CallState.DESTROYED: "dim",
}


def calls(
    limit: Annotated[int, typer.Option("--limit", "-n", help="How many calls to show, 1 to 500.")] = 20,
    state: Annotated[CallState | None, typer.Option(help="Only calls in this state.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the calls as JSON.")] = False,
    config_file: Annotated[Path | None, typer.Option("--config", help="The configuration file.")] = None,
) -> int:
    """List recorded calls, newest first: time, length, phone system, state, protection, tracks and gaps."""
    database = Database(load_config(config_file).database_url)
    try:
        database.check_schema()
        with database.read() as connection:
            found = list_calls(connection, limit, state=state)
    finally:
        database.close()
    if as_json:
        print(write_json(found))
        return 0
    console = Console()
    if console.is_terminal:
        _print_table(console, found)
    else:
        for line in describe(found):
            print(line)
    return 0


def write_json(found: list[Call]) -> str:
    """The calls with every field; times in RFC 3339."""
    return json.dumps([asdict(call) for call in found], indent=2, default=_plain)


def describe(found: list[Call]) -> list[str]:
    """One line for each call, fields apart by tabs; the first names them."""
    heading = ["recording", "started", "length", "peer", "state", "protection", "tracks", "gaps"]
    return ["\t".join(line) for line in (heading, *([call.recording, *_fields(call)] for call in found))]


def _print_table(console: Console, found: list[Call]) -> None:
    if not found:
        console.print("No calls yet. Place one with [bold]callseal call[/bold].")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("Recording", "Started (UTC)", "Length", "Phone system", "State", "Protection", "Tracks", "Gaps"):
        table.add_column(name, justify="right" if name in ("Length", "Tracks", "Gaps") else "left", no_wrap=name == "Recording")
    for call in found:
        started, length, peer, state, *rest = map(escape, _fields(call))
        colour = _COLOURS[call.state]
        table.add_row(call.recording, started, length, peer, f"[{colour}]{state}[/{colour}]", *rest)
    console.print(table)


def _fields(call: Call) -> list[str]:
    state = call.state.value + (", held" if call.held else "")
    gaps = f"{call.counts.gaps} ({call.counts.gap_ms / 1000:.1f} s)" if call.counts.gaps else "none"
    started = call.started_at.strftime("%Y-%m-%d %H:%M:%S")
    return [started, _length(call), call.peer or "unknown", state, _protection(call), str(len(call.legs)), gaps]


def _length(call: Call) -> str:
    seconds = (call.duration_ms if call.duration_ms is not None else call.sealed_through_ms) // 1000
    hours, minutes = divmod(seconds // 60, 60)
    return f"{hours}:{minutes:02}:{seconds % 60:02}" if hours else f"{minutes}:{seconds % 60:02}"


def _protection(call: Call) -> str:
    """What is known of every leg, each said once."""
    known = dict.fromkeys(f"{leg.suite or 'unknown suite'}, {leg.protection or 'not observed'}" for leg in call.legs)
    return "; ".join(known) or "not observed"


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return format_time(value)
    if isinstance(value, Enum):
        return str(value.value)
    raise RequestError(f"calls: expected plain values, got {type(value).__name__}")
