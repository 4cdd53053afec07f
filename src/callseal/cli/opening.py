"""Opening a recording from a terminal: the reason is asked for here, and proved by a passkey in the console, or by a code here.

A terminal has no passkey of the console's. So it shows a link to the running console, where the person reads what is asked, and
touches; then the keys come here (`flows.terminal`). Where passkeys cannot work, or `--code` is given, the proof is a password
and two codes: weaker, said so on the screen and in the log, and the policy may refuse it. A code works once: one signs in, the
next one opens.
Invariant: nothing typed is kept or shown again; the keys are wiped when the work is done, also when it fails.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import typer
from rich.console import Console

from callseal.config.settings import Config
from callseal.errors import Unavailable
from callseal.flows.open import REASON_LEAST_CHARACTERS, Reason, ask_to_open, open_recording
from callseal.flows.opened import OpenedRecording
from callseal.flows.terminal import Progress, open_by_link
from callseal.keyring.client import Keyring
from callseal.model.call import CallDetail
from callseal.model.roles import REASON_CLASSES
from callseal.store.calls import get_call, list_calls
from callseal.store.database import Database
from callseal.store.objects import ObjectStore
from callseal.web.origins import Origins

screen = Console(stderr=True, highlight=False, soft_wrap=True)
TALK = {"listen": "hear it", "export": "take a copy out"}


def find_call(config: Config, name: str) -> CallDetail:
    """A call by its id, or the newest for `latest`. Raises NotFound, Unavailable."""
    database = Database(config.database_url)
    try:
        database.check_schema()
        with database.read() as connection:
            if name == "latest":
                name = next((call.recording for call in list_calls(connection, limit=1)), name)
            return get_call(connection, name)
    finally:
        database.close()


@asynccontextmanager
async def opened_call(
    config: Config, detail: CallDetail, action: str, *, by_code: bool
) -> AsyncIterator[tuple[OpenedRecording, Keyring]]:
    """The opened recording, with its keys wiped at the end. Raises Denied, NotFound, Unauthenticated, Unavailable."""
    screen.print(
        f"The call of {detail.call.started_at:%d %B %Y, %H:%M:%S} UTC, to {TALK[action]}. Your reason goes into the log first."
    )
    keyring = Keyring(config.custodian_socket)
    try:
        by_link = not by_code and can_use_passkeys(config)
        opened = await (_open_by_passkey if by_link else _open_by_code)(config, keyring, detail, action)
        screen.print(f"Opened: entry {opened.log_index} of the log" + (", by a code, which is weaker." if opened.weaker else "."))
        try:
            yield opened, keyring
        finally:
            opened.wipe()
    finally:
        await keyring.close()


def can_use_passkeys(config: Config) -> bool:
    """Whether a browser would use a passkey at the console's address; says so where it would not."""
    origin = console_origin(config)
    if Origins(origin, config.web.rp_id).allows_passkeys(urlsplit(origin).netloc):
        return True
    screen.print(f"Browsers use no passkey at {origin}, which is neither localhost nor HTTPS: a password and codes, then.")
    return False


async def _open_by_passkey(config: Config, keyring: Keyring, detail: CallDetail, action: str) -> OpenedRecording:
    if not (config.run / "web.address").exists():
        raise Unavailable("console: expected it to run, for the touch of a passkey; start `callseal up`, or use --code")
    reason = ask_reason()
    with screen.status("Asking the custodian …") as status:

        def show(token: str, sign: str) -> None:
            link = f"{console_origin(config)}/terminal#{token}"
            screen.print("\nOpen this link in your browser, read what it says, and touch your passkey:")
            screen.print(f"  [link={link}]{link}[/link]")
            screen.print(f"It shows the same sign as this terminal: [bold]{sign}[/]. It works once.")
            if not os.environ.get("DISPLAY") and not os.environ.get("WAYLAND_DISPLAY") and "://localhost" in link:
                port = urlsplit(link).port
                screen.print(f"No browser here? On your computer: ssh -L {port}:localhost:{port} THIS-MACHINE, then the link.")

        told = ""

        def tell(progress: Progress) -> None:
            nonlocal told
            words = f"Opened by {progress.by}; waiting for the touch" if progress.by else "Waiting for the link to be opened"
            status.update(f"{words} … {progress.seconds // 60}:{progress.seconds % 60:02} left; Ctrl-C gives up.")
            if words != told and not screen.is_terminal:
                screen.print(f"{words}, {progress.seconds} s.")
            told = words

        objects = ObjectStore(config.data / "objects")
        return await open_by_link(keyring, objects, detail, action, reason, show=show, tell=tell)


async def _open_by_code(config: Config, keyring: Keyring, detail: CallDetail, action: str) -> OpenedRecording:
    reason = ask_reason()
    person = await sign_in(keyring)
    asked = await ask_to_open(keyring, person, action, detail, reason)
    code = _ask_code("The next code that your app shows (each works once; wait for it)")
    return await open_recording(keyring, ObjectStore(config.data / "objects"), detail, asked, code=code)


def ask_reason() -> Reason:
    """Reason class, words and case, asked until they are whole."""
    classes = list(REASON_CLASSES)
    for number, name in enumerate(classes, 1):
        screen.print(f"  {number}  {REASON_CLASSES[name]}")
    number = 0
    while not 1 <= number <= len(classes):
        number = typer.prompt(f"Why (1 to {len(classes)})", type=int, err=True)
    words = ""
    while len(words.strip()) < REASON_LEAST_CHARACTERS:
        words = typer.prompt(f"In your own words (at least {REASON_LEAST_CHARACTERS} characters)", err=True)
    case = typer.prompt("Case or reference (may be empty)", default="", show_default=False, err=True)
    return Reason(classes[number - 1], words, case)


async def sign_in(keyring: Keyring) -> str:
    """Name, password and code; returns the person's random id. Raises Unauthenticated."""
    name = typer.prompt("Your name", err=True)
    password = typer.prompt("Password", hide_input=True, err=True)
    code = _ask_code("Six-digit code")
    nonce = (await keyring.ask("signin.begin"))["nonce"]
    reply: dict[str, Any] = await keyring.ask("signin.finish", nonce=nonce, name=name, password=password, code=code)
    return str(reply["person"])


def console_origin(config: Config) -> str:
    """Where a browser finds the console, at the port where it is served now."""
    address = config.run / "web.address"
    port = address.read_text(encoding="utf-8").strip().rpartition(":")[2] if address.exists() else config.web.port
    return config.web.origin or f"http://localhost:{port}"


def _ask_code(question: str) -> str:
    return str(typer.prompt(question, hide_input=True, err=True)).replace(" ", "")
