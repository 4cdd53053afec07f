"""`callseal prepare`: what root makes once before the systemd units start, when each daemon has a user of its own.

The users and folders are made before (systemd-sysusers, systemd-tmpfiles). `callseal up` needs none of this.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from callseal.config.folders import is_shared
from callseal.config.settings import load_config
from callseal.daemons.first_start import make_certificates
from callseal.errors import ConfigError

console = Console(highlight=False, soft_wrap=True)


def prepare(
    config_file: Annotated[Path | None, typer.Option("--config", help="The configuration file.")] = None,
) -> int:
    """Make the authority and the recorder's certificate for the systemd units, where they are missing. Run it as root, once."""
    config = load_config(config_file)
    if not is_shared(config.data / "tls"):
        raise ConfigError(f"data: expected the folders of callseal.tmpfiles in {config.data}: systemd-tmpfiles makes them")
    if not config.sip.port or not config.web.port:
        raise ConfigError("sip.port, web.port: expected fixed ports, got 0")
    make_certificates(config, datetime.now(UTC))
    console.print(f"[green]✓[/] Certificates stand in {config.data}/tls; only root reads the authority's key")
    return 0
