"""Every way to open a recording that is not the one way: denied, and in the log."""

import copy
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from callseal.audit import canonical
from callseal.authn.challenge import challenge_of
from callseal.custodian.refusals import OWN_ENTRIES
from callseal.custodian.service import keep_house
from callseal.errors import Denied, RequestError, TamperedError, Unavailable
from callseal.model.message import raise_refusal
from callseal.policy.decision import PolicySet
from tests.authenticator import Authenticator
from tests.custody_rig import Rig, Sealed, Someone


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


@pytest.fixture
def officer(rig: Rig) -> Someone:
    return rig.enrol("compliance_officer")


@pytest.fixture
def sealed(rig: Rig) -> Sealed:
    return rig.record()


def assert_denied(rig: Rig, reply: Any, why: str) -> dict[str, Any]:
    """Refused, nothing given, and one more entry that says so."""
    assert reply["ok"] is False and "grants" not in reply and "nodes" not in str(reply)
    newest = rig.entries()[-1]
    assert (newest["type"], newest["decision"], newest["why"]) == ("OpeningDenied", "deny", why)
    return newest


def test_the_one_way_opens_what_was_sealed_after_its_entry(rig: Rig, officer: Someone, sealed: Sealed) -> None:
    reply = officer.open(sealed)
    opened = sealed.unseal(reply["grants"][0]["nodes"])
    assert [opened[number] for number in range(5)] == sealed.plain
    entry = rig.entries()[reply["log_index"]]
    assert (entry["type"], entry["who"], entry["what"], entry["action"]) == (
        "OpeningAllowed", officer.person, sealed.recording, "listen",
    )  # fmt: skip
    assert reply["weaker"] is False and reply["history"][-1]["reason"].startswith("They say")


def test_no_assertion_is_denied_and_logged(rig: Rig, officer: Someone, sealed: Sealed) -> None:
    begun = officer.begin_open(sealed)
    assert_denied(rig, rig.raw("open", request=begun["request"], rows={sealed.recording: [sealed.row]}), "no-proof")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("action", "export"),
        ("from_ms", 1000),
        ("to_ms", 9000),
        ("reason", "Some other reason altogether"),
        ("reason_class", "quality"),
        ("case", "C-99"),
        ("person", "0" * 16),
        ("nonce", "A" * 43),
        ("at", "2026-11-24T09:00:01.000Z"),
    ],
)
def test_a_request_changed_after_it_was_signed_is_denied_and_logged(
    rig: Rig, officer: Someone, sealed: Sealed, field: str, value: Any
) -> None:
    begun = officer.begin_open(sealed)
    changed = begun["request"] | {field: value}
    reply = rig.raw(
        "open", request=changed, rows={sealed.recording: [sealed.row]}, response=officer.key.sign(begun["options"])
    )
    assert_denied(rig, reply, "unknown-request" if field == "nonce" else "request-changed")


def test_a_request_changed_and_signed_as_changed_is_denied_and_logged(rig: Rig, officer: Someone, sealed: Sealed) -> None:
    begun = officer.begin_open(sealed)
    changed = begun["request"] | {"to_ms": 4001}
    response = officer.key.sign_challenge(challenge_of(canonical.encode(changed)))
    assert_denied(rig, rig.raw("open", request=changed, rows={sealed.recording: [sealed.row]}, response=response), "request-changed")


def test_an_assertion_for_another_recording_is_denied_and_logged(rig: Rig, officer: Someone, sealed: Sealed) -> None:
    other = rig.record()
    signed = officer.key.sign(officer.begin_open(other)["options"])
    begun = officer.begin_open(sealed)
    reply = rig.raw("open", request=begun["request"], rows={sealed.recording: [sealed.row]}, response=signed)
    entry = assert_denied(rig, reply, "proof-refused")
    assert entry["what"] == sealed.recording


@pytest.mark.parametrize("fields", [{"action": "export"}, {"reason": "Another reason than this"}, {"case": "C-1"}, {"to_ms": 8000}])
def test_an_assertion_for_another_action_range_or_reason_is_denied_and_logged(
    rig: Rig, officer: Someone, sealed: Sealed, fields: dict[str, Any]
) -> None:
    signed = officer.key.sign(officer.begin_open(sealed, **fields)["options"])
    begun = officer.begin_open(sealed)
    reply = rig.raw("open", request=begun["request"], rows={sealed.recording: [sealed.row]}, response=signed)
    assert_denied(rig, reply, "proof-refused")


def test_rows_of_another_recording_under_a_true_assertion_are_denied_and_logged(rig: Rig, officer: Someone, sealed: Sealed) -> None:
    other, begun = rig.record(), officer.begin_open(sealed)
    response = officer.key.sign(begun["options"])
    reply = rig.raw("open", request=begun["request"], rows={sealed.recording: [other.row]}, response=response)
    assert reply["error"]["kind"] == "TamperedError"
    assert_denied(rig, reply, "tampered")
    begun = officer.begin_open(sealed)
    response = officer.key.sign(begun["options"])
    reply = rig.raw("open", request=begun["request"], rows={other.recording: [other.row]}, response=response)
    assert_denied(rig, reply, "cannot-open")


def test_a_replayed_opening_is_denied_and_logged(rig: Rig, officer: Someone, sealed: Sealed) -> None:
    begun = officer.begin_open(sealed)
    message = {
        "request": begun["request"], "rows": {sealed.recording: [sealed.row]}, "response": officer.key.sign(begun["options"]),
    }  # fmt: skip
    assert rig.raw("open", **copy.deepcopy(message))["ok"] is True
    assert_denied(rig, rig.raw("open", **message), "unknown-request")


def test_a_replay_after_a_restart_is_denied_and_logged(rig: Rig, officer: Someone, sealed: Sealed) -> None:
    begun = officer.begin_open(sealed)
    response = officer.key.sign(begun["options"])
    rig.start()
    assert_denied(rig, rig.raw("open", request=begun["request"], rows={sealed.recording: [sealed.row]}, response=response), "unknown-request")


def test_a_stale_nonce_is_denied_and_logged(rig: Rig, officer: Someone, sealed: Sealed) -> None:
    begun = officer.begin_open(sealed)
    response = officer.key.sign(begun["options"])
    rig.now += timedelta(minutes=5)
    assert_denied(rig, rig.raw("open", request=begun["request"], rows={sealed.recording: [sealed.row]}, response=response), "unknown-request")


@pytest.mark.parametrize("action", ["listen", "export", "metadata"])
def test_an_administrator_is_denied_and_logged(rig: Rig, sealed: Sealed, action: str) -> None:
    administrator = rig.enrol("administrator")
    with pytest.raises(Denied):
        administrator.open(sealed, action)
    newest = rig.entries()[-1]
    assert (newest["type"], newest["why"], newest["role"]) == ("OpeningDenied", "administrator-never-opens", "administrator")


def test_an_administrator_cannot_make_a_listener_of_himself(rig: Rig) -> None:
    administrator = rig.enrol("administrator")
    for role in ("compliance_officer", "manager", "dpo"):
        with pytest.raises(Denied):
            administrator.act("invite.create", "invite", role=role, name="Me again")
        assert rig.entries()[-1]["action"] == "invite"
    assert administrator.act("invite.create", "invite", role="agent", name="Somebody")["token"]


def test_the_passkey_of_another_person_is_denied_and_logged(rig: Rig, officer: Someone, sealed: Sealed) -> None:
    other = rig.enrol("manager")
    begun = officer.begin_open(sealed)
    reply = rig.raw("open", request=begun["request"], rows={sealed.recording: [sealed.row]}, response=other.key.sign(begun["options"]))
    assert_denied(rig, reply, "another-person")


def test_an_unknown_credential_is_denied_and_logged(rig: Rig, officer: Someone, sealed: Sealed) -> None:
    begun, stranger = officer.begin_open(sealed), Authenticator()
    reply = rig.raw("open", request=begun["request"], rows={sealed.recording: [sealed.row]}, response=stranger.sign(begun["options"]))
    assert_denied(rig, reply, "proof-refused")
    stranger.credential_id = officer.key.credential_id
    begun = officer.begin_open(sealed)
    reply = rig.raw("open", request=begun["request"], rows={sealed.recording: [sealed.row]}, response=stranger.sign(begun["options"]))
    assert_denied(rig, reply, "proof-refused")


@pytest.mark.parametrize(
    ("field", "value"),
    [("origin", "https://evil.example"), ("origin", "http://localhost:8081"), ("rp_id", "evil.example"), ("user_verified", False), ("cross_origin", True)],
)
def test_a_wrong_origin_or_an_unverified_user_is_denied_and_logged(
    rig: Rig, officer: Someone, sealed: Sealed, field: str, value: Any
) -> None:
    begun = officer.begin_open(sealed)
    setattr(officer.key, field, value)
    reply = rig.raw("open", request=begun["request"], rows={sealed.recording: [sealed.row]}, response=officer.key.sign(begun["options"]))
    assert_denied(rig, reply, "proof-refused")


def test_a_cloned_authenticator_is_denied_by_its_count(rig: Rig, officer: Someone, sealed: Sealed) -> None:
    officer.open(sealed)
    officer.key.count = 1
    begun = officer.begin_open(sealed)
    reply = rig.raw("open", request=begun["request"], rows={sealed.recording: [sealed.row]}, response=officer.key.sign(begun["options"]))
    assert_denied(rig, reply, "proof-refused")


def test_a_code_used_twice_is_denied_and_logged(rig: Rig, sealed: Sealed) -> None:
    person, codes = rig.enrol_with_code("compliance_officer")
    someone = Someone(rig, person, Authenticator())
    code = codes.at(rig.now)
    begun = someone.begin_open(sealed)
    assert begun["options"] is None
    reply = rig.raw("open", request=begun["request"], rows={sealed.recording: [sealed.row]}, code=code)
    assert reply["ok"] is True and reply["weaker"] is True
    assert rig.entries()[-1]["weaker"] is True
    begun = someone.begin_open(sealed)
    assert_denied(rig, rig.raw("open", request=begun["request"], rows={sealed.recording: [sealed.row]}, code=code), "proof-refused")
    rig.start()
    begun = someone.begin_open(sealed)
    assert_denied(rig, rig.raw("open", request=begun["request"], rows={sealed.recording: [sealed.row]}, code=code), "proof-refused")


def test_codes_are_not_guessed_beyond_a_few_tries(rig: Rig, sealed: Sealed) -> None:
    person, codes = rig.enrol_with_code("compliance_officer")
    someone = Someone(rig, person, Authenticator())
    for _ in range(5):
        begun = someone.begin_open(sealed)
        rig.raw("open", request=begun["request"], rows={sealed.recording: [sealed.row]}, code="000000")
    begun = someone.begin_open(sealed)
    reply = rig.raw("open", request=begun["request"], rows={sealed.recording: [sealed.row]}, code=codes.at(rig.now))
    assert_denied(rig, reply, "proof-refused")


def test_a_code_does_not_export(rig: Rig, sealed: Sealed) -> None:
    person, codes = rig.enrol_with_code("compliance_officer")
    someone = Someone(rig, person, Authenticator())
    begun = someone.begin_open(sealed, "export")
    reply = rig.raw("open", request=begun["request"], rows={sealed.recording: [sealed.row]}, code=codes.at(rig.now))
    assert_denied(rig, reply, "code-is-not-enough")


def test_a_revoked_person_is_denied_and_logged(rig: Rig, officer: Someone, sealed: Sealed) -> None:
    begun = officer.begin_open(sealed)
    response = officer.key.sign(begun["options"])
    administrator = rig.enrol("administrator")
    administrator.act("person.revoke", "revoke", who=officer.person)
    assert_denied(rig, rig.raw("open", request=begun["request"], rows={sealed.recording: [sealed.row]}, response=response), "proof-refused")
    assert rig.raw("open.begin", person=officer.person, action="listen")["error"]["kind"] == "Denied"
    keep_house(rig.custody, rig.now)
    assert [(entry["kind"], entry["count"]) for entry in rig.entries("RefusalsCounted")] == [("open", 1)]


class _Failing(PolicySet):
    """The shipped policies, with an engine that fails."""

    def _evaluate(self, question: Any) -> Any:
        raise RuntimeError("the engine is in error")


def test_a_policy_in_error_is_denied_and_logged(rig: Rig, officer: Someone, sealed: Sealed) -> None:
    rig.custody.policy = _Failing(rig.custody.policy._policies, rig.custody.policy._schema)
    with pytest.raises(Denied):
        officer.open(sealed)
    assert rig.entries()[-1]["why"] == "error"


def test_messages_of_a_range_are_those_that_were_signed(rig: Rig, officer: Someone, sealed: Sealed) -> None:
    with pytest.raises(RequestError):
        officer.begin_open(sealed, to_ms=1000)
    begun = officer.begin_open(sealed, from_ms=1000, to_ms=2000, indexes={sealed.recording: [[0, 2, 2]]})
    reply = officer.finish(sealed, begun, indexes={sealed.recording: [[0, 0, 6]]})
    assert set(sealed.unseal(reply["grants"][0]["nodes"])) == {0, 2}


def test_messages_beyond_the_part_are_not_granted(rig: Rig, officer: Someone, sealed: Sealed) -> None:
    begun = officer.begin_open(sealed)
    with pytest.raises(RequestError):
        officer.finish(sealed, begun, indexes={sealed.recording: [[0, 0, 7]]})
    assert rig.entries()[-1]["why"] == "cannot-open"


@pytest.mark.parametrize("request_field", [None, [], "x", {"nonce": 5}, {"nonce": "***"}, {"nonce": 1.5}])
def test_a_malformed_request_is_denied_and_logged(rig: Rig, request_field: Any) -> None:
    assert_denied(rig, rig.raw("open", request=request_field, rows={}, response={}), "unknown-request")


def test_a_row_with_any_byte_changed_opens_nothing(rig: Rig, officer: Someone, sealed: Sealed) -> None:
    from callseal.model.message import to_bytes, to_text

    row = to_bytes(sealed.row, "row")
    for at in range(0, len(row), 7):
        changed = bytearray(row)
        changed[at] ^= 1
        with pytest.raises((TamperedError, RequestError)):
            officer.finish(sealed, officer.begin_open(sealed), rows={sealed.recording: [to_text(changed)]})
        assert rig.entries()[-1]["decision"] == "deny"


def test_nothing_is_opened_when_the_log_cannot_be_written(rig: Rig, officer: Someone, sealed: Sealed) -> None:
    begun = officer.begin_open(sealed)
    response = officer.key.sign(begun["options"])
    (rig.place.log / "checkpoint").unlink()
    (rig.place.log / "checkpoint").mkdir()
    reply = rig.raw("open", request=begun["request"], rows={sealed.recording: [sealed.row]}, response=response)
    assert reply["ok"] is False and reply["error"]["kind"] == "Unavailable" and "grants" not in reply
    with pytest.raises(Unavailable):
        raise_refusal(rig.raw("open", request=begun["request"]))


def test_refusals_before_sign_in_are_counted_one_entry_a_minute(rig: Rig) -> None:
    for _ in range(7):
        reply = rig.raw("signin.finish", nonce="A" * 43, name="nobody", password="not the one at all", code="000000")
        assert reply["error"]["kind"] == "Unauthenticated"
    keep_house(rig.custody, rig.now)
    counted = rig.entries("RefusalsCounted")
    assert [(entry["kind"], entry["count"]) for entry in counted] == [("signin", 7)]
    rig.raw("enrol.begin", token="no such", kind="passkey")
    rig.raw("signin.finish", nonce="A" * 43)
    keep_house(rig.custody, rig.now + timedelta(seconds=30))
    assert [entry["kind"] for entry in rig.entries("RefusalsCounted")] == ["signin", "enrol"]


def test_a_flood_of_askers_nobody_knows_is_one_entry_a_minute(rig: Rig) -> None:
    before = rig.custody.ledger.size
    for _ in range(500):
        assert rig.raw("open.begin", person="0" * 16, action="listen")["error"]["kind"] == "Denied"
    assert rig.custody.ledger.size == before
    keep_house(rig.custody, rig.now)
    assert [(entry["kind"], entry["count"]) for entry in rig.entries("RefusalsCounted")] == [("open", 500)]
    for _ in range(3):
        rig.raw("open.begin", person=None, action="listen")
    keep_house(rig.custody, rig.now + timedelta(seconds=59))
    assert len(rig.entries("RefusalsCounted")) == 1
    keep_house(rig.custody, rig.now + timedelta(seconds=60))
    assert [entry["count"] for entry in rig.entries("RefusalsCounted")] == [500, 3]


def test_a_flood_of_requests_that_were_never_asked_has_a_few_entries_and_a_count(rig: Rig) -> None:
    for _ in range(300):
        rig.raw("open", request={"nonce": "A" * 43}, response={})
    assert len(rig.entries("OpeningDenied")) == OWN_ENTRIES
    keep_house(rig.custody, rig.now)
    assert rig.entries("RefusalsCounted")[-1]["count"] == 300 - OWN_ENTRIES
    rig.now += timedelta(minutes=1)
    rig.raw("open", request={"nonce": "A" * 43}, response={})
    assert len(rig.entries("OpeningDenied")) == OWN_ENTRIES + 1
