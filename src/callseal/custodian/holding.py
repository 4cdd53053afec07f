"""Legal holds: a copy of a recording's leaf that opens it while the hold stands, whatever becomes of its group.

Keys-and-recordings sections 3 and 6; docs/spec/open-call.md section 6. Invariants: "held" is answered only when copy and
entry are durable; a release forgets the copy by a rotation, and what has then no key left is destroyed and has its
certificate.
"""

import os
from datetime import datetime
from typing import Any

from callseal.custodian.custody import Custody
from callseal.custodian.destruction import attest, make_destroyed
from callseal.custodian.leaf import is_held, known, leaf_key
from callseal.custodian.request import Proved, check_policy, deny, keep_words, prove
from callseal.custodian.state import HeldLeaf, Hold
from callseal.errors import Destroyed, NotFound
from callseal.model.clock import format_time


def place_hold(custody: Custody, message: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Hold the recordings of a proved request under a case. Raises Denied, NotFound, Destroyed."""
    custody.check()
    proved = prove(custody, message, ("hold",), now)
    check_policy(custody, proved, now)
    try:
        leaves = {recording: leaf_key(custody, recording) for recording in proved.recordings}
    except (Destroyed, NotFound):
        deny(custody, "destroyed", now, proved.request, proved)
        raise
    name = os.urandom(16).hex()
    places = {recording: known(custody, recording) for recording in leaves}
    held = {recording: HeldLeaf(places[recording].group, places[recording].leaf, key) for recording, key in leaves.items()}
    custody.state.holds[name] = Hold(proved.request["case"], proved.who, now, held)
    index = custody.commit(_entries(custody, "HoldPlaced", name, proved, now))
    return {"hold": name, "log_index": index}


def release_hold(custody: Custody, message: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Release the recordings of a proved request from a hold. Raises Denied, NotFound."""
    custody.check()
    proved = prove(custody, message, ("release",), now)
    check_policy(custody, proved, now)
    name = proved.request["hold"]
    hold = custody.state.holds.get(name)
    if hold is None or not set(proved.recordings) <= set(hold.recordings):
        deny(custody, "not-held", now, proved.request, proved)
        raise NotFound("hold: expected one that stands and holds these recordings")
    entries = _entries(custody, "HoldReleased", name, proved, now)
    for recording in proved.recordings:
        del hold.recordings[recording]
    if not hold.recordings:
        del custody.state.holds[name]
    gone = [
        recording for recording in proved.recordings
        if not is_held(custody, recording) and known(custody, recording).group not in custody.state.groups
    ]  # fmt: skip
    certificates = []
    first = custody.ledger.size
    for recording in gone:
        attestation = attest(custody, f"recording:{recording}", "released", [recording], first + len(entries), now)
        entries.append(make_destroyed(custody, attestation, recording, len(entries), proved, now, None))
        certificates.append(attestation.write(now) | {"log_index": first + len(entries) - 1})
    index = custody.commit(entries, rotate=True)
    return {"log_index": index, "certificates": certificates}


def list_holds(custody: Custody, recording: str) -> list[str]:
    """The holds on a recording, by their random ids."""
    return sorted(name for name, hold in custody.state.holds.items() if recording in hold.recordings)


def list_every_hold(custody: Custody) -> list[dict[str, Any]]:
    """Every hold that stands, newest first; the case is for those who keep holds."""
    holds = sorted(custody.state.holds.items(), key=lambda item: (item[1].placed_at, item[0]), reverse=True)
    return [
        {
            "hold": name, "case": hold.case, "placed_by": hold.placed_by, "placed_at": format_time(hold.placed_at),
            "recordings": sorted(hold.recordings),
        }
        for name, hold in holds
    ]  # fmt: skip


def _entries(custody: Custody, kind: str, hold: str, proved: Proved, now: datetime) -> list[bytes]:
    made = []
    for at, recording in enumerate(proved.recordings):
        detail = keep_words(custody, recording, proved.request, custody.ledger.size + at)
        made.append(custody.ledger.make(
            kind, now, at, hold=hold, what=recording, by=proved.who, reason_class=proved.request["reason_class"],
            policy=custody.policy.digest, detail=detail, **proved.fields(),
        ))  # fmt: skip
    return made
