"""`callseal export`: a recording out of the seal and into a file, with a reason and on the record.

Invariant: a file is made with nobody else's access, never over another, and is taken away again when the work fails half way.
"""

import asyncio
import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, BinaryIO

import typer
from rich.console import Console

from callseal.cli.opening import find_call, opened_call
from callseal.config.settings import load_config
from callseal.errors import CallsealError, Conflict
from callseal.flows.open import report_export
from callseal.flows.opened import OpenedRecording
from callseal.web.sound import whole

screen = Console(stderr=True, highlight=False, soft_wrap=True)
WARNING = (
    "[bold]An exported file is out of our hands.[/] Destroying the recording later does not reach it.\n"
    "The log keeps who took it, when and why, and the copy is listed in the console until its end is confirmed."
)


def export(
    recording: Annotated[str, typer.Argument(help="A recording's id as `callseal calls` shows it, or `latest`.")],
    output: Annotated[str, typer.Option("-o", "--output", help="The file to write: .wav, or .mka as it came; - for stdout.")],
    by_code: Annotated[bool, typer.Option("--code", help="Prove it by password and codes here; weaker, often refused.")] = False,
    config_file: Annotated[Path | None, typer.Option("--config", help="The configuration file.")] = None,
) -> int:
    """Write a recording to a file: asks for the reason, and for your passkey by a link to the console; the log has it first.

    The file is readable by you alone. It is listed as outstanding until somebody confirms that it is gone.
    """
    config = load_config(config_file)
    detail = find_call(config, recording)
    if output != "-" and Path(output).exists():
        raise Conflict("output: expected a file that does not exist yet")
    screen.print(WARNING)

    async def work() -> None:
        async with opened_call(config, detail, "export", by_code=by_code) as (opened, keyring):
            digest = await asyncio.to_thread(_write, opened, output)
            screen.print(f"Written, SHA-256 {digest}. Entry {opened.log_index} of the log says that you have it.")
            try:
                await report_export(keyring, opened, digest)
            except CallsealError as error:
                screen.print(f"[yellow]The log could not take the file's digest:[/] {error}. The copy is listed without it.")

    asyncio.run(work())
    return 0


def _write(opened: OpenedRecording, output: str) -> str:
    pieces = whole(opened) if opened.playable and not output.endswith(".mka") else opened.matroska()
    if output == "-":
        return _copy(pieces, sys.stdout.buffer)
    path = Path(output)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            return _copy(pieces, file)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _copy(pieces: Iterator[bytes], file: BinaryIO) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
        file.write(piece)
    file.flush()
    return digest.hexdigest()
