"""`callseal page build`: the customers' page as three files, the same bytes on every machine."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from callseal.web.call_page import build_page, page_digest

page_app = typer.Typer(help="The page of private calls, for a host of your own or to compare.", no_args_is_help=True)
page_app.callback()(lambda: None)  # one command alone is still named


@page_app.command()
def build(
    to: Annotated[Path | None, typer.Option(help="The folder to write to; without it only the digest is shown.")] = None,
    signalling: Annotated[str, typer.Option(help="The origin that connects calls, where it is not the page's own.")] = "",
) -> int:
    """Build the page and print the digest that the manifest names."""
    files = build_page(signalling)
    if to is not None:
        to.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (to / name).write_bytes(content)
    Console(highlight=False).print(page_digest(files))
    return 0
