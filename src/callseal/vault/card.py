"""Sealing cards: which public key the recorder seals to, signed by the log's key.

Source: docs/spec/keys.md section 4; C2SP signed-note. A card is a signed note whose text has six lines:
`callseal/v1/card`, epoch, suite, public key (base64), not after, log index.
Invariant: a recorder uses the newest valid card, or its last valid one with an alarm; never another key, never none.
"""

import base64
import binascii
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from callseal.errors import RequestError, TamperedError
from callseal.model.clock import format_time, parse_time
from callseal.vault.header import PUBLIC_KEY_LENGTH, SUITE_NAME

FIRST_LINE = "callseal/v1/card"


@dataclass(frozen=True)
class SealingCard:
    """A public key to seal to until `not_after`."""

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
    """The signed note of a card; `sign` turns a text into a signed note."""
    key = base64.b64encode(card.public_key).decode()
    lines = (FIRST_LINE, str(card.epoch), card.suite, key, format_time(card.not_after), str(card.log_index))
    return sign("".join(f"{line}\n" for line in lines))


def decode_card(note: str, verify: Callable[[str], str]) -> SealingCard:
    """Read a card; `verify` turns a signed note into its text or raises TamperedError.

    Raises TamperedError for a foreign signature, another suite or a malformed line. Expiry is the caller's to ask.
    """
    lines = verify(note).split("\n")
    if len(lines) != 7 or lines[0] != FIRST_LINE or lines[6]:
        raise TamperedError(f"card: expected six lines beginning with {FIRST_LINE}")
    if lines[2] != SUITE_NAME:
        raise TamperedError(f"card: expected the suite {SUITE_NAME}")
    try:
        public_key = base64.b64decode(lines[3], validate=True)
        card = SealingCard(int(lines[1]), public_key, parse_time(lines[4]), int(lines[5]), lines[2])
    except (ValueError, binascii.Error, RequestError) as error:
        raise TamperedError("card: expected numbers, base64 and a time") from error
    if len(public_key) != PUBLIC_KEY_LENGTH or not 0 <= card.epoch < 1 << 32 or card.log_index < 0:
        raise TamperedError(f"card: expected an epoch below 2^32 and a key of {PUBLIC_KEY_LENGTH} bytes")
    return card
