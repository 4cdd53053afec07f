"""Destruction: edit the covers, make E_{n+1}, write keystore_{n+1}, destroy E_n, log. In this order, finished by the next start.

Keys-and-recordings section 6. The custodian destroys only what its own state allows: its policy versions, its holds, its
clock; nobody says to it what is due. Early destruction is `erasure`'s.
Invariants: what is held stays; a certificate reads `pending` until the last copy of an older keystore has expired.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from callseal.audit import canonical
from callseal.custodian.call_records import INDEX_CLASS
from callseal.custodian.custody import Custody
from callseal.custodian.leaf import is_held, known
from callseal.custodian.request import Proved
from callseal.custodian.state import Pending
from callseal.retention.certificate import Attestation
from callseal.retention.due import PolicyVersion, due_groups, split_group


def find_due(custody: Custody, now: datetime) -> list[str]:
    """The groups of recordings whose day has come, by the policy version in force."""
    return [group for group in _past_their_day(custody, now) if split_group(group)[0] != INDEX_CLASS]


def _past_their_day(custody: Custody, now: datetime) -> list[str]:
    versions = [
        PolicyVersion(version.since, version.default_days, tuple(version.days.items())) for version in custody.state.versions
    ]
    return due_groups(custody.state.groups, versions, now)


def destroy_due(custody: Custody, now: datetime) -> list[dict[str, Any]]:
    """Destroy every group that is due, in one batch; held recordings keep the copy of their leaf. Returns the certificates."""
    custody.check()
    groups = find_due(custody, now)
    if not groups:
        return []
    entries, certificates, first = [], [], custody.ledger.size
    for at, group in enumerate(groups):
        gone = [name for name in custody.history.of_group(group) if not is_held(custody, name)]
        gone = [name for name in gone if not custody.history.recordings[name].destroyed]
        attestation = attest(custody, f"group:{group}", "retention", gone, first + at, now)
        del custody.state.groups[group]
        certificate = attestation.write(now)
        entries.append(custody.ledger.make(
            "GroupDestroyed", now, at, group=group, driver=attestation.driver, state=certificate["state"],
            cell=attestation.cell, until=certificate["final_on"], count=attestation.count, why="retention",
            certificate=_digest(certificate), policy=custody.policy.digest,
        ))  # fmt: skip
        certificates.append(certificate | {"log_index": first + at})
    for index in _past_their_day(custody, now):
        del custody.state.groups[index]  # what only found them by the phone system's records: no recording, so no certificate
    custody.commit(entries, rotate=True)
    return certificates


def attest(
    custody: Custody, subject: str, why: str, recordings: Sequence[str], index: int, now: datetime
) -> Attestation:
    """The attestation of a destruction that the next rotation makes, logged under `index`; it waits here until it is final."""
    state = custody.state
    state.pending.append(Pending(subject, now, state.cell, len(recordings), why, index, list(recordings)))
    return _attestation(custody, state.pending[-1])


def make_destroyed(
    custody: Custody, attestation: Attestation, recording: str, ahead: int, proved: Proved, now: datetime, why: str | None,
    second: str | None = None,
) -> bytes:
    """The entry of one recording's destruction; `who` is the second person, where it took two."""
    certificate, place = attestation.write(now), known(custody, recording)
    return custody.ledger.make(
        "RecordingDestroyed", now, ahead, what=recording, driver=attestation.driver, state=certificate["state"],
        group=place.group, leaf=place.leaf, cell=attestation.cell, until=certificate["final_on"], by=proved.who,
        who=second, reason_class=why, certificate=_digest(certificate), policy=custody.policy.digest, **proved.fields(),
    )  # fmt: skip


def finish_pending(custody: Custody, now: datetime) -> list[dict[str, Any]]:
    """Log that destructions have become final: those whose older keystores have all expired. Returns their certificates."""
    pending = custody.state.pending
    ripe = [item for item in pending if _attestation(custody, item).state(now) == "final"]
    if not ripe:
        return []
    entries, certificates = [], []
    for at, item in enumerate(ripe):
        kind, _, name = item.subject.partition(":")
        certificate = _attestation(custody, item).write(now)
        entries.append(custody.ledger.make(
            "DestructionFinal", now, at, index=item.log_index, driver=custody.keystore.driver, cell=item.cell,
            certificate=_digest(certificate), what=name if kind == "recording" else None, group=name if kind == "group" else None,
        ))  # fmt: skip
        certificates.append(certificate)
    custody.state.pending = [item for item in pending if item not in ripe]
    custody.commit(entries)
    return certificates


def _attestation(custody: Custody, item: Pending) -> Attestation:
    return Attestation(
        item.subject, item.at, custody.keystore.driver, item.cell, item.count, item.why, custody.terms.copies_kept_days,
        tuple(item.recordings), tuple(custody.history.outstanding(item.recordings)),
    )  # fmt: skip


def _digest(certificate: dict[str, Any]) -> str:
    return hashlib.sha256(canonical.encode(certificate)).hexdigest()
