"""`callseal up`: start every daemon and keep it running. With `--try`, place a first call and say what to do next.

1. Settle settings and ports; make folders and certificates where they are missing.
2. Start the daemons in order; each says when it is ready.
3. Say where the console is and how the first people enrol.
4. With `--try`: place a real call, wait until it is sealed, show it.
5. Run until stopped.
"""

import asyncio
import json
import os
import sys
import webbrowser
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from callseal.config.settings import Config, load_config
from callseal.daemons import first_start
from callseal.daemons.supervisor import Supervisor, take_lock
from callseal.daemons.turn import find_coturn
from callseal.model.call import Call, CallState
from callseal.store.calls import list_calls
from callseal.store.database import Database

SEALED_WITHIN_SECONDS = 60.0
ROLES = {
    "compliance_officer": "may listen, with a reason, on the record",
    "administrator": "runs everything, and cannot listen",
}

console = Console(highlight=False, soft_wrap=True)


def up(
    try_it: Annotated[bool, typer.Option("--try", help="Place a real encrypted call first, and open the console.")] = False,
    seconds: Annotated[int, typer.Option(min=3, max=600, help="How long the trial call lasts.")] = 20,
    config_file: Annotated[Path | None, typer.Option("--config", help="The configuration file.")] = None,
) -> int:
    """Start Callseal and keep it running until it is stopped (Ctrl-C or SIGTERM)."""
    os.umask(0o077)
    config = load_config(config_file)
    first_start.make_folders(config)
    if try_it and find_coturn() is not None:
        config = replace(config, private=replace(config.private, enabled=True))
    with take_lock(config):
        config = first_start.choose_ports(config, anywhere=try_it)
        first_start.make_certificates(config, datetime.now(UTC))
        settled = first_start.write_settled(config)
        return asyncio.run(_supervise(config, settled, seconds if try_it else 0))


async def _supervise(config: Config, settled: Path, trial_seconds: int) -> int:
    supervisor = Supervisor(config, settled, tell=lambda line: console.print(f"[yellow]{line}[/]"))
    console.print(f"[bold]Callseal[/] starts, with its data in {config.data}")
    tasks: set[asyncio.Task[None]] = set()

    def on_ready() -> None:
        _tell_ready(config)
        if trial_seconds:
            tasks.add(asyncio.create_task(_trial(config, settled, trial_seconds)))
        else:
            _tell_people(config)

    try:
        return await supervisor.run(on_ready)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        console.print("Callseal has stopped.")


def _tell_ready(config: Config) -> None:
    sip = (config.run / "sip.address").read_text(encoding="utf-8").strip()
    console.print(f"[green]✓[/] SIP over TLS for your phone system at {sip}")
    if config.media.workers > 1:
        console.print(f"[green]✓[/] Voice sealed by {', '.join(config.media_names)}")
    console.print(f"[green]✓[/] Console at {_console(config)}")
    if config.private.enabled:
        _tell_private(config)


def _tell_private(config: Config) -> None:
    console.print(f"[green]✓[/] Private calls at {config.private_origin}")
    if not config.private.turn_urls and find_coturn() is None:
        console.print("[yellow]![/] They need a relay: apt-get install coturn, then start Callseal again")
    elif not (config.data / "custodian" / "manifests").exists():
        console.print("  First: callseal private setup --key FILE (a stick of the compliance officer's)")


def _console(config: Config) -> str:
    return config.web.origin or f"http://localhost:{config.web.port}"


async def _trial(config: Config, settled: Path, seconds: int) -> None:
    console.print(f"\nPlacing a real call over TLS and SRTP, {seconds} seconds …")
    code = await _command(settled, "call", "--seconds", str(seconds))
    if code != 0:
        console.print("[bold red]The trial call failed.[/] `callseal doctor` says what stands in the way.")
        return
    if not await _wait_sealed(config):
        console.print(f"[bold red]The call was not sealed within {SEALED_WITHIN_SECONDS:.0f} s.[/] See {config.data}/logs/")
        return
    console.print()
    await _command(settled, "calls", "--limit", "5")
    first = _tell_people(config)
    if config.private.enabled:
        _tell_two_windows(config)
    if first and sys.stdout.isatty() and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        webbrowser.open(first)
    console.print("\nCallseal goes on running; Ctrl-C stops it.")


def _tell_two_windows(config: Config) -> None:
    console.print("\n[bold]Try a private call[/], which nobody else can hear, in two browser windows:")
    console.print(f"  1. Enrol as compliance officer (above), open {_console(config)}/private, press “Enrol this browser”.")
    console.print("  2. In another terminal: callseal private setup --key root.key")
    console.print("  3. Press “New private call”; open the link in a private window, press “Call”, and answer in the first.")


async def _command(settled: Path, *arguments: str) -> int:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "callseal.cli.main", *arguments, env=dict(os.environ, CALLSEAL_CONFIG=str(settled)),
    )  # fmt: skip
    try:
        return await process.wait()
    except asyncio.CancelledError:
        process.terminate()
        await process.wait()
        raise


async def _wait_sealed(config: Config) -> bool:
    """Ask the database until no call is live or waiting to be sealed."""
    database = Database(config.database_url)
    end = asyncio.get_running_loop().time() + SEALED_WITHIN_SECONDS
    try:
        while asyncio.get_running_loop().time() < end:
            newest = await asyncio.to_thread(_newest_calls, database)
            if newest and all(call.state is CallState.SEALED for call in newest):
                return True
            await asyncio.sleep(0.2)
        return False
    finally:
        database.close()


def _newest_calls(database: Database) -> list[Call]:
    with database.read() as connection:
        return list_calls(connection, 1)


def _tell_people(config: Config) -> str:
    """Print the links by which the first people enrol; returns the first, empty where all have."""
    path = config.data / "custodian" / "first-run.json"
    if not path.exists():
        console.print(f"\nSign in at {_console(config)}")
        return ""
    first = ""
    console.print("\n[bold]Who may do what[/] (each link works once; open it in your browser and touch a passkey):")
    for invite in json.loads(path.read_text(encoding="utf-8")):
        link = f"{_console(config)}/enrol#{invite['token']}"
        first = first or link
        role = str(invite["role"])
        console.print(f"  {role.replace('_', ' ')}: {ROLES.get(role, '')}\n    [link={link}]{link}[/link]")
    if not os.environ.get("DISPLAY") and not os.environ.get("WAYLAND_DISPLAY"):
        port = config.web.port
        console.print(f"\nNo display here? On your own computer: ssh -L {port}:localhost:{port} THIS-MACHINE")
        console.print("then open the link there. Passkeys work on localhost.")
    return first
