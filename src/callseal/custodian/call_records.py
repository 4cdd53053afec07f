"""Matching the phone system's own records with recordings, by keyed tokens of what both call a call.

Keys-and-recordings section 3 ("Search"): an index key for each day, in a group `call_records/DAY` of its own, which is destroyed
by the same clock as the recordings of that day. Invariants: no identifier or number leaves here but as an HMAC under that key; a
group is made only for a day that is still kept and has come.
"""

import os
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from callseal.custodian.custody import Custody
from callseal.custodian.leaf import index_key, search_token
from callseal.custodian.state import Group
from callseal.errors import LimitExceeded, RequestError
from callseal.model.call_id import ID_LIMIT, LENGTH_LIMIT, normalise_call_ids, tail_of
from callseal.model.clock import parse_time
from callseal.retention.due import PolicyVersion, earliest_destruction, group_of, in_force
from callseal.vault.tree import KeyTree

INDEX_CLASS: Final = "call_records"
"""No class of recordings can be called so: theirs have no underscore."""
BATCH_LIMIT: Final = 500
PARTICIPANTS: Final = 64
NEAR: Final = timedelta(minutes=10)
"""A record's day may be its neighbour's by the clock of the recorder."""
FAR: Final = timedelta(hours=14)
"""The same where a phone system writes its local time: only days that have an index are looked at."""


def index_call(custody: Custody, meta: dict[str, Any], started_at: datetime) -> dict[str, Any]:
    """The tokens that a recording is found by: `group`, `tokens`. The group is kept with the adoption's own entry."""
    name = group_of(INDEX_CLASS, started_at)
    key = _key(custody, name)
    values = meta.get("call_ids") if isinstance(meta.get("call_ids"), list) else []
    people = [person for person in meta.get("participants", [])[:PARTICIPANTS] if isinstance(person, dict)]
    numbers = [person["number"] for person in people if isinstance(person.get("number"), str)]
    return {"group": name, "tokens": sorted({*_id_tokens(key, values or []), *_number_tokens(key, numbers)})}


def index_records(custody: Custody, message: dict[str, Any], now: datetime) -> dict[str, Any]:
    """For each call of a phone system's records: `key`, by which it is known again, and the tokens `ids` and `numbers` of its day
    and of the days near it; None for a day that is kept no longer or has not come. Raises RequestError, LimitExceeded."""
    calls = message.get("calls")
    if not isinstance(calls, list) or len(calls) > BATCH_LIMIT:
        raise LimitExceeded(f"calls: expected a list of at most {BATCH_LIMIT}")
    read = [_read(call) for call in calls]
    before = len(custody.state.groups)
    answers: list[dict[str, Any] | None] = []
    for ids, numbers, started_at in read:
        keys = [_key(custody, name) for name in _days_of(custody, started_at, now)]
        if not keys:
            answers.append(None)
            continue
        own = keys[0]
        named = "|".join(sorted(normalise_call_ids(ids))) or "|".join([started_at.isoformat(), *sorted(map(tail_of, numbers))])
        answers.append({
            "key": search_token(own, "record", named),
            "ids": sorted({token for key in keys for token in _id_tokens(key, ids)}),
            "numbers": sorted({token for key in keys for token in _number_tokens(key, numbers)}),
        })  # fmt: skip
    if len(custody.state.groups) != before:
        custody.keystore.save()
    return {"calls": answers}


def _read(call: Any) -> tuple[list[str], list[str], datetime]:
    if not isinstance(call, dict):
        raise RequestError("calls: expected objects")
    lists = []
    for name in ("call_ids", "numbers"):
        values = call.get(name, [])
        if not isinstance(values, list) or len(values) > ID_LIMIT or not all(isinstance(value, str) for value in values):
            raise RequestError(f"{name}: expected a list of at most {ID_LIMIT} texts")
        if any(len(value) > LENGTH_LIMIT for value in values):
            raise LimitExceeded(f"{name}: expected at most {LENGTH_LIMIT} characters each")
        lists.append(values)
    return lists[0], lists[1], parse_time(str(call.get("started_at")))


def _days_of(custody: Custody, started_at: datetime, now: datetime) -> list[str]:
    """Groups to look in, the record's own day first; none for a day that has none."""
    own = group_of(INDEX_CLASS, started_at)
    versions = [PolicyVersion(one.since, one.default_days, tuple(one.days.items())) for one in custody.state.versions]
    version = in_force(versions, now)
    if version is None or earliest_destruction(own, version) <= now or started_at > now + timedelta(days=1):
        return []
    near = [group_of(INDEX_CLASS, started_at + shift) for shift in (-NEAR, NEAR)]
    far = [group_of(INDEX_CLASS, started_at + shift) for shift in (-FAR, FAR)]
    return list(dict.fromkeys([own, *near, *(name for name in far if name in custody.state.groups)]))


def _key(custody: Custody, name: str) -> bytes:
    group = custody.state.groups.get(name)
    if group is None:
        group = custody.state.groups[name] = Group(KeyTree.from_seed(os.urandom(32)))
    return index_key(group.tree)


def _id_tokens(key: bytes, values: Iterable[object]) -> list[str]:
    return [search_token(key, "call", value) for value in normalise_call_ids(values)]


def _number_tokens(key: bytes, numbers: Iterable[str]) -> list[str]:
    return [search_token(key, "tail", tail) for tail in map(tail_of, numbers) if tail]
