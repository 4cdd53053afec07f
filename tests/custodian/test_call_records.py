"""What the phone system's records are matched by: keyed tokens of a day, made by the custodian and gone with the day."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from callseal.custodian.call_records import BATCH_LIMIT, INDEX_CLASS
from callseal.errors import CallsealError, LimitExceeded, RequestError
from callseal.model.clock import format_time
from tests.custody_rig import META, START, Rig

IDS = ["0001002541795788", "abcdef@pbx.example"]


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def ask(rig: Rig, *calls: dict[str, Any]) -> list[Any]:
    found: list[Any] = rig.ask("records.index", calls=list(calls))["calls"]
    return found


def call(rig: Rig, call_ids: list[str] | None = None, numbers: list[str] | None = None, hours: float = 0) -> dict[str, Any]:
    at = format_time(rig.now + timedelta(hours=hours))
    return {"call_ids": IDS if call_ids is None else call_ids, "numbers": numbers or [], "started_at": at}


def test_a_recordings_tokens_are_those_of_its_record_before_and_after(rig: Rig) -> None:
    (before,) = ask(rig, call(rig, ["00001000371098471304", "ABCDEF"], ["+44 20 7946 0123", "201"]))
    sealed = rig.record(meta=META | {"call_ids": IDS})
    matching = set(sealed.reply["matching"]["tokens"])
    assert sealed.reply["matching"]["group"] == f"{INDEX_CLASS}/2026-11-24"
    assert matching & set(before["ids"])
    assert set(before["numbers"]) <= matching
    (after,) = ask(rig, call(rig, ["00001000371098471304", "ABCDEF"], ["+44 20 7946 0123", "201"]))
    assert after == before, "the same record is known again"


def test_a_restart_keeps_the_days_key(rig: Rig) -> None:
    before = ask(rig, call(rig))
    rig.start()
    assert ask(rig, call(rig)) == before


def test_another_day_has_other_tokens_and_the_days_near_midnight_share_theirs(rig: Rig) -> None:
    noon, next_noon, before_midnight, after_midnight = ask(
        rig, call(rig, hours=3), call(rig, hours=-69), call(rig, hours=-9.05), call(rig, hours=-8.95)
    )
    assert not set(noon["ids"]) & set(next_noon["ids"])
    assert set(before_midnight["ids"]) & set(after_midnight["ids"])


def test_the_key_goes_with_the_day_and_leaves_no_certificate_of_its_own(rig: Rig) -> None:
    rig.record(meta=META | {"call_ids": IDS})
    group = f"{INDEX_CLASS}/2026-11-24"
    assert group in rig.custody.state.groups
    rig.now += timedelta(days=91)
    assert rig.ask("dispose.due")["groups"] == ["sales/2026-11-24"]
    assert len(rig.ask("dispose.run")["certificates"]) == 1
    assert group not in rig.custody.state.groups


@pytest.mark.parametrize("hours", [-24 * 91, 25, 24 * 365 * 50])
def test_a_day_that_is_kept_no_longer_or_has_not_come_makes_no_key(rig: Rig, hours: float) -> None:
    assert ask(rig, call(rig, hours=hours)) == [None]
    assert not rig.custody.state.groups


@pytest.mark.parametrize(
    ("calls", "error"),
    [
        (None, LimitExceeded),
        ([{}] * (BATCH_LIMIT + 1), LimitExceeded),
        (["x"], RequestError),
        ([{"call_ids": ["x"]}], RequestError),
        ([{"call_ids": "x", "started_at": format_time(START)}], RequestError),
        ([{"call_ids": [3], "started_at": format_time(START)}], RequestError),
        ([{"call_ids": ["x" * 200], "started_at": format_time(START)}], LimitExceeded),
        ([{"call_ids": ["x"] * 20, "started_at": format_time(START)}], RequestError),
    ],
)
def test_what_is_no_list_of_calls_is_refused(rig: Rig, calls: Any, error: type[CallsealError]) -> None:
    with pytest.raises(error):
        rig.ask("records.index", calls=calls)
    assert not rig.custody.state.groups


def test_no_answer_holds_what_was_asked(rig: Rig) -> None:
    text = json.dumps(ask(rig, call(rig, ["very-secret-id@pbx"], ["+442079460958"])))
    assert "secret" not in text
    assert "442079460958" not in text


def test_a_call_without_identifiers_is_known_by_its_time_and_numbers(rig: Rig) -> None:
    one, same, other = ask(rig, call(rig, [], ["201"]), call(rig, [], ["201"]), call(rig, [], ["202"]))
    assert one["key"] == same["key"] != other["key"]
    assert one["ids"] == []


def test_metadata_of_any_shape_is_adopted(rig: Rig) -> None:
    for value in (None, 3, "x", [3, None, {}, "ok-identifier"], ["x" * 5000]):
        assert rig.record(meta=META | {"call_ids": value}).reply["matching"]["group"]
