"""An opening that a terminal began and a person proves in the console: the one way, and every way around it."""

import hashlib
import os
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from callseal.audit import canonical
from callseal.authn.challenge import challenge_of
from callseal.custodian.service import keep_house
from callseal.custodian.terminals import LIMIT
from callseal.errors import Conflict, Denied, LimitExceeded, NotFound, RequestError
from callseal.model.message import Message, to_text
from tests.custody_rig import WORDS, Rig, Sealed, Someone


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


@pytest.fixture
def officer(rig: Rig) -> Someone:
    return rig.enrol("compliance_officer")


@pytest.fixture
def sealed(rig: Rig) -> Sealed:
    return rig.record()


@dataclass
class Terminal:
    """What a terminal knows: its secret, and the link that it shows."""

    rig: Rig
    secret: str
    digest: str
    link: str

    def collect(self) -> Message:
        return self.rig.ask("terminal.collect", secret=self.secret)


def begin(rig: Rig, sealed: Sealed, action: str = "export", **give: Any) -> Terminal:
    secret = os.urandom(32)
    ask = {
        "action": action, "recordings": [sealed.recording], "from_ms": 0, "to_ms": 4000, "reason_class": "complaint",
        "reason": WORDS, "case": "C-4",
    }  # fmt: skip
    digest = hashlib.sha256(secret).hexdigest()
    begun = rig.ask("terminal.begin", secret_sha256=digest, ask=ask, give={"rows": {sealed.recording: [sealed.row]}} | give)
    return Terminal(rig, to_text(secret), digest, begun["link"])


def take_up(person: Someone, terminal: Terminal) -> Message:
    return person.rig.ask("terminal.take_up", link=terminal.link, person=person.person)


def prove(person: Someone, begun: Message, response: Any = None) -> Message:
    """What the console sends, and all it gets."""
    response = person.key.sign(begun["options"]) if response is None else response
    return person.rig.raw("open", request=begun["request"], response=response)


def test_the_keys_come_to_the_terminal_after_the_entry_and_the_console_is_told_its_number_only(
    rig: Rig, officer: Someone, sealed: Sealed
) -> None:
    terminal = begin(rig, sealed)
    assert terminal.collect()["state"] == "waiting"
    begun = take_up(officer, terminal)
    request = begun["request"]
    assert (request["person"], request["action"], request["reason"], request["terminal"]) == (
        officer.person, "export", WORDS, terminal.digest,
    )  # fmt: skip
    assert terminal.collect() | {"seconds": 0, "id": 1} == {
        "type": "reply", "id": 1, "ok": True, "state": "opened", "by": "compliance_officer", "seconds": 0,
    }  # fmt: skip
    told = prove(officer, begun)
    assert told["ok"] and told["grants"] == [] and set(told) == {"type", "id", "ok", "log_index", "weaker", "grants"}
    entry = rig.entries()[told["log_index"]]
    assert (entry["type"], entry["who"], entry["action"]) == ("OpeningAllowed", officer.person, "export")
    reply = terminal.collect()
    opened = sealed.unseal(reply["grants"][0]["nodes"])
    assert [opened[number] for number in range(5)] == sealed.plain
    assert reply["log_index"] == told["log_index"] and reply["weaker"] is False
    with pytest.raises(NotFound):
        terminal.collect()


def test_a_link_works_once_and_a_second_browser_cannot_approve(rig: Rig, officer: Someone, sealed: Sealed) -> None:
    other = rig.enrol("compliance_officer", "Another")
    terminal = begin(rig, sealed)
    begun = take_up(officer, terminal)
    for person in (other, officer):
        with pytest.raises(NotFound):
            take_up(person, terminal)
    stolen = prove(other, begun, other.key.sign(begun["options"]))
    assert stolen["error"]["kind"] == "Denied" and rig.entries()[-1]["why"] == "another-person"
    with pytest.raises(Denied):
        terminal.collect()
    assert prove(officer, begun)["error"]["kind"] == "Denied", "the request was used up"


def test_a_touch_cannot_be_carried_twice(rig: Rig, officer: Someone, sealed: Sealed) -> None:
    terminal = begin(rig, sealed)
    begun = take_up(officer, terminal)
    response = officer.key.sign(begun["options"])
    assert prove(officer, begun, response)["ok"]
    again = prove(officer, begun, response)
    assert again["error"]["kind"] == "Denied" and rig.entries()[-1]["why"] == "unknown-request"
    assert terminal.collect()["grants"], "the control: the first one stands"


@pytest.mark.parametrize("person", [None, "", "0" * 16, 7])
def test_a_stranger_with_the_link_gains_nothing_and_does_not_use_it_up(
    rig: Rig, officer: Someone, sealed: Sealed, person: Any
) -> None:
    terminal = begin(rig, sealed)
    reply = rig.raw("terminal.take_up", link=terminal.link, person=person)
    assert reply["error"]["kind"] == "Denied" and "request" not in reply
    keep_house(rig.custody, rig.now)
    assert rig.entries("RefusalsCounted")[-1]["kind"] == "terminal"
    assert prove(officer, take_up(officer, terminal))["ok"]


def test_a_revoked_person_cannot_take_a_link_up(rig: Rig, officer: Someone, sealed: Sealed) -> None:
    rig.enrol("administrator").act("person.revoke", "revoke", who=officer.person)
    with pytest.raises(Denied):
        take_up(officer, begin(rig, sealed))


def test_the_administrator_is_denied_on_the_record_and_the_terminal_gets_nothing(rig: Rig, sealed: Sealed) -> None:
    administrator = rig.enrol("administrator")
    terminal = begin(rig, sealed, "listen")
    reply = prove(administrator, take_up(administrator, terminal))
    assert reply["error"]["kind"] == "Denied" and "grants" not in reply
    entry = rig.entries()[-1]
    assert (entry["type"], entry["who"], entry["why"]) == ("OpeningDenied", administrator.person, "administrator-never-opens")
    with pytest.raises(Denied):
        terminal.collect()
    with pytest.raises(NotFound):
        terminal.collect()


def test_a_manager_exports_nothing_by_a_terminal_either(rig: Rig, sealed: Sealed) -> None:
    manager = rig.enrol("manager")
    terminal = begin(rig, sealed)
    assert prove(manager, take_up(manager, terminal))["error"]["kind"] == "Denied"
    with pytest.raises(Denied):
        terminal.collect()


def test_a_refusal_is_on_the_record_and_the_terminal_is_told(rig: Rig, officer: Someone, sealed: Sealed) -> None:
    terminal = begin(rig, sealed)
    begun = take_up(officer, terminal)
    assert rig.raw("open", request=begun["request"])["error"]["kind"] == "Denied"
    assert rig.entries()[-1]["why"] == "no-proof"
    with pytest.raises(Denied, match="no-proof"):
        terminal.collect()


def test_nobody_collects_without_the_secret(rig: Rig, officer: Someone, sealed: Sealed) -> None:
    terminal = begin(rig, sealed)
    begun = take_up(officer, terminal)
    assert prove(officer, begun)["ok"]
    for secret in (terminal.digest, terminal.link, to_text(os.urandom(32)), to_text(bytes.fromhex(terminal.digest)), "", begun["request"]["nonce"]):
        with pytest.raises(NotFound):
            rig.ask("terminal.collect", secret=secret)
    for secret in (None, 5, "***"):
        with pytest.raises(RequestError):
            rig.ask("terminal.collect", secret=secret)
    assert terminal.collect()["grants"]


def test_a_terminal_that_nobody_asked_cannot_be_put_into_a_request(rig: Rig, officer: Someone, sealed: Sealed) -> None:
    """A stolen console adds its own secret to what the officer asks in the browser, or changes a terminal's."""
    mine = hashlib.sha256(b"mine").hexdigest()
    begun = officer.begin_open(sealed, terminal=mine)
    assert "terminal" not in begun["request"]
    begun = take_up(officer, begin(rig, sealed))
    changed = begun["request"] | {"terminal": mine}
    signed = officer.key.sign_challenge(challenge_of(canonical.encode(changed)))
    assert rig.raw("open", request=changed, response=signed)["error"]["kind"] == "Denied"
    assert rig.entries()[-1]["why"] == "request-changed"


def test_an_assertion_for_a_terminals_request_opens_nothing_in_the_console(rig: Rig, officer: Someone, sealed: Sealed) -> None:
    begun, asked = take_up(officer, begin(rig, sealed, "listen")), officer.begin_open(sealed)
    signed = officer.key.sign(begun["options"])
    reply = rig.raw("open", request=asked["request"], response=signed, rows={sealed.recording: [sealed.row]})
    assert reply["error"]["kind"] == "Denied" and "grants" not in reply
    reply = rig.raw("open", request=begun["request"], response=signed, rows={sealed.recording: [sealed.row]})
    assert reply["ok"] and reply["grants"] == [], "rows that the console sends along change nothing"


def test_a_link_lapses_in_two_minutes_and_so_does_a_touch_and_an_answer(rig: Rig, officer: Someone, sealed: Sealed) -> None:
    terminal = begin(rig, sealed)
    rig.now += timedelta(seconds=120)
    with pytest.raises(NotFound):
        take_up(officer, terminal)
    with pytest.raises(NotFound):
        terminal.collect()
    begun = take_up(officer, terminal := begin(rig, sealed))
    rig.now += timedelta(seconds=120)
    assert prove(officer, begun)["error"]["kind"] == "Denied" and rig.entries()[-1]["why"] == "terminal-gone"
    terminal = begin(rig, sealed)
    rig.now += timedelta(seconds=100)
    begun = take_up(officer, terminal)
    rig.now += timedelta(seconds=100)
    assert prove(officer, begun)["ok"]
    rig.now += timedelta(seconds=120)
    keep_house(rig.custody, rig.now)
    assert rig.custody.terminals._table == {}, "the keys that nobody collected are forgotten"
    with pytest.raises(NotFound):
        terminal.collect()


def test_a_terminal_that_gave_up_gets_nothing_and_the_touch_is_refused_on_the_record(
    rig: Rig, officer: Someone, sealed: Sealed
) -> None:
    terminal = begin(rig, sealed)
    begun = take_up(officer, terminal)
    rig.ask("terminal.cancel", secret=terminal.secret)
    reply = prove(officer, begun)
    assert reply["error"]["kind"] == "Denied" and "grants" not in reply and rig.entries()[-1]["why"] == "terminal-gone"
    with pytest.raises(NotFound):
        terminal.collect()


def test_rows_that_do_not_fit_are_denied_to_both(rig: Rig, officer: Someone, sealed: Sealed) -> None:
    other = rig.record()
    terminal = begin(rig, sealed, rows={sealed.recording: [other.row]})
    assert prove(officer, take_up(officer, terminal))["error"]["kind"] == "TamperedError"
    assert rig.entries()[-1]["why"] == "tampered"
    with pytest.raises(Exception, match="row"):
        terminal.collect()


def test_a_restart_forgets_it(rig: Rig, officer: Someone, sealed: Sealed) -> None:
    terminal = begin(rig, sealed)
    begun = take_up(officer, terminal)
    rig.start()
    assert prove(officer, begun)["error"]["kind"] == "Denied"
    with pytest.raises(NotFound):
        terminal.collect()


def test_what_is_asked_is_checked_before_there_is_a_link(rig: Rig, sealed: Sealed) -> None:
    ask = {"recordings": [sealed.recording], "from_ms": 0, "to_ms": 4000, "reason_class": "complaint", "reason": WORDS, "case": ""}
    digest = hashlib.sha256(b"x").hexdigest()
    for changed in ({"action": "erase"}, {"action": "confirm"}, {"action": "listen", "reason": "short"}, {"action": "listen", "to_ms": 1}, {}):
        with pytest.raises(RequestError):
            rig.ask("terminal.begin", secret_sha256=digest, ask=ask | changed, give={})
    for bad in (None, "", "ab", digest.upper(), 5):
        with pytest.raises(RequestError):
            rig.ask("terminal.begin", secret_sha256=bad, ask=ask | {"action": "listen"}, give={})
    rig.ask("terminal.begin", secret_sha256=digest, ask=ask | {"action": "listen"}, give={})
    with pytest.raises(Conflict):
        rig.ask("terminal.begin", secret_sha256=digest, ask=ask | {"action": "listen"}, give={})


def test_a_flood_of_terminals_is_bounded_counted_and_over_in_two_minutes(rig: Rig, sealed: Sealed) -> None:
    size = rig.custody.ledger.size
    for _ in range(LIMIT):
        begin(rig, sealed)
    for _ in range(50):
        with pytest.raises(LimitExceeded):
            begin(rig, sealed)
    assert rig.custody.ledger.size == size
    rig.now += timedelta(minutes=2)
    keep_house(rig.custody, rig.now)
    assert rig.entries("RefusalsCounted")[-1]["count"] == 50
    begin(rig, sealed)
