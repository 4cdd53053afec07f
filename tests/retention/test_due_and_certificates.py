"""What is due and when, and what a certificate may say on which day."""

from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callseal.audit import canonical
from callseal.errors import RequestError
from callseal.retention.certificate import Attestation
from callseal.retention.due import NOTICE, PolicyVersion, due_groups, earliest_destruction, group_of, in_force, split_group

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
DAY = timedelta(days=1)


@given(days=st.integers(1, 3000), age=st.integers(0, 4000), hours=st.integers(0, 23))
def test_a_group_is_due_exactly_when_its_days_after_its_own_have_passed(days: int, age: int, hours: int) -> None:
    day = date(2026, 1, 1)
    now = datetime.combine(day + timedelta(days=age), time(hours), UTC)
    version = PolicyVersion(now - timedelta(days=5000), days)
    assert due_groups([f"sales/{day}"], [version], now) == ([f"sales/{day}"] if age > days else [])


def test_a_shorter_period_takes_effect_only_after_its_notice() -> None:
    long, short = PolicyVersion(NOW - 100 * DAY, 90), PolicyVersion(NOW, 1)
    group = ["sales/2026-11-20"]
    assert due_groups(group, [long, short], NOW) == []
    assert due_groups(group, [long, short], NOW + NOTICE - timedelta(seconds=1)) == []
    assert due_groups(group, [long, short], NOW + NOTICE) == group


def test_the_first_version_needs_no_notice_and_without_one_nothing_is_due() -> None:
    assert in_force([PolicyVersion(NOW, 3)], NOW) == PolicyVersion(NOW, 3)
    assert due_groups(["sales/2000-01-01"], [], NOW) == []


def test_a_class_has_its_own_days_and_the_oldest_comes_first() -> None:
    version = PolicyVersion(NOW - 100 * DAY, 90, (("card", 2),))
    groups = ["card/2026-11-20", "card/2026-11-19", "sales/2026-11-19"]
    assert due_groups(groups, [version], NOW) == ["card/2026-11-19", "card/2026-11-20"]
    assert earliest_destruction("card/2026-11-20", version) == datetime(2026, 11, 23, tzinfo=UTC)


@pytest.mark.parametrize("days", [0, -1, 36_501])
def test_a_period_outside_its_limits_is_refused(days: int) -> None:
    with pytest.raises(RequestError):
        PolicyVersion(NOW, 90, (("sales", days),))


def test_a_call_belongs_to_the_utc_day_on_which_it_began() -> None:
    from datetime import timezone

    late = datetime(2026, 11, 25, 0, 30, tzinfo=timezone(timedelta(hours=1)))
    assert group_of("sales", late) == "sales/2026-11-24"
    assert split_group("sales/2026-11-24") == ("sales", date(2026, 11, 24))
    for text in ("sales", "sales/yesterday", ""):
        with pytest.raises(RequestError):
            split_group(text)


def test_a_certificate_is_pending_until_the_last_copy_has_expired_and_says_best_effort_of_a_file() -> None:
    attestation = Attestation("group:sales/2026-08-01", NOW, "file", 4, 12, "retention", 7)
    assert attestation.write(NOW)["words"] == "pending until 2026-12-01T09:00:00.000Z"
    assert attestation.state(NOW + 7 * DAY - timedelta(seconds=1)) == "pending"
    assert attestation.write(NOW + 7 * DAY)["state"] == "final"
    assert "best effort" in attestation.write(NOW)["limit"]
    assert canonical.decode(canonical.encode(attestation.write(NOW))) == attestation.write(NOW)
