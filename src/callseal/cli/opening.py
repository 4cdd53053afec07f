"""Opening a recording from a terminal: reason, password and codes are asked for, never taken from arguments.

A terminal has no passkey of the console's, so the proof is a TOTP code: weaker, said so on the screen and in the log, and the
policy may refuse it. A code works once: one signs in, the next one opens.
Invariant: nothing typed is kept or shown again; the keys are wiped when the work is done, also when it fails.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import typer
from rich.console import Console

from callseal.config.settings import Config
from callseal.flows.open import REASON_LEAST_CHARACTERS, Reason, ask_to_open, open_recording
from callseal.flows.opened import OpenedRecording
from callseal.keyring.client import Keyring
from callseal.model.call import CallDetail
from callseal.model.roles import REASON_CLASSES
from callseal.store.calls import get_call, list_calls
from callseal.store.database import Database
from callseal.store.objects import ObjectStore

screen = Console(stderr=True, highlight=False, soft_wrap=True)


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
async def opened_call(config: Config, detail: CallDetail, action: str) -> AsyncIterator[tuple[OpenedRecording, str]]:
    """The opened recording and who opened it, with its keys wiped at the end. Raises Denied, Unauthenticated, Unavailable."""
    screen.print(
        f"Opening the call of {detail.call.started_at:%d %B %Y, %H:%M:%S} UTC to {action}. Your reason goes into the log first.\n"
        f"In the console, {console_link(config, detail.call.recording)}, a passkey is stronger proof."
    )
    keyring = Keyring(config.custodian_socket)
    try:
        reason = ask_reason()
        person = await sign_in(keyring)
        asked = await ask_to_open(keyring, person, action, detail, reason)
        code = _ask_code("The next code that your app shows (each works once; wait for it)")
        opened = await open_recording(keyring, ObjectStore(config.data / "objects"), detail, asked, code=code)
    finally:
        await keyring.close()
    screen.print(f"Opened: entry {opened.log_index} of the log" + (", by a code, which is weaker." if opened.weaker else "."))
    try:
        yield opened, person
    finally:
        opened.wipe()


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


def console_link(config: Config, recording: str) -> str:
    """The call's page, at the port where the console is served now."""
    address = config.run / "web.address"
    port = address.read_text(encoding="utf-8").strip().rpartition(":")[2] if address.exists() else config.web.port
    return f"{config.web.origin or f'http://localhost:{port}'}/calls/{recording}"


def _ask_code(question: str) -> str:
    return str(typer.prompt(question, hide_input=True, err=True)).replace(" ", "")
