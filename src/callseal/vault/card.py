"""The sealing card: to which public key a recorder seals, until when, vouched for by the log's key.

docs/spec/keys.md section 4; the note around it is a C2SP signed-note, which the caller signs and verifies. Its text has six
lines: `callseal/v1/card`, epoch, suite, public key (base64), not after, log index.
Invariants: nothing of a card is used before its note verifies; a card has one form; a card past its day is still a card, and
the recorder that must use it raises an alarm: never another key, never none.
"""

import base64
import binascii
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from callseal.errors import ConfigError, RequestError, TamperedError
from callseal.model.clock import format_time, parse_time
from callseal.vault.header import SUITE_NAME, load_public_key

FIRST_LINE = "callseal/v1/card"


@dataclass(frozen=True)
class SealingCard:
    """One epoch's public key (1,216 bytes), to seal to until `not_after`; `log_index` is the log entry that announced it."""

    epoch: int
    public_key: bytes
    not_after: datetime
    log_index: int
    suite: str = SUITE_NAME

    def key_digest(self) -> bytes:
        """SHA-256 of the public key, as it stands in every header sealed to it."""
        return hashlib.sha256(self.public_key).digest()

    def is_valid(self, now: datetime) -> bool:
        """Whether it may still be used without an alarm."""
        return now <= self.not_after


def encode_card(card: SealingCard, sign: Callable[[str], str]) -> str:
    """The signed note of a card; `sign` turns a text, whose lines each end in a newline, into a signed note."""
    key = base64.b64encode(card.public_key).decode()
    lines = (FIRST_LINE, str(card.epoch), card.suite, key, format_time(card.not_after), str(card.log_index))
    return sign("".join(f"{line}\n" for line in lines))


def decode_card(note: str, verify: Callable[[str], str]) -> SealingCard:
    """The card in a signed note; `verify` returns the text of a note that a pinned key signed, or raises TamperedError.

    TamperedError for a foreign signature, another suite, or a text not in the one form. Expiry is the caller's to ask.
    """
    text = verify(note)
    lines = text.split("\n")
    if len(lines) != 7 or lines[0] != FIRST_LINE or lines[2] != SUITE_NAME:
        raise TamperedError(f"card: expected six lines that begin {FIRST_LINE}, with the suite {SUITE_NAME}")
    try:
        public_key = base64.b64decode(lines[3], validate=True)
        card = SealingCard(int(lines[1]), public_key, parse_time(lines[4]), int(lines[5]))
    except (ValueError, binascii.Error, RequestError):
        raise TamperedError("card: expected numbers, a base64 key and a time, got something else") from None
    if not 0 <= card.epoch < 1 << 32 or not 0 <= card.log_index < 1 << 64 or encode_card(card, str) != text:
        raise TamperedError("card: expected a 32-bit epoch, a log index, and one canonical form, got another")
    load_public_key(public_key)
    return card


def choose_card(cards: Iterable[SealingCard], now: datetime) -> tuple[SealingCard, bool]:
    """The newest valid card, else the newest of all; and whether it is valid: when not, seal to it and raise `CardStale`.

    ConfigError when there is none: nothing is recorded in the clear, or to any other key.
    """
    known = sorted(cards, key=lambda card: (card.is_valid(now), card.epoch))
    if not known:
        raise ConfigError("cards: expected at least one sealing card that the log's key signed, got none")
    return known[-1], known[-1].is_valid(now)
