"""The custodian's house: keystore, log, policy and relying party, and the one way in which anything changes.

`commit`: the change and the entries it owes stand in the keystore (durable), then the entries in the log (durable, signed), then
the answer. Invariants: nothing is answered before its entry; a kill between keystore and log is made good at the next start,
from `owed`; a keystore older than the log says is refused (a restored backup).
"""

import hashlib
import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from callseal.audit.entry import read_entry
from callseal.audit.note import Signer
from callseal.authn.passkey import RelyingParty
from callseal.custodian.detail import Details
from callseal.custodian.history import History
from callseal.custodian.keystore import Keystore
from callseal.custodian.ledger import Ledger
from callseal.custodian.nonces import Failures, Nonces
from callseal.custodian.refusals import Refusals
from callseal.custodian.state import State, Version
from callseal.custodian.terminals import Terminals
from callseal.errors import ConfigError, TamperedError
from callseal.model.custody import ErasableCell
from callseal.policy.decision import PolicySet

Alarm = Callable[[str, dict[str, Any]], None]
"""Tells the watcher of something a person must look at: event type, data (ids only)."""


@dataclass(frozen=True)
class Place:
    """Where an installation lies. `data` is the data folder."""

    data: Path

    @property
    def keystores(self) -> tuple[Path, Path]:
        """The folders of the keystore and its replica."""
        return self.data / "custodian" / "keystore", self.data / "custodian" / "replica"

    @property
    def log(self) -> Path:
        """The public log."""
        return self.data / "log"

    @property
    def cards(self) -> Path:
        """The sealing cards."""
        return self.data / "cards"

    @property
    def devices(self) -> Path:
        """Device keys by their digest."""
        return self.data / "custodian" / "devices.json"

    def manifest(self, digest: str) -> Path:
        """The note of the manifest of this digest."""
        return self.data / "custodian" / "manifests" / f"{digest}.note"

    @property
    def exceptions(self) -> Path:
        """What the exceptions are that the log has by digest."""
        return self.data / "custodian" / "exceptions.json"

    @property
    def first_run(self) -> Path:
        """The first two invitations."""
        return self.data / "custodian" / "first-run.json"


@dataclass(frozen=True)
class Terms:
    """The owner's settings that the custodian keeps to."""

    default_days: int = 90
    class_days: tuple[tuple[str, int], ...] = ()
    copies_kept_days: int = 7
    most_destroyed_alone: int = 1000


@dataclass
class Custody:
    """Everything the custodian's steps work on."""

    place: Place
    terms: Terms
    party: RelyingParty
    policy: PolicySet
    keystore: Keystore
    ledger: Ledger
    details: Details
    alarm: Alarm
    nonces: Nonces = field(default_factory=Nonces)
    failures: Failures = field(default_factory=Failures)
    refusals: Refusals = field(default_factory=Refusals)
    note_written_at: datetime | None = None
    """When this process last published the note of exceptions."""
    terminals: Terminals = field(default_factory=Terminals)

    @property
    def state(self) -> State:
        """The keystore's contents."""
        return self.keystore.state

    @property
    def history(self) -> History:
        """What the log says of each recording."""
        return self.ledger.history

    def check(self) -> None:
        """Raises Unavailable where keystore or log cannot be written: then nothing is opened either."""
        self.keystore.check()
        self.ledger.check()

    def commit(self, entries: Sequence[bytes], *, rotate: bool = False) -> int:
        """Make the change in `state` durable with the entries it owes; returns the first entry's number. Raises Unavailable."""
        self.check()
        self.state.owed = list(entries)
        if rotate:
            self.keystore.rotate()
        else:
            self.keystore.save()
        return self.ledger.append(entries)

    def record(self, kind: str, now: datetime, /, *, rotate: bool = False, **fields: Any) -> int:
        """Commit one entry; returns its number."""
        return self.commit([self.ledger.make(kind, now, **fields)], rotate=rotate)


def start_custody(
    place: Place, terms: Terms, party: RelyingParty, policy: PolicySet, cell: ErasableCell, alarm: Alarm, now: datetime
) -> Custody:
    """Open the installation, or make it where there is none; finish what a kill interrupted.

    Raises TamperedError where keystore and log do not fit each other, Unavailable, ConfigError.
    """
    fresh = not Keystore.exists(place.keystores) and not cell.numbers()
    if fresh:
        if (place.log / "checkpoint").exists():
            raise ConfigError("custodian: expected its keystore beside the log, found none; restore it, or begin without a log")
        origin = f"callseal-{secrets.token_hex(4)}/{now.year:04d}"
        keystore = Keystore.create(place.keystores, cell, origin, os.urandom(32))
    else:
        keystore = Keystore.open(place.keystores, cell)
    ledger = Ledger.open(place.log, Signer.from_seed(keystore.state.origin, keystore.state.log_seed))
    if max(ledger.history.cell, ledger.history.destroyed_cell + 1) > keystore.state.cell:
        raise TamperedError("keystore: expected one as new as the log, got an older one")
    custody = Custody(place, terms, party, policy, keystore, ledger, Details(place.log / "details"), alarm)
    _pay(custody)
    _announce(custody, now)
    return custody


def _pay(custody: Custody) -> None:
    """Write the entries that a kill left owed: those whose number the log has not seen."""
    last = custody.history.last
    read = [(entry, read_entry(entry)) for entry in custody.state.owed]  # relayed events count by their own source
    custody.ledger.append([entry for entry, fields in read if fields["n"] > last.get(fields["source"], 0)])


def _announce(custody: Custody, now: datetime) -> None:
    state, ledger = custody.state, custody.ledger
    entries: list[bytes] = []

    def add(kind: str, **fields: Any) -> None:
        entries.append(ledger.make(kind, now, len(entries), **fields))

    if ledger.size == 0:
        add("LogStarted", origin=state.origin, vkey_sha256=_digest(ledger.signer))
    add("CustodianStarted", cell=state.cell, driver=custody.keystore.driver, policy=custody.policy.digest, epoch=state.last_epoch)
    newest = max(state.versions, key=lambda version: version.since, default=None)
    terms = (custody.terms.default_days, dict(custody.terms.class_days))
    if newest is None or (newest.default_days, newest.days) != terms or state.policy != custody.policy.digest:
        state.versions.append(Version(now, *terms))
        state.policy = custody.policy.digest
        add("PolicySet", policy=custody.policy.digest)
    custody.commit(entries)


def _digest(signer: Signer) -> str:
    return hashlib.sha256(signer.verifier.vkey().encode()).hexdigest()
