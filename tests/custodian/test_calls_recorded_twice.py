"""A call that is recorded twice is held and erased as one, and its recordings lie in one group; other calls are left alone."""

from pathlib import Path

import pytest

from callseal.errors import Denied, Destroyed
from tests.custody_rig import META, Rig, Sealed, Someone


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


@pytest.fixture
def officer(rig: Rig) -> Someone:
    return rig.enrol("compliance_officer")


def twins(rig: Rig, started_at: str = "2026-11-24T08:59:00.000Z") -> tuple[Sealed, Sealed]:
    """A recording and the second one of the same call, whose metadata says so."""
    first = rig.record()
    return first, rig.record(meta=META | {"same_call_as": first.recording, "started_at": started_at})


@pytest.mark.parametrize("which", [0, 1])
def test_erasing_either_recording_of_a_call_erases_both_with_a_certificate_each(rig: Rig, officer: Someone, which: int) -> None:
    pair, other = twins(rig), rig.record()
    done = officer.on("erase", "erase", pair[which])
    assert {certificate["subject"] for certificate in done["certificates"]} == {f"recording:{each.recording}" for each in pair}
    for each in pair:
        with pytest.raises(Destroyed):
            officer.open(each)
    assert officer.open(other)["grants"]


def test_what_a_person_signs_names_both_recordings(rig: Rig, officer: Someone) -> None:
    first, second = twins(rig)
    asked = {"recordings": [first.recording], "reason_class": "dispute", "reason": "The caller asked for it", "case": "C-17"}
    assert officer.begin("erase", **asked)["request"]["recordings"] == [first.recording, second.recording]


def test_a_hold_on_one_keeps_both_from_erasure_and_after_a_restart_too(rig: Rig, officer: Someone) -> None:
    first, second = twins(rig)
    officer.on("hold.place", "hold", first)
    rig.start()
    for each in (first, second):
        with pytest.raises(Denied):
            officer.on("erase", "erase", each)
    assert officer.open(second)["grants"]


def test_both_lie_in_one_group_though_midnight_lay_between_them(rig: Rig) -> None:
    first, second = twins(rig, "2026-11-25T00:00:01.000Z")
    assert second.reply["group"] == first.reply["group"] == "sales/2026-11-24" and second.reply["leaf"] != first.reply["leaf"]


@pytest.mark.parametrize("claim", ["not an id", "f" * 31, 7, None])
def test_a_claim_that_is_no_recording_is_left_out(rig: Rig, officer: Someone, claim: object) -> None:
    sealed = rig.record(meta=META | {"same_call_as": claim})
    assert len(officer.on("erase", "erase", sealed)["certificates"]) == 1


def test_a_recording_that_names_itself_or_one_that_is_gone_is_erased_alone(rig: Rig, officer: Someone) -> None:
    first, second = twins(rig)
    officer.on("erase", "erase", first)
    third = rig.record(meta=META | {"same_call_as": first.recording})
    assert len(officer.on("erase", "erase", third)["certificates"]) == 1
    own = rig.seal()
    own = rig.adopt(rig.seal(recording=bytes.fromhex(own.recording), meta=META | {"same_call_as": own.recording}))
    assert len(officer.on("erase", "erase", own)["certificates"]) == 1
    assert second.recording
