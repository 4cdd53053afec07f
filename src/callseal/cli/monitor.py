"""`callseal monitor URL`: watch a call page from another network, and end with an alarm when it is not what was signed."""

import sys
import time
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console

from callseal.connectors.call_page import PageHost
from callseal.errors import RequestError
from callseal.flows.monitor import look
from callseal.model.message import to_bytes
from callseal.webrtc.link import KID_BYTES


def monitor(
    url: Annotated[str, typer.Argument(help="The page's origin, as customers reach it: https://call.example.com")],
    kid: Annotated[str, typer.Option(help="The root key's hash, from the paper of the ceremony.")],
    signalling: Annotated[str, typer.Option(help="Where the manifest is, if the page stands on another host.")] = "",
    every: Annotated[int, typer.Option(min=1, max=300, help="Seconds between looks; an alarm comes within this time.")] = 60,
    once: Annotated[bool, typer.Option("--once", help="One look, for cron.")] = False,
) -> int:
    """Compare what is served with what the root key signed and the log names. Ends with code 1 at the first alarm."""
    pinned = to_bytes(kid, "kid")
    if len(pinned) != KID_BYTES:
        raise RequestError("kid: expected the root key's hash, 43 characters")
    page, manifest = PageHost(url), PageHost(signalling or url)
    console, seen = Console(highlight=False, soft_wrap=True), 0
    while True:
        now = datetime.now(UTC)
        found = look(page.fetch, manifest.fetch, pinned, seen, now)
        for finding in found.findings:
            print(f"ALARM {now.isoformat(timespec='seconds')} {url}: {finding}", file=sys.stderr, flush=True)
        if found.findings:
            return 1
        if seen != found.sequence or once:
            console.print(f"{now.isoformat(timespec='seconds')} {url} is what manifest {found.sequence} says")
        if once:
            return 0
        seen = found.sequence
        time.sleep(every)
