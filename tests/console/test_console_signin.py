"""Signing in and enrolling: what a browser gets, what it never sees, and when it ends."""

import json
import re

import pyotp
import pytest

from callseal.web.guards import COOKIE
from callseal.web.limits import PER_WINDOW
from tests.console.running import RunningConsole


def test_a_password_and_code_sign_in_and_the_cookie_is_out_of_reach(console: RunningConsole) -> None:
    person = console.custodian.enrol("compliance_officer", "Ann")
    with console.client() as client:
        nonce = client.post("/api/signin/begin", json={}).json()["nonce"]
        proof = {"nonce": nonce, "name": "Ann", "password": person.password, "code": pyotp.TOTP(person.seed).now()}
        answer = client.post("/api/signin/finish", json=proof)
    cookie = answer.headers["set-cookie"]
    assert re.search("HttpOnly", cookie) and re.search("SameSite=strict", cookie) and "Path=/" in cookie
    assert answer.json() == {"role": "compliance_officer", "name": "Ann"}
    assert [kind for kind, _recording, _data in console.noted] == ["SignedIn"]


def test_every_mistake_is_answered_in_the_same_words(console: RunningConsole) -> None:
    person = console.custodian.enrol("compliance_officer", "Ann")
    code = pyotp.TOTP(person.seed).now()
    other = f"{(int(code) + 500_000) % 1_000_000:06}"
    said = set()
    with console.client() as client:
        for name, password, tried in (("Ann", "wrong", code), ("Nobody", person.password, code), ("Ann", person.password, other)):
            nonce = client.post("/api/signin/begin", json={}).json()["nonce"]
            answer = client.post("/api/signin/finish", json={"nonce": nonce, "name": name, "password": password, "code": tried})
            said.add((answer.status_code, answer.text))
        unknown = {"nonce": "AAAA", "name": "Ann", "password": person.password, "code": code}
        answer = client.post("/api/signin/finish", json=unknown)
        said.add((answer.status_code, answer.text))
    assert len(said) == 1 and next(iter(said))[0] == 401


def test_a_token_that_a_browser_brings_along_is_not_kept(console: RunningConsole) -> None:
    person = console.custodian.enrol("compliance_officer", "Ann")
    with console.client() as planted:
        planted.cookies.set(COOKIE, "chosen-by-an-attacker")
        nonce = planted.post("/api/signin/begin", json={}).json()["nonce"]
        proof = {"nonce": nonce, "name": "Ann", "password": person.password, "code": pyotp.TOTP(person.seed).now()}
        assert planted.post("/api/signin/finish", json=proof).status_code == 200
    with console.client() as attacker:
        attacker.cookies.set(COOKIE, "chosen-by-an-attacker")
        assert attacker.get("/api/session").status_code == 401


def test_a_new_sign_in_ends_the_session_before_it(console: RunningConsole) -> None:
    person = console.custodian.enrol("compliance_officer", "Ann")
    with console.sign_in(person) as client:
        before = client.cookies[COOKIE]
        nonce = client.post("/api/signin/begin", json={}).json()["nonce"]
        proof = {"nonce": nonce, "name": "Ann", "password": person.password, "code": pyotp.TOTP(person.seed).now()}
        client.post("/api/signin/finish", json=proof)
        assert client.cookies[COOKIE] != before
    with console.client() as old:
        old.cookies.set(COOKIE, before)
        assert old.get("/api/session").status_code == 401


def test_a_session_lapses_when_its_person_is_away(console: RunningConsole) -> None:
    idle = console.config.web.session_idle_minutes * 60
    with console.sign_in(console.custodian.enrol("compliance_officer", "Ann")) as client:
        console.pass_time(idle - 5)
        assert client.get("/api/session").status_code == 200
        console.pass_time(idle - 5)
        assert client.get("/api/health").status_code == 200  # a page that asks by itself …
        console.pass_time(6)
        assert client.get("/api/session").status_code == 401  # … does not prolong


def test_a_page_sends_a_stranger_to_sign_in_and_only_back_to_itself(console: RunningConsole) -> None:
    with console.client() as client:
        answer = client.get("/calls", headers={"Sec-Fetch-Dest": "document"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/signin?next=/calls")


def test_attempts_from_one_address_are_limited(console: RunningConsole) -> None:
    with console.client() as client:
        answers = [client.post("/api/signin/begin", json={}).status_code for _ in range(PER_WINDOW + 1)]
    assert answers == [200] * PER_WINDOW + [413]


@pytest.mark.parametrize(("host", "offered"), [("localhost", True), ("127.0.0.1", False), ("192.0.2.7", False)])
def test_the_page_says_why_a_passkey_cannot_work_at_a_bare_address(console: RunningConsole, host: str, offered: bool) -> None:
    with console.client() as client:
        page = client.get("/signin", headers={"Host": f"{host}:{console.config.web.port}"}).text
    assert ('id="use-passkey"' in page) is offered
    assert ('<div id="no-passkeys-here" class="note">' in page) is not offered
    assert "ssh -L" in page
    assert ("would cross the network unprotected" in page) is (host == "192.0.2.7")


def test_enrolling_by_code_shows_a_qr_code_of_the_seed_and_keeps_nothing(console: RunningConsole) -> None:
    console.custodian.invites["one-time-token"] = ("administrator", "Ravi")
    with console.client() as client:
        begun = client.post("/api/enrol/begin", json={"token": "one-time-token", "kind": "totp"}).json()
        assert len(begun["squares"]) == len(begun["squares"][0]) and set("".join(begun["squares"])) == {"0", "1"}
        proof = {"token": "one-time-token", "nonce": begun["nonce"], "password": "a long enough one",
                 "code": pyotp.TOTP(begun["secret"]).now()}  # fmt: skip
        assert client.post("/api/enrol/finish", json=proof).json() == {"role": "administrator"}
        again = client.post("/api/enrol/begin", json={"token": "one-time-token", "kind": "totp"})
        assert again.status_code == 404
    assert begun["secret"] not in json.dumps(console.noted)
    assert "one-time-token" not in json.dumps(console.noted)


def test_a_short_password_is_refused_before_the_custodian_is_asked(console: RunningConsole) -> None:
    with console.client() as client:
        answer = client.post("/api/enrol/finish", json={"token": "t", "nonce": "n", "password": "short", "code": "123456"})
    assert answer.status_code == 422
    assert console.custodian.asked == []
