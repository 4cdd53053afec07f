"""As a new user would: `peer add`, a call in that vendor's shape, and `peer check` that judges it; on the real line, for each type."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from typer.testing import CliRunner

from callseal.cli.main import make_app
from callseal.config.peers import read_peer
from callseal.config.vendors import SECRET, list_vendors, load_vendor
from callseal.flows.peer_report import Line, PeerReport, Verdict
from callseal.model.clock import parse_time
from callseal.net.authority import issue_client
from tests.conftest import Stack

pytestmark = pytest.mark.real


@contextmanager
def checking(stack: Stack, name: str) -> Iterator[list[dict[str, Any]]]:
    """`peer check --json`, waiting while what happens inside happens; what it said is there afterwards."""
    found: list[dict[str, Any]] = []
    process = subprocess.Popen(
        [sys.executable, "-m", "callseal.cli.main", "peer", "check", name, "--wait", "40", "--since", "20", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=stack.environment,
    )  # fmt: skip
    yield found
    out, err = process.communicate(timeout=60)
    assert out, err
    found.append(json.loads(out) | {"exit": process.returncode})


def run(stack: Stack, monkeypatch: pytest.MonkeyPatch, *words: str) -> str:
    """A command in this process: what it prints."""
    monkeypatch.setenv("CALLSEAL_CONFIG", str(stack.file))
    done = CliRunner().invoke(make_app([words[0]]), list(words))
    assert done.exit_code == 0, (done.output, done.exception)
    return done.stdout


def add(stack: Stack, monkeypatch: pytest.MonkeyPatch, name: str, kind: str) -> str:
    """`peer add`; returns the secret, where that type has one."""
    cloud = load_vendor(kind).proof == SECRET
    told = json.loads(run(stack, monkeypatch, "peer", "add", name, "--type", kind, "--json", *(["--from", "127.0.0.0/8"] if cloud else [])))
    return str(told["uri"]).partition(":")[2].partition("@")[0] if cloud else ""


def how(stack: Stack, name: str, kind: str, secret: str = "", seconds: str = "1.2") -> list[str]:
    tls = stack.data / "tls"
    proof = ["--secret", secret] if secret else ["--cert", str(tls / f"{name}.pem"), "--key", str(tls / f"{name}.key")]
    return ["call", "--like", kind, "--synthetic", "--seconds", seconds, *proof]


def judge(stack: Stack, name: str) -> tuple[PeerReport, list[Line]]:
    """What `peer check` would have said, from the same events."""
    report = PeerReport(read_peer(stack.data / "peers" / f"{name}.toml"), 0)
    stack.wait_event("CallEnded", next(event["recording"] for event in stack.events("CallStarted") if event["data"]["peer"] == name))
    for event in stack.events():
        report.take(event)
    report.pass_time(parse_time(stack.events()[-1]["at"]) + timedelta(days=1))
    return report, report.finish()


@pytest.mark.parametrize("kind", list_vendors())
def test_each_type_is_connected_called_and_judged_good(stack: Stack, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    name, shape = f"my-{kind}", load_vendor(kind).shape
    secret = add(stack, monkeypatch, name, kind)
    run(stack, monkeypatch, *how(stack, name, kind, secret))
    report, lines = judge(stack, name)
    bad = [line.words for line in lines if line.verdict in (Verdict.BAD, Verdict.WAITS) and line.what != "connection"]
    assert report.recording and not bad
    started = stack.events("CallStarted", report.recording)[0]["data"]
    shown = [leg["label"] for leg in started["legs"]]
    assert len(shown) == len(shape.labels) and {leg["suite"] for leg in started["legs"]} == {shape.suites[0]}
    assert [event["data"]["reason"] for event in stack.events("CallEnded", report.recording)] == ["bye"]
    changes = {event["data"]["what"] for event in stack.events("CallUpdated", report.recording)}
    assert {"paused", "resumed"} <= changes, changes
    if secret:
        everything = b"".join(path.read_bytes() for path in stack.data.rglob("*") if path.is_file())
        assert secret.encode() not in everything, "the secret lies nowhere in the data folder"


@pytest.mark.parametrize("kind", ["cisco-cube", "twilio"])
def test_the_command_waits_judges_and_says_good_by_its_exit_code(stack: Stack, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    secret = add(stack, monkeypatch, f"wait-{kind}", kind)
    with checking(stack, f"wait-{kind}") as checked:
        run(stack, monkeypatch, *how(stack, f"wait-{kind}", kind, secret))
    (report,) = checked
    assert report["good"] == (report["exit"] == 0) and report["recording"]
    assert [line for line in report["lines"] if line["verdict"] == "wrong" and line["what"] != "connection"] == []


def test_what_is_refused_is_explained_with_the_vendors_own_setting(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    add(stack, monkeypatch, "wrong", "oracle")
    issue_client(stack.data / "tls", "unlisted", datetime.now(UTC))
    with checking(stack, "wrong") as checked:
        monkeypatch.setenv("CALLSEAL_CONFIG", str(stack.file))
        assert CliRunner().invoke(make_app(["call"]), how(stack, "unlisted", "oracle", seconds="0.5")).exit_code != 0
        run(stack, monkeypatch, *how(stack, "wrong", "oracle", seconds="0.5"))
    (report,) = checked
    assert report["exit"] == 1 and not report["good"]
    (line,) = [line for line in report["lines"] if line["what"] == "connection"]
    assert "certificate" in line["words"] and line["cure"] == load_vendor("oracle").cure("certificate")


def test_no_call_within_the_wait_is_said_so_with_a_code_of_its_own(new_stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    add(new_stack, monkeypatch, "quiet", "generic")
    (new_stack.config.run / "sip.address").write_text("127.0.0.1:5061\n")
    done = new_stack.cli(["peer", "check", "quiet", "--wait", "1"])
    assert done.returncode == 69 and "No call came" in done.stdout


def test_the_time_from_nothing_to_a_sealed_call_by_what_was_printed(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    began = time.monotonic()
    add(stack, monkeypatch, "ten-minutes", "cisco-cube")
    run(stack, monkeypatch, *how(stack, "ten-minutes", "cisco-cube"))
    (recording,) = {event["recording"] for event in stack.events("CallStarted") if event["data"]["peer"] == "ten-minutes"}
    stack.wait_call("sealed", recording)
    taken = time.monotonic() - began
    print(f"peer add to a sealed call: {taken:.1f} s")
    assert taken < 600
