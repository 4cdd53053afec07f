"""`callseal keys`: which keys there are, where they stand, and how long they last. Never a key itself."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from callseal.audit.note import open_note, parse_vkey
from callseal.config.settings import Config, load_config
from callseal.errors import TamperedError, Unavailable
from callseal.keyring.client import BlockingKeyring
from callseal.vault.card import SealingCard, decode_card


def keys(
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
    config_file: Annotated[Path | None, typer.Option("--config", help="The configuration file.")] = None,
) -> int:
    """Show the log's key to pin, the sealing cards, the erasable cell, and who holds credentials (as counts)."""
    config = load_config(config_file)
    found = describe(config, datetime.now(UTC))
    if as_json:
        print(json.dumps(found, indent=2))
        return 0
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"[bold]Log key[/] (pin it, keep a copy elsewhere)\n  {found['log_key']}\n  SHA-256 {found['log_key_sha256']}")
    console.print("[bold]Sealing cards[/] (the recorder seals to the newest)")
    for card in found["cards"]:
        state = "[green]valid[/]" if card["valid"] else "[yellow]expired[/]"
        console.print(
            f"  epoch {card['epoch']}: {state} until {card['not_after']}, {card['suite']}, key {card['key_sha256'][:16]}…"
        )
    custodian = found["custodian"]
    if custodian is None:
        console.print("[bold]Custodian[/] away: nothing can be opened or destroyed; `callseal up` starts it")
    else:
        console.print(f"[bold]Custodian[/] {'ready' if custodian.get('ready') else 'not ready'}")
        for name in ("cell_driver", "epoch", "log_size", "people", "enrolled", "waiting_invites"):
            if name in custodian:
                console.print(f"  {name.replace('_', ' ')}: {custodian[name]}")
    return 0


def describe(config: Config, now: datetime) -> dict[str, Any]:
    """The public facts of every key. Raises Unavailable before the first start, TamperedError for a card that does not verify."""
    path = config.data / "log" / "log.vkey"
    if not path.exists():
        raise Unavailable(f"expected a log at {path.parent}, found none: `callseal up` makes one")
    vkey = path.read_text(encoding="utf-8").strip()
    cards = [
        {
            "epoch": card.epoch,
            "valid": card.is_valid(now),
            "not_after": card.not_after.isoformat(),
            "suite": card.suite,
            "key_sha256": card.key_digest().hex(),
            "log_index": card.log_index,
        }
        for card in sorted(_read_cards(config, vkey), key=lambda card: -card.epoch)
    ]
    return {
        "log_key": vkey,
        "log_key_sha256": hashlib.sha256(vkey.encode()).hexdigest(),
        "cards": cards,
        "custodian": _ask_status(config),
    }


def _read_cards(config: Config, vkey: str) -> list[SealingCard]:
    verifier = parse_vkey(vkey)

    def verify(note: str) -> str:
        return open_note(note.encode(), [verifier]).text

    found = []
    for path in sorted((config.data / "cards").glob("*.card")):
        try:
            found.append(decode_card(path.read_text(encoding="utf-8"), verify))
        except TamperedError as error:
            raise TamperedError(f"{path.name}: {error}") from error
    return found


def _ask_status(config: Config) -> dict[str, Any] | None:
    try:
        with BlockingKeyring(config.custodian_socket, timeout_seconds=3.0) as keyring:
            reply = keyring.ask("status")
    except Unavailable:
        return None
    return {name: value for name, value in reply.items() if name not in ("v", "type", "id", "ok")}
