"""`callseal verify`: run the independent verifier over the log, the recordings and the certificates."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from callseal.config.settings import load_config


def verify(
    place: Annotated[Path | None, typer.Argument(help="A data folder or an evidence pack; default: this installation's.")] = None,
    vkey: Annotated[Path | None, typer.Option(help="The log's verifier key, kept elsewhere; default: the folder's own.")] = None,
    since: Annotated[Path | None, typer.Option(help="An older checkpoint that you kept: the log must extend it.")] = None,
    recording: Annotated[str | None, typer.Option(help="Look at this recording alone, and the log.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    config_file: Annotated[Path | None, typer.Option("--config", help="The configuration file.")] = None,
) -> int:
    """Check that nothing in the log or the sealed recordings was changed, cut, swapped or spliced.

    The work is done by callseal_verify, which shares no code with the writer.
    """
    target = place if place is not None else load_config(config_file).data
    arguments = [str(target)]
    for name, value in (("--vkey", vkey), ("--since", since), ("--recording", recording)):
        if value is not None:
            arguments += [name, str(value)]
    if as_json:
        arguments.append("--json")
    return subprocess.run([sys.executable, "-m", "callseal_verify", *arguments], check=False).returncode
