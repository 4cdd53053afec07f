"""`callseal prepare`: what root makes once before the systemd units start, when each daemon has a user of its own.

The users and folders are made before (systemd-sysusers, systemd-tmpfiles), but for those of further media workers, which are made
here like the first one's. `callseal up` needs none of this.
"""

import os
import stat
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
    """Make what the systemd units need and lack: authority, recorder's certificate, folders of further media workers.

    Run it as root, once, and again when media.workers has been raised.
    """
    config = load_config(config_file)
    if not is_shared(config.data / "tls"):
        raise ConfigError(f"data: expected the folders of callseal.tmpfiles in {config.data}: systemd-tmpfiles makes them")
    if not config.sip.port or not config.web.port:
        raise ConfigError("sip.port, web.port: expected fixed ports, got 0")
    make_certificates(config, datetime.now(UTC))
    console.print(f"[green]✓[/] Certificates stand in {config.data}/tls; only root reads the authority's key")
    for room in ("spool", "events"):
        first, *others = (config.data / room / name for name in config.media_names)
        for folder in others:
            _make_like(first, folder)
    units = " ".join(f"callseal-{name.replace('-', '@')}" for name in config.media_names)
    console.print(f"[green]✓[/] Media workers of the settings: {units}")
    return 0


def _make_like(model: Path, folder: Path) -> None:
    """Make a folder with another's owner, group and mode, where it is missing."""
    if not folder.exists():
        found = model.stat()
        folder.mkdir(mode=0o700)
        os.chown(folder, found.st_uid, found.st_gid)
        folder.chmod(stat.S_IMODE(found.st_mode))
