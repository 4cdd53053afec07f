"""Exceptions from SRTP: two persons, on the record, for a stated time; the file, the note and the log hold each other to it."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from callseal.audit.exception import ClearException, ExceptionNote, decode_exceptions, encode_exceptions
from callseal.audit.note import open_note, parse_vkey, sign_note
from callseal.custodian.service import keep_house
from callseal.errors import CallsealError, Conflict, Denied, NotFound, RequestError, TamperedError
from callseal.model.clock import format_time
from callseal_verify.entries import find_problem
from tests.custody_rig import Rig, Someone

ASKED: dict[str, Any] = {"peer": "old-pbx", "network": "10.9.0.0/24", "interface": "wg0", "days": 10, "reason": "The exchange has no SRTP until March."}


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


@pytest.fixture
def administrator(rig: Rig) -> Someone:
    return rig.enrol("administrator")


@pytest.fixture
def officer(rig: Rig) -> Someone:
    return rig.enrol("compliance_officer")


def ask(person: Someone, **more: Any) -> str:
    return str(person.act("exception.ask", "except", **{**ASKED, **more})["exception"])


def note(rig: Rig) -> ExceptionNote:
    verifier = parse_vkey((rig.place.log / "log.vkey").read_text())
    return decode_exceptions((rig.place.cards / "exceptions.note").read_text(), lambda text: open_note(text.encode(), [verifier]).text)


def standing(rig: Rig) -> list[str]:
    return [one.id for one in note(rig).exceptions]


def test_one_asks_another_approves_and_both_stand_in_the_log_and_in_the_note(rig: Rig, administrator: Someone, officer: Someone) -> None:
    name = ask(administrator)
    keep_house(rig.custody, rig.now)
    assert standing(rig) == [], "asked is not approved"
    made = officer.act("exception.approve", "approve", exception=name)
    (one,) = note(rig).exceptions
    assert (one.peer, one.network, one.interface) == ("old-pbx", "10.9.0.0/24", "wg0")
    assert format_time(one.until) == made["until"] and one.until == rig.now + timedelta(days=10)
    entries = [entry for entry in rig.entries() if entry["type"].startswith("Exception")]
    assert [(entry["type"], entry["by"]) for entry in entries] == [("ExceptionAsked", administrator.person), ("ExceptionMade", officer.person)]
    assert entries[1]["who"] == administrator.person and entries[1]["digest"] == one.digest() and entries[1]["method"] == "passkey"
    assert all(find_problem(entry) == "" for entry in entries)
    (listed,) = rig.ask("exceptions.list")["exceptions"]
    assert (listed["state"], listed["reason"], listed["days"]) == ("stands", ASKED["reason"], 10)
    assert ASKED["reason"].encode() not in b"".join(path.read_bytes() for path in rig.place.data.rglob("*") if path.is_file())
    rig.start()
    assert rig.ask("exceptions.list")["exceptions"] == [listed]


def test_nobody_else_asks_and_nobody_else_approves(rig: Rig, administrator: Someone, officer: Someone) -> None:
    name = ask(administrator)
    for role in ("agent", "manager", "dpo", "auditor", "compliance_officer"):
        with pytest.raises(Denied):
            ask(rig.enrol(role, f"another {role}"))
    for role in ("agent", "manager", "dpo", "auditor", "administrator"):
        with pytest.raises(Denied):
            rig.enrol(role, f"a second {role}").act("exception.approve", "approve", exception=name)
    with pytest.raises(Denied):
        administrator.act("exception.approve", "approve", exception=name)
    for role in ("agent", "manager", "dpo", "auditor"):
        with pytest.raises(Denied):
            rig.enrol(role, f"a third {role}").act("exception.end", "withdraw", exception=name)
    keep_house(rig.custody, rig.now)
    assert standing(rig) == [] and rig.ask("exceptions.list")["exceptions"][0]["state"] == "asked"


def test_a_code_is_not_enough_to_approve(rig: Rig, administrator: Someone) -> None:
    name = ask(administrator)
    person, codes = rig.enrol_with_code("compliance_officer")
    begun = rig.ask("open.begin", person=person, action="approve", exception=name)
    with pytest.raises(Denied, match="code-is-not-enough"):
        rig.ask("exception.approve", request=begun["request"], code=codes.at(rig.now))


def test_whoever_asked_does_not_approve_even_after_a_change_of_role(rig: Rig, administrator: Someone) -> None:
    name = ask(administrator)
    rig.custody.state.people[administrator.person].role = "compliance_officer"
    with pytest.raises(Denied, match="another person"):
        administrator.act("exception.approve", "approve", exception=name)
    assert rig.entries()[-1]["why"] == "same-person"


def test_what_was_approved_is_what_was_shown(rig: Rig, administrator: Someone, officer: Someone) -> None:
    name = ask(administrator)
    begun = rig.ask("open.begin", person=officer.person, action="approve", exception=name)
    assert {key: begun["request"][key] for key in ("peer", "network", "interface", "days")} == {key: ASKED[key] for key in ("peer", "network", "interface", "days")}
    with pytest.raises(Denied):
        rig.ask("exception.approve", request=begun["request"] | {"network": "10.0.0.0/16"}, response=officer.key.sign(begun["options"]))
    keep_house(rig.custody, rig.now)
    assert standing(rig) == []


def test_it_ends_on_its_day_or_when_either_withdraws_it_and_the_log_says_which(rig: Rig, administrator: Someone, officer: Someone) -> None:
    first, second, third = ask(administrator), ask(administrator, peer="b", days=2), ask(administrator, peer="c")
    for name in (first, second):
        officer.act("exception.approve", "approve", exception=name)
    officer.act("exception.end", "withdraw", exception=third)
    administrator.act("exception.end", "withdraw", exception=first)
    assert standing(rig) == [second]
    rig.now += timedelta(days=2)
    keep_house(rig.custody, rig.now)
    assert standing(rig) == []
    ended = {entry["what"]: entry["why"] for entry in rig.entries() if entry["type"] == "ExceptionEnded"}
    assert ended == {third: "refused", first: "withdrawn", second: "expired"}
    for name in (first, second, third):
        with pytest.raises(NotFound):
            officer.act("exception.approve", "approve", exception=name)


def test_what_nobody_approves_lapses_and_what_stands_is_approved_once(rig: Rig, administrator: Someone, officer: Someone) -> None:
    lapsed, made = ask(administrator), ask(administrator)
    officer.act("exception.approve", "approve", exception=made)
    with pytest.raises(Conflict):
        officer.act("exception.approve", "approve", exception=made)
    rig.now += timedelta(days=7)
    with pytest.raises(NotFound):
        officer.act("exception.approve", "approve", exception=lapsed)
    keep_house(rig.custody, rig.now)
    assert [item["exception"] if "exception" in item else item["id"] for item in rig.ask("exceptions.list")["exceptions"]] == [made]


@pytest.mark.parametrize(
    "more",
    [
        {"days": 31}, {"days": 0}, {"days": True}, {"network": "0.0.0.0/0"}, {"network": "10.0.0.0/8"}, {"network": "10.9.0.1/24"},
        {"network": "::/0"}, {"interface": "../x"}, {"interface": "a" * 16}, {"peer": "../x"}, {"peer": ""}, {"reason": "short"}, {"network": 7},
    ],
)  # fmt: skip
def test_what_is_too_long_too_wide_or_no_place_cannot_be_asked(rig: Rig, administrator: Someone, more: dict[str, Any]) -> None:
    with pytest.raises(RequestError):
        ask(administrator, **more)


def test_a_file_that_was_changed_by_hand_makes_no_exception(rig: Rig, administrator: Someone, officer: Someone) -> None:
    name = ask(administrator)
    officer.act("exception.approve", "approve", exception=name)
    path = rig.place.exceptions
    path.write_bytes(path.read_bytes().replace(b"10.9.0.0/24", b"10.8.0.0/16"))
    keep_house(rig.custody, rig.now + timedelta(hours=13))
    assert standing(rig) == [], "its digest is not the log's"
    forged = ClearException("ab" * 16, "old-pbx", "10.9.0.0/24", "wg0", rig.now + timedelta(days=9))
    path.write_text(f"[{__import__('json').dumps(forged.plain(), sort_keys=True, separators=(',', ':'))}]")
    keep_house(rig.custody, rig.now + timedelta(hours=26))
    assert standing(rig) == [], "the log knows nothing of it"


def test_a_kill_between_file_and_entry_leaves_what_counts_for_nothing(rig: Rig, administrator: Someone, officer: Someone, monkeypatch: pytest.MonkeyPatch) -> None:
    name = ask(administrator)

    def fail(*_: Any, **__: Any) -> None:
        raise CallsealError("killed")

    monkeypatch.setattr(type(rig.custody), "commit", fail)
    with pytest.raises(CallsealError):
        officer.act("exception.approve", "approve", exception=name)
    monkeypatch.undo()
    rig.start()
    keep_house(rig.custody, rig.now)
    assert standing(rig) == [] and rig.ask("exceptions.list")["exceptions"][0]["state"] == "asked"


def test_the_note_has_one_form_and_one_signer(rig: Rig) -> None:
    one = ClearException("ab" * 16, "old-pbx", "10.9.0.0/24", "wg0", rig.now + timedelta(days=9))
    good = encode_exceptions(ExceptionNote(7, rig.now + timedelta(days=1), (one,)), str)
    assert decode_exceptions(good, str).exceptions == (one,)
    for bad in (good + "x", good.replace("7", "07", 1), good.replace('"peer"', '"pear"'), good.replace("[{", "[ {"), good.replace("old-pbx", "../pbx"),
                good.replace("exceptions", "card", 1), ""):  # fmt: skip
        with pytest.raises(TamperedError):
            decode_exceptions(bad, str)
    signed = encode_exceptions(ExceptionNote(7, rig.now, (one,)), lambda text: sign_note(text, rig.custody.ledger.signer).decode())
    stranger = Rig(rig.place.data / "other")
    verifier = parse_vkey((stranger.place.log / "log.vkey").read_text())
    with pytest.raises(TamperedError):
        decode_exceptions(signed, lambda text: open_note(text.encode(), [verifier]).text)
