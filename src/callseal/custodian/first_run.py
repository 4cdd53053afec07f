"""The first two people: a compliance officer and, apart from that, an administrator, invited by links that work once.

Invariants: the tokens stand in `custodian/first-run.json` (0600) until both have enrolled, and nowhere else in clear; a
lapsed link is made anew only while nobody of its role has enrolled.
"""

import json
from datetime import datetime
from typing import Final

from callseal.custodian.custody import Custody
from callseal.custodian.durable import write_whole
from callseal.custodian.people import make_invite
from callseal.errors import Unavailable
from callseal.model.roles import ADMINISTRATOR, COMPLIANCE_OFFICER

FIRST: Final = {COMPLIANCE_OFFICER: "Compliance officer", ADMINISTRATOR: "Administrator"}


def invite_first_people(custody: Custody, now: datetime) -> None:
    """Make the links that are missing, and write them for the first start to show. Raises Unavailable."""
    state, path = custody.state, custody.place.first_run
    enrolled = {person.role for person in state.people.values()}
    waiting = {invite.role for invite in state.invites.values() if invite.expires_at > now}
    if enrolled >= set(FIRST):
        path.unlink(missing_ok=True)
        return
    if path.exists() and enrolled | waiting >= set(FIRST):
        return
    links: list[dict[str, str]] = []
    entries: list[bytes] = []
    for role, name in FIRST.items():
        if role not in enrolled:
            for digest in [digest for digest, invite in state.invites.items() if invite.role == role]:
                del state.invites[digest]
            links.append({"role": role, "token": make_invite(custody, role, name, now)})
            entries.append(custody.ledger.make("InviteCreated", now, len(entries), role=role))
    custody.commit(entries)
    try:
        write_whole(path, json.dumps(links).encode())
    except OSError as error:
        raise Unavailable(f"first-run.json: expected a durable write, got {error.strerror}") from error
