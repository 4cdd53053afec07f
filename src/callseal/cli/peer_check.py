"""`callseal peer check`: wait for one test call, and say in plain words what is right and wrong with it, and what cures it.

All of it is read from the events of `sip` and of each media worker, which hold no personal data; what is judged stands in
`flows.peer_report`.
"""

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from callseal.config.peers import read_peer
from callseal.config.settings import load_config
from callseal.errors import NotFound, Unavailable
from callseal.flows.peer_report import Line, PeerReport, Verdict
from callseal.store.events import EventReader, list_event_files

EVERY_SECONDS = 0.2
EVENTS_AT_ONCE = 1000
PAST_FILES = 8
MARKS = {Verdict.GOOD: "[green]✓[/]", Verdict.CARE: "[yellow]![/]", Verdict.BAD: "[bold red]✗[/]", Verdict.WAITS: "[dim]…[/]"}

console = Console(highlight=False, soft_wrap=True)


def check(
    name: Annotated[str, typer.Argument(help="The phone system, as `callseal peer list` shows it.")],
    wait: Annotated[int, typer.Option(min=1, max=3600, help="How many seconds to wait for the call, and for its end.")] = 180,
    since: Annotated[int, typer.Option(min=0, max=86400, help="Judge the first call of the last so many seconds.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> int:
    """Wait for one test call and say what is right and wrong with it. Exit code: 0 good, 1 something to mend, 69 no call came."""
    config = load_config()
    path = config.data / "peers" / f"{name}.toml"
    if not path.exists():
        raise NotFound(f"{name}: expected a phone system that is known; see `callseal peer list`")
    if not (config.run / "sip.address").exists():
        raise Unavailable(f"no recorder runs in {config.data}: start `callseal up`")
    report = PeerReport(read_peer(path), time.time() - since)
    readers = [_reader(config.data / "events", source, since) for source in ("sip", *config.media_names)]
    if not as_json:
        console.print(f"Waiting for one call of [bold]{name}[/] ({report.peer.kind}); place it now …")
    until, shown = time.monotonic() + wait, 0
    while time.monotonic() < until and not report.is_over:
        for reader in readers:
            for event in reader.read(EVENTS_AT_ONCE):
                report.take(event)
        report.pass_time(datetime.now(UTC))
        shown = shown if as_json else _show(report.settled(), shown)
        if not report.is_over:
            time.sleep(EVERY_SECONDS)
    lines = report.finish()
    if as_json:
        told = {"peer": name, "recording": report.recording, "good": report.is_good}
        print(json.dumps(told | {"lines": [line.plain() for line in lines]}, indent=2))
    else:
        _show(lines, shown)
        _show_end(report)
    return 0 if report.is_good else 1 if report.saw_something else 69


def _reader(folder: Path, source: str, since: int) -> EventReader:
    """From now on; where the past is asked for, from the newest files on that can hold it."""
    files = list_event_files(folder / source)
    first = files[-min(PAST_FILES if since else 1, len(files))] if files else None
    reader = EventReader(folder, source, int(first.stem) - 1 if first else 0)
    while not since and reader.read(EVENTS_AT_ONCE):
        pass
    return reader


def _show(lines: list[Line], shown: int) -> int:
    for line in lines[shown:]:
        console.print(f"{MARKS[line.verdict]} {escape(line.words)}")
        if line.cure:
            console.print(f"    [bold]set:[/] {escape(line.cure)}")
    return len(lines)


def _show_end(report: PeerReport) -> None:
    if not report.saw_something:
        console.print("[bold red]No call came[/], and nothing was refused in this time. Does it reach this machine at all?")
    elif report.is_good:
        console.print(f"[bold green]Good.[/] {report.peer.name} is connected; see the call by `callseal calls`.")
    else:
        console.print("[bold]Mend what is marked ✗, then check again.[/]")
