"""`callseal private`: the first run of private calls in one go, and how they stand.

1. Make the root key where there is none. 2. Wait until a browser is enrolled on the console's page. 3. Sign and publish the
manifest. 4. Say the links. The same steps one by one, and apart from the server: `callseal root`, docs/ceremony.md.
"""

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from callseal.cli.root import (
    ask_passphrase,
    asking,
    make_draft,
    new_passphrase,
    publish_signed,
    tell_kid,
    tell_manifest,
    write_key,
)
from callseal.config.settings import Config, load_config
from callseal.daemons.turn import find_coturn
from callseal.errors import ConfigError, Unavailable
from callseal.webrtc.link import Link, write_fragment
from callseal.webrtc.manifest import read_text
from callseal.webrtc.root_key import open_root

private_app = typer.Typer(help="Calls between two browsers that nobody else can hear.", no_args_is_help=True)
private_app.callback()(lambda: None)  # one command alone is still named
console = Console(highlight=False, soft_wrap=True)


@private_app.command()
def setup(
    key: Annotated[Path, typer.Option("--key", help="The root key's file; made where there is none. Best on a stick.")],
    minutes: Annotated[int, typer.Option(min=0, max=60, help="How long to wait for a browser to be enrolled.")] = 10,
    config_file: Annotated[Path | None, typer.Option("--config", help="The configuration file.")] = None,
) -> int:
    """From nothing to two people talking: root key, first device, manifest."""
    config = find_running(load_config(config_file))
    if not config.private.turn_urls and find_coturn() is None:
        raise ConfigError("coturn: expected Debian's relay; apt-get install coturn, then start callseal up again")
    if key.exists():
        passphrase = ask_passphrase()
    else:
        console.print(f"Making your business's root key in {key}.")
        passphrase = new_passphrase()
        write_key(key, passphrase)
    kid = tell_kid(key.read_bytes())
    signer = open_root(key.read_bytes(), passphrase)
    page = config.web.origin or f"http://localhost:{config.web.port}"
    console.print(f"Sign in at [bold]{page}/private[/] and press “Enrol this browser”. Waiting …")
    _wait_device(config, minutes)
    text = asyncio.run(make_draft(config, signer.verifier.public_key, "", datetime.now(UTC)))
    tell_manifest(read_text(text))
    publish_signed(config, text, signer)
    console.print(f"\nReady. On {page}/private press “New private call” and send the link, or publish this one on your website:")
    console.print(f"  {config.private_origin}/{write_fragment(Link('public', kid))}")
    return 0


def find_running(config: Config) -> Config:
    """The settings as the running daemons have them (ports that were settled). Raises ConfigError, Unavailable."""
    settled = config.run / "callseal.toml"
    if not settled.exists():
        raise Unavailable("callseal: expected it to run; start callseal up first")
    config = load_config(settled)
    if not config.private.enabled:
        raise ConfigError("private.enabled: expected true; set it and start callseal up again")
    return config


def _wait_device(config: Config, minutes: int) -> None:
    async def ask() -> bool:
        async with asking(config) as keyring:
            return bool((await keyring.ask("device.list"))["devices"])

    end = time.monotonic() + minutes * 60
    while not asyncio.run(ask()):
        if time.monotonic() >= end:
            raise Unavailable("device: expected a browser to be enrolled; open the page, enrol it, then run this again")
        time.sleep(1.0)
