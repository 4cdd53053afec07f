"""`callseal witness`: cosign a log's checkpoints on another machine, by another's hand (C2SP tlog-witness)."""

import asyncio
import os
import signal
import socket
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from callseal.daemons.witness import NAME, open_witness, serve_witness
from callseal.errors import ConfigError


def witness(
    log: Annotated[Path, typer.Option(help="The log's verifier key, a file of one line, as its owner gave it to you.")],
    folder: Annotated[Path, typer.Option(help="Where the witness keeps its key and what it has seen.")],
    listen: Annotated[str, typer.Option(help="HOST:PORT; behind your proxy with HTTPS.")] = "127.0.0.1:8090",
    name: Annotated[str, typer.Option(help="The witness's name, as its key has it.")] = NAME,
) -> int:
    """Run a witness: it cosigns only what extends what it saw, and remembers."""
    os.umask(0o077)
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal():
        raise ConfigError("--listen: expected HOST:PORT")
    one = open_witness(folder, log.read_text(encoding="utf-8"), name)
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host.strip("[]"), int(port)))
    except OSError as error:
        raise ConfigError(f"--listen: cannot listen on {listen}: {error.strerror}") from error
    where = listener.getsockname()
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"Witness at http://{where[0]}:{where[1]}, its key for private.witness_key:\n{one.vkey}")

    async def main() -> None:
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        await serve_witness(one, listener, stopping.wait)

    asyncio.run(main())
    return 0
