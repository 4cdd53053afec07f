"""An opening: steps 1 to 5, and no other way to a key.

docs/spec/open-call.md; keys-and-recordings section 5.
1. Verify the proof, made for this request alone (`request.prove`).
2. Decide with Cedar; an error is a deny.
3. Append the entry, allow or deny, with its words sealed beside it; fsync; sign the checkpoint.
4. Where a witness is configured, wait for it (none can be yet).
5. Return the cover of the granted messages, and nothing more.
Where a terminal began it, the reply of step 5 waits for the terminal, and who carried the proof is told the entry only.
Invariants: the keys are looked for before step 3, so that what cannot be opened is logged as denied, and given only after it;
nothing is given for a recording of which one part was refused.
"""

from datetime import datetime
from typing import Any, Final

from callseal.custodian.custody import Custody
from callseal.custodian.exports import receipt_of
from callseal.custodian.leaf import known, leaf_key, open_meta
from callseal.custodian.request import Proved, check_policy, deny, keep_words, prove, read_indexes
from callseal.custodian.row import decode_row
from callseal.errors import CallsealError, Denied, Destroyed, RequestError, TamperedError
from callseal.model.message import to_bytes, to_text
from callseal.policy.decision import OPENING_ACTIONS
from callseal.vault.tree import KeyTree, Node

PART_LIMIT: Final = 1000
SHOWN_ENTRIES: Final = 200


def open_recordings(custody: Custody, message: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Steps 1 to 5. Raises Denied, Destroyed, TamperedError, RequestError, each after its entry; Unavailable without one."""
    custody.check()
    proved = prove(custody, message, OPENING_ACTIONS, now)  # 1
    digest = proved.request.get("terminal")
    if digest is None:
        return _decide_and_give(custody, proved, message, now)
    opening = custody.terminals.waiting(digest, now)
    if opening is None:
        deny(custody, "terminal-gone", now, proved.request, proved)
        raise Denied("terminal: expected one that still waits; it was given up, or took too long")
    try:
        reply = _decide_and_give(custody, proved, opening.give, now)
    except CallsealError as error:
        custody.terminals.settle(digest, error, now)
        raise
    custody.terminals.settle(digest, reply, now)
    return {"log_index": reply["log_index"], "weaker": reply["weaker"], "grants": []}


def _decide_and_give(custody: Custody, proved: Proved, message: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Steps 2 to 5; `message` holds rows, indexes and sealed metadata."""
    check_policy(custody, proved, now)  # 2
    try:
        grants = [] if proved.request["action"] == "metadata" else _find_keys(custody, proved, message)
        meta = _read_meta(custody, proved, message.get("sealed_meta"))
    except CallsealError as error:
        why = "destroyed" if isinstance(error, Destroyed) else "tampered" if isinstance(error, TamperedError) else "cannot-open"
        deny(custody, why, now, proved.request, proved)
        raise
    index = _log_allowed(custody, proved, now)  # 3
    return {  # 5
        "grants": grants, "meta": meta, "log_index": index, "weaker": proved.weaker, "history": _words(custody, proved),
        "exports": _receipts(custody, proved, index) if proved.request["action"] == "export" else {},
    }  # fmt: skip


def read_history(custody: Custody, recording: str) -> list[dict[str, Any]]:
    """Who opened, tried, held or destroyed a recording, from the log, oldest first; words stay sealed."""
    return [
        {
            "at": entry["at"], "person": entry.get("by") or entry.get("who") or "", "role": entry.get("role", ""),
            "action": entry.get("action") or _ACTIONS.get(entry["type"], "open"), "reason_class": entry.get("reason_class"),
            "decision": entry.get("decision", "allow"), "why": entry.get("why"), "log_index": index,
        }
        for index, entry in custody.history.entries(recording)
    ]  # fmt: skip


_ACTIONS: Final = {
    "HoldPlaced": "hold", "HoldReleased": "release", "RecordingDestroyed": "erase", "PartMoved": "move",
    "ExportMade": "exported", "ExportGone": "confirm",
}  # fmt: skip


def _find_keys(custody: Custody, proved: Proved, message: dict[str, Any]) -> list[dict[str, Any]]:
    """The granted nodes of each part. Raises Destroyed, TamperedError, RequestError."""
    rows = message.get("rows")
    if not isinstance(rows, dict) or set(rows) != set(proved.recordings):
        raise RequestError("rows: expected those of each recording that was asked for")
    signed = proved.request.get("indexes")
    wanted = read_indexes(signed if signed is not None else message.get("indexes") or {}, proved.recordings)
    grants = []
    for recording in proved.recordings:
        if not isinstance(rows[recording], list) or not 1 <= len(rows[recording]) <= PART_LIMIT:
            raise RequestError(f"rows: expected 1 to {PART_LIMIT} of a recording")
        leaf, seen = leaf_key(custody, recording), set()
        for text in rows[recording]:
            part, dek = _open_row(custody, recording, leaf, to_bytes(text, "row"))
            if part in seen:
                raise RequestError("rows: expected each part once")
            seen.add(part)
            span = _span(custody, recording, part, wanted.get(recording, {}), signed is not None)
            if span is not None:
                nodes = _cover(dek, *span)
                grants.append({
                    "recording": recording, "part": part, "first": span[0], "last": span[1],
                    "nodes": [[node.depth, node.prefix, to_text(node.key)] for node in nodes],
                })  # fmt: skip
    return grants


def _open_row(custody: Custody, recording: str, leaf: bytes, data: bytes) -> tuple[int, bytes]:
    row, place = decode_row(data), known(custody, recording)
    if row.recording.hex() != recording or (row.group, row.leaf) != (place.group, place.leaf) or row.part not in place.headers:
        raise TamperedError("row: expected one of this recording, where it is now")
    return row.part, row.open(leaf)


def _span(
    custody: Custody, recording: str, part: int, wanted: dict[int, tuple[int, int]], signed: bool
) -> tuple[int, int] | None:
    """First and last message granted of a part; None where the person's own list leaves it out."""
    count = known(custody, recording).messages.get(part)
    if part not in wanted:
        if signed:
            return None
        if count is None:
            raise RequestError("indexes: expected the messages of a part that is not sealed yet")
        return 0, count - 1
    first, last = wanted[part]
    if count is not None and last >= count:
        raise RequestError(f"indexes: expected messages below {count}, got {last}")
    return first, last


def _cover(dek: bytes, first: int, last: int) -> list[Node]:
    """The cover of the granted messages, and of message 0, which holds the head without which none plays."""
    tree = KeyTree.from_seed(dek)
    head = tree.cover(0, 0) if first > 0 else ()
    return [*head, *tree.cover(first, last)]


def _read_meta(custody: Custody, proved: Proved, sealed: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if sealed is None:
        return found
    if not isinstance(sealed, dict) or not set(sealed) <= set(proved.recordings):
        raise RequestError("sealed_meta: expected lists by recording")
    for recording, texts in sealed.items():
        leaf = leaf_key(custody, recording)
        if not isinstance(texts, list) or len(texts) > PART_LIMIT:
            raise RequestError("sealed_meta: expected a list")
        for text in texts:
            meta = open_meta(leaf, bytes.fromhex(recording), to_bytes(text, "sealed_meta"))
            found.setdefault(recording, {}).update(meta)
    return found


def _log_allowed(custody: Custody, proved: Proved, now: datetime) -> int:
    request, entries = proved.request, []
    for at, recording in enumerate(proved.recordings):
        detail = keep_words(custody, recording, request, custody.ledger.size + at)
        entries.append(custody.ledger.make(
            "OpeningAllowed", now, at, who=proved.who, what=recording, action=request["action"],
            range=[request["from_ms"], request["to_ms"]], decision="allow", reason_class=request["reason_class"],
            policy=custody.policy.digest, detail=detail, **proved.fields(),
        ))  # fmt: skip
    return custody.commit(entries)


def _receipts(custody: Custody, proved: Proved, index: int) -> dict[str, list[Any]]:
    """For each recording, the number of its entry and what entitles to report the file's digest under it."""
    return {
        recording: [index + at, receipt_of(custody, recording, index + at)] for at, recording in enumerate(proved.recordings)
    }


def _words(custody: Custody, proved: Proved) -> list[dict[str, Any]]:
    """The words of the entries about these recordings, for the person who has just proved a right to them."""
    found = []
    for recording in proved.recordings:
        leaf = leaf_key(custody, recording)
        for index, entry in custody.history.entries(recording)[-SHOWN_ENTRIES:]:
            words = custody.details.read(index, leaf, entry["detail"]) if "detail" in entry else None
            if words is not None:
                found.append({"recording": recording, "log_index": index, **words})
    return found
