"""`callseal drain`: take no new calls, let those that are live finish, and say how many are left.

1. New INVITE and OPTIONS get 503 with Retry-After, so that the phone system or proxy turns to another recorder.
2. Live calls go on: their changes are answered, their BYE ends them.
3. With `--wait`, look every second until none is live.
"""

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from callseal.config.settings import Config, load_config
from callseal.net.control_client import ask_daemon

LOOK_EVERY_SECONDS = 1.0
console = Console(highlight=False, soft_wrap=True)


def drain(
    off: Annotated[bool, typer.Option("--off", help="Take new calls again.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Change nothing; say how it stands.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Show how many calls are left, until none is.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Say it as JSON.")] = False,
    config_file: Annotated[Path | None, typer.Option("--config", help="The configuration file.")] = None,
) -> int:
    """Take no new calls (503 with Retry-After); those that are live finish. Stop Callseal when none is left."""
    config = load_config(config_file)
    stands = _look(config) if status else ask_daemon(config.sip_socket, "sip.drain", on=not off)
    if wait and not off:
        stands = _wait(config, stands, quiet=as_json)
    if as_json:
        print(json.dumps({name: stands[name] for name in ("draining", "since", "live", "oldest")}))
    else:
        console.print(describe(stands))
    return 0


def describe(stands: dict[str, Any]) -> str:
    """How it stands, in one sentence."""
    live = int(stands["live"])
    left = "no call is live" if not live else f"{live} call{'s' * (live > 1)} live, the oldest since {stands['oldest']}"
    if not stands["draining"]:
        return f"Taking calls; {left}."
    return f"Draining since {stands['since']}: no new calls are taken; {left}."


def _look(config: Config) -> dict[str, Any]:
    return ask_daemon(config.sip_socket, "sip.status")


def _wait(config: Config, stands: dict[str, Any], quiet: bool) -> dict[str, Any]:
    """Step 3. A drain that somebody else turned off ends the wait."""
    said = -1
    while stands["live"] and stands["draining"]:
        if stands["live"] != said and not quiet:
            said = int(stands["live"])
            console.print(describe(stands))
        time.sleep(LOOK_EVERY_SECONDS)
        stands = _look(config)
    return stands
