"""`callseal play`: hear a recording from a terminal, with a reason and on the record."""

import asyncio
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from callseal.cli.opening import find_call, opened_call
from callseal.config.settings import load_config
from callseal.errors import NotAcceptable
from callseal.flows.opened import OpenedRecording
from callseal.web.sound import whole

PLAYERS = {
    "aplay": ["aplay", "-q", "-"],
    "paplay": ["paplay", "--file-format=wav", "/dev/stdin"],
    "ffplay": ["ffplay", "-hide_banner", "-loglevel", "error", "-nodisp", "-autoexit", "-i", "pipe:0"],
}
BARS = " ▁▂▃▄▅▆▇█"
screen = Console(stderr=True, highlight=False, soft_wrap=True)


def play(
    recording: Annotated[str, typer.Argument(help="A recording's id as `callseal calls` shows it, or `latest`.")],
    by_code: Annotated[bool, typer.Option("--code", help="Prove it by password and codes here; weaker.")] = False,
    config_file: Annotated[Path | None, typer.Option("--config", help="The configuration file.")] = None,
) -> int:
    """Hear a recording: asks for the reason, and for your passkey by a link to the console; the log has it first.

    Sound goes to aplay, paplay or ffplay through a pipe, never to a file. Without one, its shape is drawn here.
    """
    config = load_config(config_file)
    detail = find_call(config, recording)

    async def work() -> int:
        async with opened_call(config, detail, "listen", by_code=by_code) as (opened, _keyring):
            if not opened.playable:
                raise NotAcceptable("codec: this recording cannot be played here; `callseal export` writes it as it came")
            return await _play(opened)

    return asyncio.run(work())


async def _play(opened: OpenedRecording) -> int:
    draw_shape(opened)
    player = next((name for name in PLAYERS if shutil.which(name)), None)
    if player is None:
        screen.print(
            "No player was found (aplay, paplay or ffplay): this is its shape only. The console plays it in a browser."
        )
        return 0
    process = await asyncio.create_subprocess_exec(*PLAYERS[player], stdin=asyncio.subprocess.PIPE)
    assert process.stdin is not None
    try:
        for piece in whole(opened):
            process.stdin.write(piece)
            await process.stdin.drain()
        process.stdin.close()
    except (BrokenPipeError, ConnectionResetError):
        pass  # the player has ended by itself, or was stopped
    code = await process.wait()
    if code != 0:
        screen.print(
            f"{player} could not play it (exit code {code}): is there a sound device? The console plays it too."
        )
    return 0 if code == 0 else 69


def draw_shape(opened: OpenedRecording) -> None:
    """One line for each track: its loudness along the call."""
    columns = max(10, min(screen.width - 14, 120))
    for number, peaks in opened.peaks(columns).items():
        track = next(item for item in opened.tracks if item.number == number)
        line = "".join(BARS[min(len(BARS) - 1, round((peak / 100) ** 0.5 * (len(BARS) - 1)))] for peak in peaks)
        screen.print(Text(f"{track.party or track.label:>10}  {line}"))
    screen.print(f"{'':>10}  {timedelta(milliseconds=opened.duration_ms // 1000 * 1000)} long, {len(opened.gaps)} gaps")
