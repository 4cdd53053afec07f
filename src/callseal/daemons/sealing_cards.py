"""The sealing cards that a worker may seal to, read from `cards/` and believed only by the log's pinned key.

docs/architecture.md "Data folder"; docs/spec/keys.md on sealing cards. Invariants: the newest valid card, else the last valid one
with `CardStale`; never a card that the log's key did not sign; never none.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from callseal.audit.note import open_note, parse_vkey
from callseal.errors import ConfigError, TamperedError, Unavailable
from callseal.vault.card import SealingCard, choose_card, decode_card

REREAD_SECONDS = 5.0
TELL_SECONDS = 3600.0
MAX_CARD_BYTES = 64 << 10


class SealingCards:
    """What stands in the folder, read again every few seconds; cards once believed are kept for this life."""

    def __init__(self, folder: Path, vkey: Path, note: Callable[[str, str | None, dict[str, Any]], object]) -> None:
        self._folder, self._vkey, self._note = folder, vkey, note
        self._cards: dict[int, SealingCard] = {}
        self._read_at = -REREAD_SECONDS
        self._told_at = -TELL_SECONDS

    def choose(self) -> SealingCard:
        """The card to seal to now. Raises Unavailable where there has never been one."""
        if time.monotonic() - self._read_at >= REREAD_SECONDS or not self._cards:
            self._read()
        try:
            card, is_valid = choose_card(self._cards.values(), datetime.now(UTC))
        except ConfigError as error:
            raise Unavailable(str(error)) from error
        if not is_valid and time.monotonic() - self._told_at >= TELL_SECONDS:
            self._told_at = time.monotonic()
            self._note("CardStale", None, {"epoch": card.epoch})
        return card

    def _read(self) -> None:
        self._read_at = time.monotonic()
        try:
            verifier = parse_vkey(self._vkey.read_text(encoding="utf-8"))
            paths = sorted(self._folder.glob("*.card"))
        except (OSError, UnicodeDecodeError, TamperedError):
            return  # what is known goes on; with nothing known, `choose` refuses
        for path in paths:
            try:
                if path.stat().st_size <= MAX_CARD_BYTES:
                    note = path.read_bytes()
                    card = decode_card(note.decode(), lambda text: open_note(text.encode(), [verifier]).text)
                    self._cards[card.epoch] = card
            except (OSError, UnicodeDecodeError, TamperedError):
                continue
