"""Exceptions on the console: asked by one, approved by another; and amber on every call that used one."""

from tests.console.running import RunningConsole

ASKED = {"peer": "old-pbx", "network": "10.9.0.0/24", "interface": "wg0", "days": 7, "reason": "It has no SRTP until March."}
LABEL = "clear, by exception until 20 Dec 2026"


def code(person):
    import pyotp

    return pyotp.TOTP(person.seed).now()


def prove(client, path, body, person):
    nonce = client.post(f"{path}/begin", json=body).json()["nonce"]
    return client.post(path, json={"nonce": nonce, "code": code(person)})


def test_one_asks_and_sees_it_wait_another_approves_and_it_stands(console: RunningConsole) -> None:
    runs, answers = console.custodian.enrol("administrator", "Ada"), console.custodian.enrol("compliance_officer", "Ann")
    with console.sign_in(runs) as client:
        assert "Ask for an exception" in client.get("/exceptions").text
        assert prove(client, "/api/exceptions/ask", ASKED, runs).status_code == 200
        (waiting,) = client.get("/api/exceptions").json()["exceptions"]
        assert (waiting["stands"], waiting["asked_by"], waiting["approvable"]) == (False, "Ada", False)
        assert prove(client, "/api/exceptions/approve", {"exception": waiting["exception"]}, runs).status_code == 403
    with console.sign_in(answers) as client:
        assert "Ask for an exception" not in client.get("/exceptions").text
        (waiting,) = client.get("/api/exceptions").json()["exceptions"]
        assert waiting["approvable"]
        assert prove(client, "/api/exceptions/approve", {"exception": waiting["exception"]}, answers).json()["log_index"] == 8
        (standing,) = client.get("/api/exceptions").json()["exceptions"]
        assert (standing["stands"], standing["approved_by"], standing["approvable"]) == (True, "Ann", False)
        assert prove(client, "/api/exceptions/end", {"exception": waiting["exception"]}, answers).status_code == 200
        assert client.get("/api/exceptions").json()["exceptions"] == []


def test_nobody_else_sees_the_page_and_what_is_too_long_is_not_even_asked(console: RunningConsole) -> None:
    for role in ("manager", "dpo", "auditor"):
        with console.sign_in(console.custodian.enrol(role, role)) as client:
            assert client.get("/exceptions").status_code == 403 and client.get("/api/exceptions").status_code == 403
            assert "/exceptions" not in client.get("/calls").text
    with console.sign_in(console.custodian.enrol("administrator", "Ada")) as client:
        for wrong in ({"days": 31}, {"days": 0}, {"reason": "short"}, {"peer": "../x"}, {"extra": 1}):
            assert client.post("/api/exceptions/ask/begin", json=ASKED | wrong).status_code == 422
        assert not [kind for kind, _ in console.custodian.asked if kind == "open.begin"]


def test_a_call_in_the_clear_says_so_in_the_list_and_on_its_page_and_is_never_called_measured(console: RunningConsole) -> None:
    legs = [{"number": 1, "label": "1", "party": "customer", "codec": "PCMA", "suite": "", "protection": LABEL, "detail": ""}]
    recording = console.add_call(legs=legs)
    plain = console.add_call()
    with console.sign_in(console.custodian.enrol("compliance_officer", "Ann")) as client:
        shown = {call["recording"]: call for call in client.get("/api/calls").json()["calls"]}
        assert LABEL in shown[recording]["notes"] and shown[recording]["legs"][0]["near"] == LABEL
        assert shown[recording]["legs"][0]["near_key"] == "clear" and LABEL not in shown[plain]["notes"]
        page = client.get(f"/calls/{recording}").text
        assert f'<span class="tag warn">{LABEL}</span>' in page and 'data-protection="clear"' in page and "measured.</strong>" not in page
        assert LABEL not in client.get(f"/calls/{plain}").text
