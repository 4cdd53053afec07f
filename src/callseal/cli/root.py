"""`callseal root`: the business root key and the manifests that it signs; docs/ceremony.md walks through it.

1. `create` writes the sealed key to a stick. 2. `sign-manifest` shows what is to be signed, asks for the passphrase, signs,
and on the server publishes it and waits for the witness. Off line: `draft` here, `sign-manifest --draft` there, `publish`
here. Invariant: the key is opened for one signature and never leaves this process; it is never in the data folder.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from callseal.audit.note import Signer
from callseal.config.settings import Config, load_config
from callseal.errors import ConfigError, Conflict, NotFound, RequestError, Unavailable
from callseal.flows.manifest import draft_manifest, read_trust
from callseal.flows.witness import read_witness_key
from callseal.keyring.client import Keyring
from callseal.model.message import to_bytes, to_text
from callseal.store.files import write_atomic
from callseal.web.call_page import build_page, page_digest
from callseal.webrtc.link import Link, write_fragment
from callseal.webrtc.manifest import Manifest, read_manifest, read_text, sign_manifest
from callseal.webrtc.root_key import create_root, open_root, read_kid

WITNESSED_WITHIN_SECONDS = 60.0

root_app = typer.Typer(help="The business root key, kept off line, and what it signs.", no_args_is_help=True)
console = Console(highlight=False, soft_wrap=True)

KeyOption = Annotated[Path, typer.Option("--key", help="The root key's file, on the compliance officer's stick.")]
ConfigOption = Annotated[Path | None, typer.Option("--config", help="The configuration file.")]
SignallingOption = Annotated[str, typer.Option(help="The page stands on another host and connects to this origin.")]


@root_app.command()
def create(to: Annotated[Path, typer.Option(help="The file to write, on a stick and not on this machine's disk.")]) -> int:
    """Make the root key, sealed under a passphrase. Once, by the compliance officer."""
    if to.exists():
        raise Conflict(f"{to} exists: a root key is never written over")
    write_key(to, new_passphrase())
    tell_kid(to.read_bytes())
    return 0


@root_app.command()
def show(key: KeyOption, config_file: ConfigOption = None) -> int:
    """Show what links name: the hash of the root key, and the public link."""
    kid = tell_kid(key.read_bytes())
    origin = load_config(config_file).private_origin
    console.print(f"Public link: [bold]{origin}/{write_fragment(Link('public', kid))}[/]")
    return 0


@root_app.command()
def draft(key: KeyOption, signalling: SignallingOption = "", config_file: ConfigOption = None) -> int:
    """Print the manifest that waits to be signed, to carry it to the machine where the root key is."""
    public = _public_of(key.read_bytes())
    sys.stdout.write(asyncio.run(make_draft(load_config(config_file), public, signalling, datetime.now(UTC))))
    return 0


@root_app.command(name="sign-manifest")
def sign(
    key: KeyOption,
    draft_file: Annotated[Path | None, typer.Option("--draft", help="A draft that was carried here; nothing is sent.")] = None,
    signalling: SignallingOption = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask whether what is shown is right.")] = False,
    config_file: ConfigOption = None,
) -> int:
    """Show the manifest, sign it with the root key, publish it. Each week, and when a device comes or goes."""
    content = key.read_bytes()
    if draft_file is not None:
        text = draft_file.read_text(encoding="utf-8")
        tell_manifest(read_text(text))
        if not yes:
            typer.confirm("Sign this?", abort=True, err=True)
        sys.stdout.write(sign_manifest(text, open_root(content, ask_passphrase())))
        return 0
    config = load_config(config_file)
    text = asyncio.run(make_draft(config, _public_of(content), signalling, datetime.now(UTC)))
    tell_manifest(read_text(text))
    if not yes:
        typer.confirm("Sign and publish this?", abort=True, err=True)
    publish_signed(config, text, open_root(content, ask_passphrase()))
    return 0


@root_app.command()
def publish(
    note: Annotated[Path, typer.Argument(help="The manifest that was signed elsewhere.")], config_file: ConfigOption = None
) -> int:
    """Publish a manifest that was signed off line."""
    asyncio.run(_publish(load_config(config_file), note.read_text(encoding="utf-8")))
    return 0


def write_key(path: Path, passphrase: str) -> None:
    """Make the key's file, readable by its owner alone."""
    os.umask(0o077)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, create_root(passphrase))


def publish_signed(config: Config, text: str, signer: Signer) -> None:
    """Sign a draft and publish it. Raises what the custodian refuses."""
    asyncio.run(_publish(config, sign_manifest(text, signer)))


def tell_kid(content: bytes) -> bytes:
    """Print the hash that links name; returns it."""
    kid = read_kid(content)
    console.print(f"Root key: [bold]{to_text(kid)}[/]")
    console.print("Write it down: staff compare it once in their browser, and every link names it.", style="dim")
    return kid


def tell_manifest(manifest: Manifest) -> None:
    """Print what is about to be signed, on stderr, so that a signed note may go to a file."""
    fields, told = manifest.fields, Console(stderr=True, highlight=False, soft_wrap=True)
    told.print(f"[bold]Manifest {manifest.sequence}[/] of {fields['business']}, until {fields['not_after']}")
    told.print(f"  call page {fields['page'][:16]}…, witnesses {', '.join(one.name for one in manifest.witnesses)}")
    for device in fields["devices"]:
        told.print(f"  may answer: {device['role']} until {device['not_after']}, key {device['key'][:12]}…")
    if not fields["devices"]:
        told.print("  [yellow]no device may answer: enrol one in the console first[/]")
    for gone in fields["revoked"]:
        told.print(f"  [red]revoked[/]: key {gone[:16]}…")


def ask_passphrase() -> str:
    """The passphrase: typed unseen, or one line of standard input where that is no terminal."""
    if sys.stdin.isatty():
        return str(typer.prompt("Passphrase of the root key", hide_input=True, err=True))
    return sys.stdin.readline().rstrip("\n")


def new_passphrase() -> str:
    """A new passphrase, typed twice where it is typed."""
    if sys.stdin.isatty():
        text = "New passphrase (12 characters or more)"
        return str(typer.prompt(text, hide_input=True, confirmation_prompt=True, err=True))
    return sys.stdin.readline().rstrip("\n")


@asynccontextmanager
async def asking(config: Config) -> AsyncIterator[Keyring]:
    """The custodian's client for a moment."""
    keyring = Keyring(config.custodian_socket)
    try:
        yield keyring
    finally:
        await keyring.close()


async def make_draft(config: Config, public: bytes, signalling: str, now: datetime) -> str:
    """The text to be signed, from what the custodian and the settings say now. Raises ConfigError, Refused."""
    if not config.private.enabled:
        raise ConfigError("private.enabled: expected true; private calls are switched off")
    vkey = (config.data / "log" / "log.vkey").read_text(encoding="utf-8").strip()
    local = config.data / "witness-key" / "witness.vkey"
    witness = read_witness_key(local).vkey() if config.private.witness == "local" else config.private.witness_key
    page = page_digest(build_page(signalling))
    words = {"business": config.business, "phone": config.private.phone}
    async with asking(config) as keyring:
        return await draft_manifest(keyring, public, words, page, vkey, [witness], now)


async def _publish(config: Config, note: str) -> None:
    manifest = read_manifest(note)
    async with asking(config) as keyring:
        reply: dict[str, Any] = await keyring.ask("manifest.publish", note=note)
        console.print(f"[green]✓[/] manifest {reply['sequence']} is in the log, entry {reply['log_index']}")
        await _wait_witnessed(config, keyring, manifest.digest)
        console.print("[green]✓[/] the witness has seen it: customers believe it from now on")


async def _wait_witnessed(config: Config, keyring: Keyring, digest: str) -> None:
    end = time.monotonic() + WITNESSED_WITHIN_SECONDS
    while time.monotonic() < end:
        try:
            shown = await read_trust(keyring, config.data / "log", config.data / "witness" / "cosigned")
        except (Unavailable, NotFound):
            await asyncio.sleep(0.5)
            continue
        if read_manifest(shown["manifest"]).digest == digest:
            return
        await asyncio.sleep(0.5)
    raise Unavailable("witness: expected its cosignature within a minute; see callseal doctor")


def _public_of(content: bytes) -> bytes:
    read_kid(content)
    try:
        return to_bytes(json.loads(content)["public"], "public")
    except (ValueError, KeyError) as error:
        raise RequestError("root key: expected its file") from error
