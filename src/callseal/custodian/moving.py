"""Moving a recording to another class: the new row first, and only when it is kept, the old leaf punctured.

Keys-and-recordings section 3. Invariants: until `finish_move` the old rows open; afterwards no copy of them does; a hold goes
along.
"""

import hashlib
from datetime import UTC, date, datetime, time

from callseal.custodian.adoption import new_tree
from callseal.custodian.custody import Custody
from callseal.custodian.leaf import known, leaf_key, open_meta, seal_meta
from callseal.custodian.row import decode_row, seal_row
from callseal.custodian.state import Group, HeldLeaf
from callseal.errors import Conflict, Destroyed, RequestError, TamperedError
from callseal.model.ids import parse_recording_id
from callseal.retention.due import group_of, split_group
from callseal.vault.tree import LAST_LEAF


class Move:
    """A move under way: the new rows and metadata, to be kept before `finish_move`."""

    def __init__(self, recording: str, group: str, leaf: int, rows: list[bytes], sealed_meta: list[bytes]) -> None:
        self.recording = recording
        self.group = group
        self.leaf = leaf
        self.rows = rows
        self.sealed_meta = sealed_meta


def begin_move(custody: Custody, recording: str, recording_class: str, rows: list[bytes], sealed_meta: list[bytes]) -> Move:
    """New rows for every part under a leaf of the new class; nothing is forgotten yet.

    Raises RequestError where a part's row is missing, Conflict where it is of this class already, Destroyed, TamperedError.
    """
    place, number = known(custody, recording), parse_recording_id(recording)
    old_class, day = split_group(place.group)
    if recording_class == old_class:
        raise Conflict("class: expected another one")
    if place.group not in custody.state.groups:
        raise Destroyed("recording: its group is gone")
    leaf = leaf_key(custody, recording)
    read = [decode_row(row) for row in rows]
    if {row.part for row in read} != set(place.headers) or len(read) != len(place.headers):
        raise RequestError("rows: expected one of each part")
    if any((row.recording, row.group, row.leaf) != (number, place.group, place.leaf) for row in read):
        raise TamperedError("row: expected one of this recording, where it is now")
    name = group_of(recording_class, _noon(day))
    group = custody.state.groups.setdefault(name, Group(new_tree()))
    if group.next_leaf >= LAST_LEAF:
        raise Conflict("group: expected a leaf to be left")
    new = group.tree.leaf(group.next_leaf)
    made = [seal_row(number, row.part, name, group.next_leaf, new, row.open(leaf)).encode() for row in read]
    meta = [
        seal_meta(new, number, int.from_bytes(sealed[:4], "big"), open_meta(leaf, number, sealed)) for sealed in sealed_meta
    ]
    group.next_leaf += 1
    custody.keystore.save()
    return Move(recording, name, group.next_leaf - 1, made, meta)


def finish_move(custody: Custody, move: Move, now: datetime) -> int:
    """The new rows are kept: puncture the old leaf, and rotate. Returns the log's number of the move."""
    place = known(custody, move.recording)
    old, new = leaf_key(custody, move.recording), custody.state.groups[move.group].tree.leaf(move.leaf)
    for index, entry in custody.history.entries(move.recording):
        if "detail" in entry:
            custody.details.reseal(index, old, new, entry["detail"])
    for hold in custody.state.holds.values():
        if move.recording in hold.recordings:
            hold.recordings[move.recording] = HeldLeaf(move.group, move.leaf, new)
    custody.state.groups[place.group].tree.puncture(place.leaf)
    entries = [
        custody.ledger.make(
            "PartMoved", now, at, what=move.recording, part=decode_row(row).part, why="class", group=move.group,
            leaf=move.leaf, row_sha256=hashlib.sha256(row).hexdigest(),
        )
        for at, row in enumerate(move.rows)
    ]  # fmt: skip
    return custody.commit(entries, rotate=True)


def _noon(day: date) -> datetime:
    return datetime.combine(day, time(12), UTC)
