"""Adopting a part: from the recorder's courier (the HPKE header) to a row under its recording's leaf.

Keys-and-recordings section 3; docs/spec/open-call.md section 5. All parts of a recording share one leaf, so that they are
destroyed as one; the custodian knows it from its own log. Invariants: a part has one header for good; the DEK leaves this
module only inside a row.
"""

import hashlib
import json
import os
from datetime import datetime
from typing import Any, Final

from callseal.audit.entry import FIELDS
from callseal.custodian.call_records import index_call
from callseal.custodian.custody import Custody
from callseal.custodian.leaf import index_key, is_held, leaf_key, normalise, seal_meta, search_token
from callseal.custodian.row import seal_row
from callseal.custodian.state import Group
from callseal.errors import Conflict, Destroyed, LimitExceeded, NotFound, RequestError, TamperedError
from callseal.model.clock import format_time, parse_time
from callseal.model.ids import parse_recording_id
from callseal.model.message import to_bytes, to_text
from callseal.retention.due import group_of, split_group
from callseal.vault.expand import wipe
from callseal.vault.header import PartCore, split_header
from callseal.vault.message import Kind, split_message
from callseal.vault.tree import LAST_LEAF, KeyTree
from callseal.vault.unseal import PartOpener, open_header

META_LIMIT: Final = 64
TOKEN_LIMIT: Final = 64
GAP_LIMIT: Final = 10_000
_NOT_KEPT: Final = ("raw_metadata",)


def adopt_part(custody: Custody, message: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Take a part in: its row, sealed metadata and search tokens. Asked again for the same header, it answers with a new row.

    Raises TamperedError where header or metadata do not verify, NotFound where the epoch's key is gone, Conflict for another
    header under the same part, Destroyed where the recording is.
    """
    header = to_bytes(message.get("header"), "header")
    core, _ = split_header(header)
    recording, digest = core.recording.hex(), hashlib.sha256(header).hexdigest()
    before = custody.history.recordings.get(recording)
    if before is not None and before.headers.get(core.part, digest) != digest:
        raise Conflict("part: expected the header it was adopted with, got another")
    dek = _open(custody, header, core)
    try:
        meta = _read_meta(core, dek, message.get("meta"))
        started_at = parse_time(meta.get("started_at") or str(message.get("started_at")))
        twin = meta.get("same_call_as")
        twin = twin if FIELDS["same_call_as"](twin) and twin != recording else None
        group, leaf = _place(custody, recording, str(message.get("class")), started_at, twin)
        key = leaf_key(custody, recording) if before is not None else custody.state.groups[group].tree.leaf(leaf)
        row = seal_row(core.recording, core.part, group, leaf, key, dek).encode()
    finally:
        wipe(dek)
    matching = index_call(custody, meta, started_at)
    epoch = custody.state.epochs[str(core.epoch)]
    epoch.waiting = [part for part in epoch.waiting if part != f"{recording}/{core.part}"]
    custody.record(
        "PartAdopted", now, what=recording, part=core.part, header_sha256=digest, row_sha256=hashlib.sha256(row).hexdigest(),
        epoch=core.epoch, started_at=format_time(started_at), group=group, leaf=leaf, same_call_as=twin,
    )  # fmt: skip
    kept = {name: value for name, value in meta.items() if name not in _NOT_KEPT}
    tree = custody.state.groups[group].tree if group in custody.state.groups else None
    return {
        "row": to_text(row), "group": group, "leaf": leaf,
        "sealed_meta": to_text(seal_meta(key, core.recording, core.part, kept)) if kept else None,
        "tokens": _tokens(tree, kept) if tree is not None else [],
        "matching": matching,
    }  # fmt: skip


def report_sealed(custody: Custody, message: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Log that a part's object stands. Raises NotFound before its adoption, Conflict for another object under the same part."""
    recording, part = parse_recording_id(str(message.get("recording"))).hex(), message.get("part")
    found = custody.history.recordings.get(recording)
    if found is None or not isinstance(part, int) or part not in found.headers:
        raise NotFound("part: expected one that was adopted")
    if found.objects.get(part, message.get("object_sha256")) != message.get("object_sha256"):
        raise Conflict("part: expected the object it was sealed with, got another")
    gaps = message.get("gaps")
    if isinstance(gaps, list):
        if len(gaps) > GAP_LIMIT:
            raise LimitExceeded(f"gaps: expected at most {GAP_LIMIT}")
        gaps = len(gaps)
    reason = message.get("reason") if FIELDS["reason"](message.get("reason")) else None
    index = custody.ledger.append([
        custody.ledger.make(
            "PartSealed", now, what=recording, part=part, gaps=gaps, reason=reason,
            **{name: message.get(name) for name in
               ("messages", "last_commitment", "object_sha256", "state", "duration_ms", "gap_ms")},
        )
    ])  # fmt: skip
    return {"log_index": index}


def find_tokens(custody: Custody, value: object) -> list[str]:
    """The tokens that a number or account id has in each live group; four digits are looked for as the last four too."""
    if not isinstance(value, str) or not 3 <= len(value.strip()) <= 200:
        raise RequestError("value: expected 3 to 200 characters")
    text = normalise(value)
    kinds = ["full", "last4"] if len(text) == 4 and text.isdigit() else ["full"]
    return [search_token(index_key(group.tree), kind, text) for group in custody.state.groups.values() for kind in kinds]


def _open(custody: Custody, header: bytes, core: PartCore) -> bytearray:
    epoch = custody.state.epochs.get(str(core.epoch))
    if epoch is None:
        raise NotFound("header: expected an epoch whose key still stands")
    if hashlib.sha256(epoch.public_key).digest() != core.key_digest:
        raise TamperedError("header: expected this epoch's public key, got another")
    return open_header(header, epoch.private_key)[1]


def _place(
    custody: Custody, recording: str, recording_class: str, started_at: datetime, twin: str | None
) -> tuple[str, int]:
    """Group and leaf of a recording: where its other parts are, or the next leaf of its group.

    A call that is recorded twice has both recordings in one group, so that their day is one even across midnight.
    """
    before = custody.history.recordings.get(recording)
    if before is not None:
        if before.destroyed or (before.group not in custody.state.groups and not is_held(custody, recording)):
            raise Destroyed("recording: its key is gone")
        return before.group, before.leaf
    name = group_of(recording_class, started_at)
    if not FIELDS["group"](name):
        raise RequestError("class: expected a short word in lower-case letters")
    for other in [twin or recording, *custody.history.same_call(twin or recording)]:
        place = custody.history.recordings.get(other)
        if place is not None and place.group in custody.state.groups and split_group(place.group)[0] == recording_class:
            name = place.group
    group = custody.state.groups.get(name)
    if group is None:
        group = custody.state.groups[name] = Group(new_tree())
    if group.next_leaf >= LAST_LEAF:
        raise LimitExceeded("group: expected a leaf to be left")
    group.next_leaf += 1
    return name, group.next_leaf - 1


def new_tree() -> KeyTree:
    """A whole tree with a seed of its own."""
    return KeyTree.from_seed(os.urandom(32))


def _read_meta(core: PartCore, dek: bytearray, messages: Any) -> dict[str, Any]:
    """The metadata that the recorder sealed, later messages over earlier ones. Raises TamperedError."""
    if not isinstance(messages, list) or len(messages) > META_LIMIT:
        raise RequestError(f"meta: expected a list of at most {META_LIMIT} messages")
    meta: dict[str, Any] = {}
    for pair in messages:
        if not isinstance(pair, list) or len(pair) != 2:
            raise RequestError("meta: expected pairs of commitment and message")
        previous, sealed = to_bytes(pair[0], "meta"), to_bytes(pair[1], "meta")
        number = split_message(sealed).number
        nodes = KeyTree.from_seed(dek).cover(number, number)
        _, kind, plain = PartOpener(core, nodes).open(sealed, previous if number else None)
        try:
            value = json.loads(plain)
        except (ValueError, RecursionError) as error:
            raise TamperedError("meta: expected JSON") from error
        if kind is not Kind.META or not isinstance(value, dict):
            raise TamperedError("meta: expected a META message with an object")
        meta |= value
    return meta


def _tokens(tree: KeyTree, meta: dict[str, Any]) -> list[str]:
    key, found = index_key(tree), set()
    for person in meta.get("participants", [])[:TOKEN_LIMIT]:
        for value in (person.get("number"), person.get("account")) if isinstance(person, dict) else ():
            if isinstance(value, str) and (text := normalise(value)):
                found.add(search_token(key, "full", text))
                if text.isdigit() and len(text) >= 4:
                    found.add(search_token(key, "last4", text[-4:]))
    return sorted(found)
