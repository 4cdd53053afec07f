"""Sealing cards: a new key pair for the recorders each day, and the end of the old one when nothing waits for it.

Keys-and-recordings section 3; docs/spec/keys.md section 5. Invariants: the private key is durable before its card is
published; a card stands in the log before it is used; a private key goes only when a newer card has stood for a day, the
watcher has said that no spool holds a part of it, and no announced part waits; one that stays longer is an alarm, never a
lost recording.
"""

import hashlib
from datetime import datetime, timedelta
from typing import Final

from callseal.audit.note import sign_note
from callseal.custodian.custody import Custody
from callseal.custodian.durable import make_folder, write_whole
from callseal.custodian.state import Epoch
from callseal.errors import Unavailable
from callseal.model.clock import format_time
from callseal.vault.card import SealingCard, encode_card
from callseal.vault.header import SUITE_NAME
from callseal.vault.unseal import new_key_pair

ROTATE_AFTER: Final = timedelta(hours=24)
VALID_FOR: Final = timedelta(days=7)
ALARM_AFTER: Final = timedelta(hours=48)


def issue_card(custody: Custody, now: datetime) -> int:
    """Draw a key pair and publish its card; returns the epoch. Raises Unavailable."""
    state, ledger = custody.state, custody.ledger
    custody.check()
    private_key, public_key = new_key_pair()
    state.last_epoch += 1
    epoch = Epoch(private_key, public_key, now, now + VALID_FOR, ledger.size)
    state.epochs[str(state.last_epoch)] = epoch
    custody.record(
        "CardIssued", now, epoch=state.last_epoch, suite=SUITE_NAME, public_key_sha256=hashlib.sha256(public_key).hexdigest(),
        not_after=format_time(epoch.not_after),
    )  # fmt: skip
    publish_cards(custody)
    return state.last_epoch


def publish_cards(custody: Custody) -> None:
    """Write the cards that stand and are missing from `cards/`: a kill may have come between log and file. Raises Unavailable."""
    make_folder(custody.place.cards)

    def sign(text: str) -> str:
        return sign_note(text, custody.ledger.signer).decode()

    for name, epoch in custody.state.epochs.items():
        path = custody.place.cards / f"{name}.card"
        card = SealingCard(int(name), epoch.public_key, epoch.not_after, epoch.log_index)
        if not path.exists():
            try:
                write_whole(path, encode_card(card, sign).encode())
            except OSError as error:
                raise Unavailable(f"cards: expected a durable write, got {error.strerror}") from error


def rotate_cards(custody: Custody, now: datetime) -> None:
    """Issue a card where the newest is a day old or there is none; end the epochs that are done; alarm for those that stay."""
    newest = custody.state.epochs.get(str(custody.state.last_epoch))
    if newest is None or now - newest.issued_at >= ROTATE_AFTER:
        issue_card(custody, now)
    publish_cards(custody)
    over = {name: epoch for name, epoch in custody.state.epochs.items() if _succeeded(custody, name, now) >= ROTATE_AFTER}
    done = [name for name, epoch in over.items() if epoch.drained and not epoch.waiting]
    if done:
        _end_epochs(custody, done, now)
    for name in over.keys() - set(done):
        if _succeeded(custody, name, now) >= ALARM_AFTER:
            custody.alarm("CardStale", {"epoch": int(name), "count": len(over[name].waiting), "why": "ingest-key-stays"})


def _succeeded(custody: Custody, name: str, now: datetime) -> timedelta:
    """How long there has been a newer card than this one; nought where there is none."""
    later = [epoch.issued_at for other, epoch in custody.state.epochs.items() if int(other) > int(name)]
    return now - min(later) if later else timedelta()


def _end_epochs(custody: Custody, names: list[str], now: datetime) -> None:
    cell = custody.state.cell
    for name in names:
        del custody.state.epochs[name]
    ledger = custody.ledger
    entries = [ledger.make("EpochDestroyed", now, at, epoch=int(name), cell=cell) for at, name in enumerate(names)]
    custody.commit(entries, rotate=True)
    for name in names:
        (custody.place.cards / f"{name}.card").unlink(missing_ok=True)
