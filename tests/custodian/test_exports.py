"""Copies that left the house: listed from the moment their keys were given, until their end is confirmed on the record."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from callseal.errors import Conflict, Denied, NotFound, RequestError
from callseal.model.message import Message
from tests.custody_rig import Rig, Sealed, Someone

DIGEST = hashlib.sha256(b"the file").hexdigest()


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


@pytest.fixture
def officer(rig: Rig) -> Someone:
    return rig.enrol("compliance_officer")


def export(officer: Someone, sealed: Sealed) -> tuple[int, str]:
    reply = officer.open(sealed, "export")
    index, receipt = reply["exports"][sealed.recording]
    return int(index), str(receipt)


def confirm(person: Someone, index: int, how: str = "holder-wrote") -> Message:
    return person.act("export.gone", "confirm", export=index, how=how)


def listed(rig: Rig, **fields: Any) -> list[tuple[int, bool]]:
    return [(item["log_index"], item["gone_at"] is None) for item in rig.ask("exports.list", **fields)["exports"]]


def test_an_export_is_outstanding_from_its_keys_to_its_confirmation_and_each_is_an_entry(rig: Rig, officer: Someone) -> None:
    sealed, other = rig.record(), rig.record()
    assert officer.open(sealed)["exports"] == {}, "hearing is no export"
    index, receipt = export(officer, sealed)
    assert listed(rig) == [(index, True)]
    made = rig.ask("export.made", index=index, receipt=receipt, digest=DIGEST)["log_index"]
    entry = rig.entries()[made]
    assert (entry["type"], entry["who"], entry["what"], entry["digest"], entry["index"]) == (
        "ExportMade", officer.person, sealed.recording, DIGEST, index,
    )  # fmt: skip
    (item,) = rig.ask("exports.list", recording=sealed.recording)["exports"]
    assert item["digest"] == DIGEST and item["gone_at"] is None
    assert rig.ask("exports.list", recording=other.recording)["exports"] == []
    confirmed = confirm(officer, index)["log_index"]
    gone = rig.entries()[confirmed]
    assert (gone["type"], gone["what"], gone["index"], gone["by"], gone["why"]) == (
        "ExportGone", sealed.recording, index, officer.person, "holder-wrote",
    )  # fmt: skip
    assert listed(rig) == [(index, False)] and rig.ask("exports.list")["outstanding"] == 0
    rig.start()
    assert listed(rig) == [(index, False)], "the list is made from the log"


def test_an_export_whose_file_was_never_reported_is_listed_all_the_same(rig: Rig, officer: Someone) -> None:
    index, _ = export(officer, rig.record())
    rig.start()
    (item,) = rig.ask("exports.list")["exports"]
    assert item["log_index"] == index and item["digest"] is None


def test_only_the_receipt_reports_a_file_and_once(rig: Rig, officer: Someone) -> None:
    index, receipt = export(officer, rig.record())
    other, other_receipt = export(officer, rig.record())
    for wrong in (other_receipt, receipt[:-4] + ("AAAA" if receipt[-4:] != "AAAA" else "BAAA"), ""):
        with pytest.raises(Denied):
            rig.ask("export.made", index=index, receipt=wrong, digest=DIGEST)
    for bad in ({"digest": "AB"}, {"digest": None}, {"receipt": 5}):
        with pytest.raises(RequestError):
            rig.ask("export.made", **({"index": index, "receipt": receipt, "digest": DIGEST} | bad))
    for number in (0, other + 100, -1, None, "1"):
        with pytest.raises(NotFound):
            rig.ask("export.made", index=number, receipt=receipt, digest=DIGEST)
    rig.start()
    rig.ask("export.made", index=index, receipt=receipt, digest=DIGEST)
    with pytest.raises(Conflict):
        rig.ask("export.made", index=index, receipt=receipt, digest=hashlib.sha256(b"another").hexdigest())
    assert len(rig.entries("ExportMade")) == 1


@pytest.mark.parametrize("role", ["manager", "administrator", "auditor", "agent"])
def test_only_officer_and_data_protection_officer_confirm_that_it_is_gone(rig: Rig, officer: Someone, role: str) -> None:
    index, _ = export(officer, rig.record())
    with pytest.raises(Denied):
        confirm(rig.enrol(role), index)
    assert rig.entries()[-1]["type"] == "OpeningDenied" and rig.entries()[-1]["action"] == "confirm"
    assert listed(rig) == [(index, True)]
    confirm(rig.enrol("dpo"), index)
    assert listed(rig) == [(index, False)]


def test_a_confirmation_is_signed_for_this_export_alone_and_given_once(rig: Rig, officer: Someone) -> None:
    first, second = export(officer, rig.record())[0], export(officer, rig.record())[0]
    begun = officer.begin("confirm", export=first, how="holder-wrote")
    response = officer.key.sign(begun["options"])
    for changed in ({"export": second}, {"how": "seen-deleted"}):
        request = begun["request"] | changed
        assert rig.raw("export.gone", request=request, response=response)["error"]["kind"] == "Denied"
        begun = officer.begin("confirm", export=first, how="holder-wrote")
        response = officer.key.sign(begun["options"])
    for kind in ("open", "erase", "hold.place"):
        assert rig.raw(kind, request=begun["request"], response=response)["error"]["kind"] == "Denied"
        begun = officer.begin("confirm", export=first, how="holder-wrote")
        response = officer.key.sign(begun["options"])
    rig.ask("export.gone", request=begun["request"], response=response)
    with pytest.raises(Denied):
        rig.ask("export.gone", request=begun["request"], response=response)
    with pytest.raises(Conflict):
        confirm(officer, first)
    assert rig.entries()[-1]["why"] == "not-possible"
    assert listed(rig) == [(second, True), (first, False)]
    for bad in ({"export": 0, "how": "holder-wrote"}, {"export": None, "how": "holder-wrote"}):
        with pytest.raises(NotFound):
            officer.begin("confirm", **bad)
    with pytest.raises(RequestError):
        officer.begin("confirm", export=second, how="I think so")


def test_a_certificate_names_the_exports_that_are_outstanding_and_they_can_be_confirmed_after_it(
    rig: Rig, officer: Someone
) -> None:
    sealed, clean = rig.record(), rig.record()
    kept, gone = export(officer, sealed)[0], export(officer, sealed)[0]
    confirm(officer, gone)
    certificate = officer.on("erase", "erase", sealed)["certificate"]
    assert certificate["exports_outstanding"] == [kept]
    assert officer.on("erase", "erase", clean)["certificate"]["exports_outstanding"] == []
    (item, _) = rig.ask("exports.list", recording=sealed.recording)["exports"]
    assert item["log_index"] == kept and item["destroyed"] is True
    confirm(officer, kept, "medium-destroyed")
    assert rig.ask("exports.list")["outstanding"] == 0
