"""Every answer carries the security headers, every change comes from our own page, every route says who may use it."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from callseal.console.files import FOLDER
from callseal.web.guards import ANYONE, guard_of
from callseal.web.headers import BODY_LIMIT_BYTES, HEADERS
from tests.console.running import RunningConsole

TEMPLATES = sorted((FOLDER.parent / "templates").glob("*.html"))
OPEN_TO_ANYONE = {
    "/", "/static/{name:path}", "/signin", "/enrol", "/healthz", "/metrics",
    "/api/signin/begin", "/api/signin/finish", "/api/enrol/begin", "/api/enrol/finish",
}  # fmt: skip


def routes(console: RunningConsole) -> Iterator[tuple[str, str, bool]]:
    for route in console.app.router.routes:
        for method in getattr(route, "methods", ()):
            yield method, route.path, guard_of(route) is ANYONE


def filled(path: str) -> str:
    return re.sub(
        r"\{(\w+)\}", lambda match: "style.css" if match[1] == "name" else "1" if match[1] == "alert" else "0" * 32, path
    )


def test_what_anyone_may_use_is_this_short_list(console: RunningConsole) -> None:
    assert {path for _method, path, anyone in routes(console) if anyone} == OPEN_TO_ANYONE


def test_every_other_route_answers_401_to_a_stranger(console: RunningConsole) -> None:
    asked = 0
    with console.client() as client:
        for method, path, anyone in routes(console):
            if not anyone:
                answer = client.request(method, filled(path), json={} if method == "POST" else None)
                assert answer.status_code == 401, (method, path)
                asked += 1
    assert asked > 15


def test_every_answer_carries_every_security_header(console: RunningConsole) -> None:
    with console.client() as client:
        for path in ("/signin", "/static/style.css", "/calls", "/no-such-page", "/api/calls", "/healthz", "/static/../app.py"):
            answer = client.get(path)
            for name, value in HEADERS.items():
                assert answer.headers[name] == value, (path, name)


def test_a_fault_of_our_own_carries_the_headers_too_and_tells_nothing(
    console: RunningConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_arguments: object, **_fields: object) -> dict[str, object]:
        raise RuntimeError("secret-inside")

    monkeypatch.setattr(type(console.custodian), "ask", fail)
    with console.client() as client:
        answer = client.post("/api/signin/begin", json={})
    assert answer.status_code == 500
    assert "secret-inside" not in answer.text
    assert answer.headers["Content-Security-Policy"] == HEADERS["Content-Security-Policy"]


def test_the_content_policy_allows_only_our_own(console: RunningConsole) -> None:
    policy = HEADERS["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert not re.search(r"unsafe|data:|blob:|https?:|\*", policy)
    assert "frame-ancestors 'none'" in policy and "require-trusted-types-for 'script'" in policy


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_a_template_has_nothing_inline_and_nothing_from_elsewhere(template: Path) -> None:
    text = template.read_text()
    assert not re.search(r"\son\w+=|<style|style=|javascript:", text)
    assert not re.search(r"<script(?![^>]*\ssrc=\"/static/)", text)
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", text)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_a_form_whose_script_is_late_puts_nothing_into_an_address(template: Path) -> None:
    text = template.read_text()
    forms = re.findall(r"<form[^>]*>", text)
    assert all('method="post"' in form for form in forms)
    for form in re.findall(r"<form.*?</form>", text, re.DOTALL):
        submits = re.findall(r"<button(?![^>]*type=\"button\")[^>]*>", form)
        assert all("disabled data-waits" in button for button in submits)


@pytest.mark.parametrize("script", sorted(FOLDER.glob("*.js")), ids=lambda path: path.name)
def test_a_script_never_parses_text_as_html_or_code(script: Path) -> None:
    text = script.read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser", text)


@pytest.mark.parametrize("origin", [None, "null", "http://evil.example", "https://localhost"])
def test_a_change_from_elsewhere_is_refused_before_anybody_is_asked(console: RunningConsole, origin: str | None) -> None:
    person = console.custodian.enrol("compliance_officer", "Ann")
    with console.sign_in(person) as client:
        console.custodian.asked.clear()
        request = client.build_request("POST", "/api/calls/search", json={"value": "1234"})
        del request.headers["Origin"]
        if origin is not None:
            request.headers["Origin"] = origin
        assert client.send(request).status_code == 403
        assert console.custodian.asked == []


def test_a_change_without_the_page_token_of_this_session_is_refused(console: RunningConsole) -> None:
    ann = console.custodian.enrol("compliance_officer", "Ann")
    ben = console.custodian.enrol("compliance_officer", "Ben")
    with console.sign_in(ann) as client, console.sign_in(ben) as other:
        for token in ("", "x", other.headers["X-Callseal-Page"]):
            answer = client.post("/api/signout", headers={"X-Callseal-Page": token})
            assert answer.status_code == 403
        assert client.get("/api/session").status_code == 200
        assert client.post("/api/signout").status_code == 200
        assert client.get("/api/session").status_code == 401


def test_a_foreign_host_is_turned_away(console: RunningConsole) -> None:
    with console.client() as client:
        assert client.get("/signin", headers={"Host": "rebound.example"}).status_code == 400


def test_a_body_over_the_limit_or_of_unstated_length_is_not_read(console: RunningConsole) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"{}"

    with console.client() as client:
        assert client.post("/api/enrol/begin", content=b"x" * (BODY_LIMIT_BYTES + 1)).status_code == 413
        assert client.post("/api/enrol/begin", content=chunks()).status_code == 413


def test_what_was_sent_is_not_repeated_in_a_refusal(console: RunningConsole) -> None:
    with console.client() as client:
        answer = client.post("/api/enrol/begin", json={"token": "t0ken-secret", "kind": "swordfish", "extra": "other-secret"})
        assert answer.status_code == 422
        assert not re.search("t0ken-secret|swordfish|other-secret", answer.text)


def test_the_api_is_described_in_openapi_3_1(console: RunningConsole) -> None:
    person = console.custodian.enrol("administrator", "Ravi")
    with console.sign_in(person) as client:
        described = client.get("/api/openapi.json").json()
    assert described["openapi"].startswith("3.1")
    assert "/api/openings/{opening}/audio.wav" in described["paths"]


def test_files_outside_the_list_are_not_served(console: RunningConsole) -> None:
    with console.client() as client:
        for name in ("app.py", "%2e%2e%2fapp.py", "..%2ftemplates%2fbase.html", "style.css%00"):
            assert client.get(f"/static/{name}").status_code == 404
        served: httpx.Response = client.get("/static/style.css")
        assert served.headers["content-type"].startswith("text/css")
