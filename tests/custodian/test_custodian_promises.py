"""Adoption, search, holds, two persons, events, cards and people: what each promises, and what it refuses."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pyotp
import pytest

from callseal.custodian.card import rotate_cards
from callseal.custodian.custody import Terms
from callseal.custodian.leaf import normalise
from callseal.custodian.people import INVITE_LIFE
from callseal.errors import CallsealError, Conflict, Denied, Destroyed, NotFound, RequestError, TamperedError, Unauthenticated
from callseal.model.message import to_bytes, to_text
from tests.authenticator import Authenticator
from tests.custody_rig import META, Rig, Sealed, Someone


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


@pytest.fixture
def officer(rig: Rig) -> Someone:
    return rig.enrol("compliance_officer")


def adopt(rig: Rig, sealed: Sealed, **fields: Any) -> Any:
    asked = {"header": to_text(sealed.header), "meta": sealed.meta, "started_at": "2026-11-24T08:59:00.000Z", "class": "sales"} | fields
    return rig.ask("part.adopt", **asked)


def test_any_changed_byte_of_a_header_is_refused_and_takes_no_leaf(rig: Rig) -> None:
    sealed = rig.seal()
    for at in range(0, len(sealed.header), 41):
        header = bytearray(sealed.header)
        header[at] ^= 1
        with pytest.raises((TamperedError, NotFound)):
            adopt(rig, sealed, header=to_text(header))
    assert adopt(rig, sealed)["leaf"] == 0


def test_another_header_under_an_adopted_part_is_a_conflict(rig: Rig) -> None:
    sealed = rig.record()
    with pytest.raises(Conflict):
        adopt(rig, rig.seal(bytes.fromhex(sealed.recording)))


@pytest.mark.parametrize("recording_class", ["", "Sales", "a b", "../x", "x" * 40, "+442079460123", None])
def test_a_class_that_is_no_word_is_refused_and_leaves_no_group_behind(rig: Rig, recording_class: Any) -> None:
    if recording_class is None:
        recording_class = "None"
    with pytest.raises(RequestError):
        adopt(rig, rig.seal(), **{"class": recording_class})
    assert not rig.custody.state.groups


def test_a_reason_that_is_no_word_is_left_out_and_the_part_is_sealed(rig: Rig) -> None:
    sealed = rig.record()
    rig.ask(
        "part.sealed", recording=sealed.recording, part=0, messages=7, last_commitment="ab" * 32, object_sha256="ab" * 32,
        state="interrupted", reason="Pat rang from 442079460123", duration_ms=1, gaps=0, gap_ms=0,
    )  # fmt: skip
    assert "reason" not in rig.entries()[-1]


def test_metadata_that_was_changed_or_is_of_another_part_is_refused(rig: Rig) -> None:
    sealed, other = rig.seal(), rig.seal()
    with pytest.raises(TamperedError):
        adopt(rig, sealed, meta=other.meta)
    (previous, message), = sealed.meta
    changed = bytearray(to_bytes(message, "m"))
    changed[-1] ^= 1
    with pytest.raises(TamperedError):
        adopt(rig, sealed, meta=[[previous, to_text(changed)]])
    with pytest.raises(TamperedError):
        adopt(rig, sealed, meta=[[to_text(bytes(32)), message]])


def test_metadata_comes_back_with_an_opening_and_stands_nowhere_in_clear(rig: Rig, officer: Someone) -> None:
    sealed = rig.record()
    begun = officer.begin_open(sealed, "metadata")
    reply = officer.finish(sealed, begun, sealed_meta={sealed.recording: [sealed.reply["sealed_meta"]]})
    assert reply["grants"] == [] and reply["meta"][sealed.recording]["participants"] == META["participants"]


def test_numbers_are_found_whole_and_by_their_last_four_and_not_otherwise(rig: Rig) -> None:
    tokens = set(rig.record().reply["tokens"])
    for value, found in [
        ("+44 (20) 7946-0123", True), ("00442079460123", True), ("0123", True), ("201", True), ("442079460124", False), ("0124", False), ("946", False),
    ]:  # fmt: skip
        assert bool(tokens & set(rig.ask("search.tokens", value=value)["tokens"])) is found, value
    assert normalise("sip:Alice@example.com") == "alice"
    for value in ("", "ab", 7, "x" * 201):
        with pytest.raises(RequestError):
            rig.ask("search.tokens", value=value)


def test_tokens_of_two_groups_have_nothing_in_common(rig: Rig) -> None:
    first, second = rig.adopt(rig.seal(), "sales").reply["tokens"], rig.adopt(rig.seal(), "care").reply["tokens"]
    assert len(first) == len(second) > 0 and not set(first) & set(second)


def test_a_held_recording_outlives_its_group_and_goes_with_its_last_hold(rig: Rig, officer: Someone) -> None:
    held, other = rig.record(), rig.record()
    first = officer.on("hold.place", "hold", held)["hold"]
    second = officer.on("hold.place", "hold", held, case="C-18")["hold"]
    rig.now += timedelta(days=120)
    assert rig.ask("dispose.due")["groups"] == [held.reply["group"]]
    (certificate,) = rig.ask("dispose.run")["certificates"]
    assert certificate["recordings"] == [other.recording] and certificate["subject"] == f"group:{held.reply['group']}"
    with pytest.raises(Destroyed):
        officer.open(other)
    officer.on("hold.release", "release", held, hold=first)
    assert held.unseal(officer.open(held)["grants"][0]["nodes"])[1] == held.plain[1]
    released = officer.on("hold.release", "release", held, hold=second)
    assert [item["subject"] for item in released["certificates"]] == [f"recording:{held.recording}"]
    with pytest.raises(Destroyed):
        officer.open(held)
    assert rig.ask("dispose.run")["certificates"] == []


def test_a_held_recording_is_not_erased(rig: Rig, officer: Someone) -> None:
    sealed = rig.record()
    officer.on("hold.place", "hold", sealed)
    with pytest.raises(Denied):
        officer.on("erase", "erase", sealed)
    assert rig.entries()[-1]["why"] == "held-is-not-erased"
    assert officer.open(sealed)["grants"]


def test_nothing_is_due_before_its_day_whatever_a_client_says(rig: Rig, officer: Someone) -> None:
    sealed = rig.record()
    rig.now += timedelta(days=90)
    assert rig.ask("dispose.run", now="2099-01-01T00:00:00.000Z", groups=[sealed.reply["group"]])["certificates"] == []
    assert officer.open(sealed)["grants"]
    rig.now += timedelta(days=1)
    assert len(rig.ask("dispose.run")["certificates"]) == 1


def test_above_the_limit_of_a_day_an_erasure_takes_two_persons(rig: Rig, officer: Someone) -> None:
    sealed = [rig.record() for _ in range(11)]
    asked = {"recordings": [item.recording for item in sealed], "reason_class": "complaint", "reason": "Asked for in a letter", "case": ""}

    def sign() -> str:
        begun = officer.begin("erase", **asked)
        return str(rig.ask("erase", request=begun["request"], response=officer.key.sign(begun["options"]))["second"])

    def take_up(person: Someone, link: str) -> Any:
        return rig.raw("second.begin", link=link, person=person.person)

    manager, dpo = rig.enrol("manager"), rig.enrol("dpo")
    link = sign()
    for stranger in (officer, Someone(rig, "0" * 16, officer.key)):
        assert take_up(stranger, link)["error"]["kind"] == "Denied"
    begun = take_up(dpo, link)
    assert take_up(dpo, link)["error"]["kind"] == "Denied", "a link works once"
    for answer in (None, 7, {}, officer.key.sign(begun["options"]), manager.key.sign(begun["options"]), dpo.key.sign_challenge(bytes(32))):
        assert rig.raw("second", request=begun["request"], response=answer)["error"]["kind"] == "Denied"
        assert rig.entries()[-1]["why"] == "second-person"
        begun = take_up(dpo, sign())
    for request in (None, {}, [], {"nonce": "A" * 43}, {"nonce": 7}):
        assert rig.raw("second", request=request, response=dpo.key.sign(begun["options"]))["error"]["kind"] == "Denied"
    assert officer.open(sealed[0])["grants"], "nothing was destroyed, and the officer's own touch in between changes nothing"
    done = rig.ask("second", request=begun["request"], response=dpo.key.sign(begun["options"]))
    assert len(done["certificates"]) == 11
    entry = rig.entries()[done["certificate"]["log_index"]]
    assert (entry["by"], entry["who"]) == (officer.person, dpo.person), "both stand in the log"
    with pytest.raises(Destroyed):
        officer.open(sealed[0])


def test_what_is_held_or_revoked_between_two_signatures_is_not_destroyed(rig: Rig, officer: Someone) -> None:
    rig.terms = Terms(most_destroyed_alone=0)
    rig.custody.terms = rig.terms
    sealed, dpo = rig.record(), rig.enrol("dpo")
    link = officer.on("erase", "erase", sealed)["second"]
    begun = rig.ask("second.begin", link=link, person=dpo.person)
    hold = dpo.on("hold.place", "hold", sealed)["hold"]
    assert rig.raw("second", request=begun["request"], response=dpo.key.sign(begun["options"]))["error"]["kind"] == "Denied"
    assert rig.entries()[-1]["why"] == "held-is-not-erased"
    dpo.on("hold.release", "release", sealed, hold=hold)
    link = officer.on("erase", "erase", sealed)["second"]
    begun = rig.ask("second.begin", link=link, person=dpo.person)
    rig.enrol("administrator").act("person.revoke", "revoke", who=officer.person)
    assert rig.raw("second", request=begun["request"], response=dpo.key.sign(begun["options"]))["error"]["kind"] == "Denied"
    assert dpo.rig.entries("RecordingDestroyed") == []
    late = rig.enrol("compliance_officer", "Late")
    link = late.on("erase", "erase", sealed)["second"]
    rig.now += timedelta(minutes=5)
    assert rig.raw("second.begin", link=link, person=dpo.person)["error"]["kind"] == "Denied"


def event(number: int, kind: str = "CallStarted", **fields: Any) -> dict[str, Any]:
    return {"v": 1, "source": "sip", "n": number, "at": "2026-11-24T09:00:00.000Z", "type": kind, "recording": "ab" * 16, "data": {}} | fields


def test_events_are_taken_once_in_order_and_a_gap_is_a_conflict(rig: Rig) -> None:
    assert rig.ask("event.append", events=[event(1), event(2)])["through"] == {"sip": 2}
    assert rig.ask("event.append", events=[event(1), event(2), event(3)])["through"] == {"sip": 3}
    with pytest.raises(Conflict):
        rig.ask("event.append", events=[event(5)])
    rig.start()
    assert rig.ask("event.append", events=[event(3), event(4)])["through"] == {"sip": 4}
    assert [entry["n"] for entry in rig.entries("Event")] == [1, 2, 3, 4]


def test_a_run_of_sealed_seconds_is_one_entry_and_no_number_or_name_gets_in(rig: Rig) -> None:
    batch = [event(1, data={"why": "+44 20 7946 0123", "status": "488", "part": 0, "person": "Pat Example", "number": "442079460123"})]
    batch += [event(number, "Sealed") for number in range(2, 9)] + [event(9, "SomethingNew")]
    rig.ask("event.append", events=batch)
    entries = rig.entries("Event")
    assert [(entry["event"], entry["n"], entry.get("through")) for entry in entries] == [
        ("CallStarted", 1, None), ("Sealed", 2, 8), ("Other", 9, None),
    ]  # fmt: skip
    assert "7946" not in str(entries) and "Pat" not in str(entries) and entries[0]["part"] == 0


@pytest.mark.parametrize("source", ["log", "", "SIP", None, 7, "a b"])
def test_events_do_not_speak_for_the_log_itself(rig: Rig, source: Any) -> None:
    with pytest.raises(RequestError):
        rig.ask("event.append", events=[event(1, source=source)])


def test_an_ingest_key_goes_when_nothing_waits_for_it_and_is_an_alarm_when_it_stays(rig: Rig) -> None:
    waiting = rig.seal()
    rig.ask("event.append", events=[event(1, "PartStarted", recording=waiting.recording, data={"part": 0, "epoch": 1})])
    rig.now += timedelta(hours=24)
    rotate_cards(rig.custody, rig.now)
    assert rig.card().epoch == 2
    rig.now += timedelta(hours=49)
    rotate_cards(rig.custody, rig.now)
    assert rig.alarms and rig.alarms[0][0] == "CardStale" and "1" in rig.custody.state.epochs
    rig.ask("epoch.drained", epoch=1)
    rotate_cards(rig.custody, rig.now)
    assert "1" in rig.custody.state.epochs, "a part of it is still announced"
    rig.adopt(waiting)
    rotate_cards(rig.custody, rig.now)
    assert "1" not in rig.custody.state.epochs
    assert [entry["epoch"] for entry in rig.entries("EpochDestroyed")] == [1]
    with pytest.raises(NotFound):
        adopt(rig, Sealed(waiting.recording, 1, rig_header(waiting), [], waiting.sealer_core))
    with pytest.raises(RequestError):
        rig.ask("epoch.drained", epoch=rig.custody.state.last_epoch)


def rig_header(sealed: Sealed) -> bytes:
    """The same epoch's header for another part."""
    return sealed.header[:20] + (1).to_bytes(4, "big") + sealed.header[24:]


def test_a_card_published_after_a_kill_is_the_one_in_the_log(rig: Rig) -> None:
    import hashlib

    for path in rig.place.cards.iterdir():
        path.unlink()
    rig.start()
    rotate_cards(rig.custody, rig.now)
    card = rig.card()
    entry = rig.entries()[card.log_index]
    assert (entry["type"], entry["public_key_sha256"]) == ("CardIssued", hashlib.sha256(card.public_key).hexdigest())


def test_an_invitation_works_once_and_lapses(rig: Rig) -> None:
    token = rig.invite("manager", "Alex")
    rig.now += INVITE_LIFE
    with pytest.raises(NotFound):
        rig.ask("enrol.begin", token=token, kind="passkey")
    rig.enrol("manager", "Alex")
    with pytest.raises(Conflict):
        rig.invite("agent", "Alex")


def test_enrolling_with_the_wrong_proof_leaves_the_invitation_as_it_was(rig: Rig) -> None:
    token, key = rig.invite("manager", "Alex"), Authenticator(origin="https://evil.example")
    begun = rig.ask("enrol.begin", token=token, kind="passkey")
    with pytest.raises(Unauthenticated):
        rig.ask("enrol.finish", token=token, nonce=begun["nonce"], response=key.register(begun["options"]))
    key.origin = "http://localhost:8080"
    with pytest.raises(Denied):
        rig.ask("enrol.finish", token=token, nonce=begun["nonce"], response=key.register(begun["options"]))
    begun = rig.ask("enrol.begin", token=token, kind="passkey")
    assert rig.ask("enrol.finish", token=token, nonce=begun["nonce"], response=key.register(begun["options"]))["role"] == "manager"


def test_signing_in_reads_the_same_for_a_wrong_name_password_code_and_nonce(rig: Rig) -> None:
    _, codes = rig.enrol_with_code("compliance_officer", "Alex")
    assert isinstance(codes, pyotp.TOTP)

    def sign_in(**fields: Any) -> Any:
        asked = {"nonce": rig.ask("signin.begin")["nonce"], "name": "Alex", "password": "correct horse battery", "code": codes.at(rig.now)}
        return rig.raw("signin.finish", **(asked | fields))

    wrong = [sign_in(name="Nobody"), sign_in(password="correct horse batterz"), sign_in(code="000000"), sign_in(nonce="A" * 43)]
    assert len({str(reply["error"]) for reply in wrong}) == 1
    assert sign_in()["method"] == "totp"
    assert sign_in()["ok"] is False, "the same code again"


def test_words_are_shown_to_who_opens_and_die_with_the_recording(rig: Rig, officer: Someone) -> None:
    sealed = rig.record()
    officer.open(sealed)
    reply = officer.open(sealed, reason="A second look at it, for the manager")
    assert [item["reason"] for item in reply["history"]] == ["They say the price was another one", "A second look at it, for the manager"]
    assert all("reason" not in entry for entry in rig.ask("history", recording=sealed.recording)["entries"])


def test_history_tells_of_every_try(rig: Rig, officer: Someone) -> None:
    sealed, administrator = rig.record(), rig.enrol("administrator")
    officer.open(sealed)
    with pytest.raises(CallsealError):
        administrator.open(sealed)
    entries = rig.ask("history", recording=sealed.recording)["entries"]
    assert [(entry["person"], entry["decision"]) for entry in entries] == [(officer.person, "allow"), (administrator.person, "deny")]
