"""As a new user would: `peer add`, a call in that vendor's shape, and `peer check` that judges it; on the real line, for each type."""

import asyncio
import json
import os
import socket
import ssl
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
from callseal.keyring.client import BlockingKeyring
from callseal.model.clock import parse_time
from callseal.net.authority import issue_client
from callseal.store.calls import get_call
from callseal.store.database import Database
from tests import sip_rig as rig
from tests.authenticator import Authenticator
from tests.conftest import Stack
from tests.files import contents
from tests.media_rig import HEADER

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


def how(stack: Stack, name: str, kind: str, secret: str = "", seconds: str = "0.6") -> list[str]:
    tls = stack.data / "tls"
    proof = ["--secret", secret] if secret else ["--cert", str(tls / f"{name}.pem"), "--key", str(tls / f"{name}.key")]
    return ["call", "--like", kind, "--synthetic", "--seconds", seconds, *proof]


def judge(stack: Stack, name: str) -> tuple[PeerReport, list[Line]]:
    """What `peer check` would have said, from the same events."""
    report = PeerReport(read_peer(stack.data / "peers" / f"{name}.toml"), 0)
    recording = next(event["recording"] for event in stack.events("CallStarted") if event["data"]["peer"] == name)
    for kind in ("CallEnded", "PartEnded"):  # signalling and media write files of their own
        stack.wait_event(kind, recording)
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
        everything = b"".join(content for _path, content in contents(stack.data))
        assert secret.encode() not in everything, "the secret lies nowhere in the data folder"


@pytest.mark.parametrize("kind", ["twilio"])
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
    stack.wait_event("ObjectWritten", recording)
    taken = time.monotonic() - began
    print(f"peer add to a sealed call: {taken:.1f} s")
    assert taken < 600


PLAIN = rig.multipart(rig.sdp("", "", protocol="RTP/AVP"))


class Person:
    """Somebody with a passkey at the real custodian."""

    def __init__(self, stack: Stack, keyring: BlockingKeyring, role: str) -> None:
        self.keyring, self.key = keyring, Authenticator(origin=stack.config.web.origin or stack.console())
        token = stack.invites()[role]
        begun = keyring.ask("enrol.begin", token=token, kind="passkey")
        done = keyring.ask("enrol.finish", token=token, nonce=begun["nonce"], response=self.key.register(begun["options"]))
        self.person = done["person"]

    def act(self, kind: str, action: str, **fields: Any) -> dict[str, Any]:
        begun = self.keyring.ask("open.begin", person=self.person, action=action, **fields)
        return dict(self.keyring.ask(kind, request=begun["request"], response=self.key.sign(begun["options"])))


async def dial(stack: Stack) -> rig.PeerConnection:
    tls, (host, _, port) = stack.data / "tls", stack.address("sip").rpartition(":")
    context = ssl.create_default_context(cafile=str(tls / "ca.pem"))
    context.load_cert_chain(tls / "phone.pem", tls / "phone.key")
    return rig.PeerConnection(*await asyncio.open_connection(host, int(port), ssl=context, server_hostname="localhost"))


async def call_in_the_clear(stack: Stack, spoken: list[bytes], call_id: str) -> int:
    """The status of an INVITE without SRTP; where it is 200, the call with this voice on its first line."""
    peer = await dial(stack)
    answered = await peer.ask(rig.request("INVITE", call_id, body=PLAIN))
    await peer.send(rig.request("ACK", call_id, to_tag=answered.to_tag))
    if answered.status == 200:
        port = int(answered.body.partition("m=audio ")[2].partition(" ")[0])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as voice:
            for number, payload in enumerate(spoken):
                voice.sendto(HEADER.pack(0x80, 8, number, number * 160, 7) + payload, ("127.0.0.1", port))
                await asyncio.sleep(0.02)
        assert (await peer.ask(rig.request("BYE", call_id, 2, to_tag=answered.to_tag))).status == 200
    await peer.close()
    return answered.status


@pytest.mark.timeout(240)
def test_by_exception_the_voice_is_sealed_and_marked_and_ended_it_is_488_again(stack: Stack) -> None:
    """Asked and approved at the real custodian, believed by signalling; the call in the clear is nowhere kept so."""
    with BlockingKeyring(stack.config.custodian_socket) as keyring:
        except_a_call(stack, Person(stack, keyring, "administrator"), Person(stack, keyring, "compliance_officer"))


def except_a_call(stack: Stack, administrator: Person, officer: Person) -> None:
    spoken = [os.urandom(160) for _ in range(100)]
    assert asyncio.run(call_in_the_clear(stack, spoken, "before")) == 488
    place = {"peer": "phone", "network": "127.0.0.0/8", "interface": "lo", "days": 3}
    name = administrator.act("exception.ask", "except", **place, reason="The test exchange has no SRTP.")["exception"]
    assert asyncio.run(call_in_the_clear(stack, spoken, "asked")) == 488, "asked is not approved"
    officer.act("exception.approve", "approve", exception=name)
    label = stack.wait_event("ExceptionBegan")["data"]["why"]
    assert asyncio.run(call_in_the_clear(stack, spoken, "clear")) == 200
    started = next(event for event in stack.events("CallStarted") if event["data"].get("why") == "clear-by-exception")
    stack.wait_event("ObjectWritten", started["recording"])
    ended = stack.wait_event("PartEnded", started["recording"])["data"]
    assert (ended["packets"], ended["lost"], ended["failed"]) == (100, 0, 0)
    database = Database(stack.config.database_url)
    with database.read() as connection:
        call = get_call(connection, started["recording"]).call
    database.close()
    assert {leg.protection for leg in call.legs} == {label} and label.startswith("clear, by exception until ")
    everything = b"".join(content for _path, content in contents(stack.data))
    assert not [payload for payload in spoken if payload in everything], "received in the clear, never kept in the clear"
    officer.act("exception.end", "withdraw", exception=name)
    stack.wait_event("ExceptionEnded")
    assert asyncio.run(call_in_the_clear(stack, spoken, "after")) == 488
    entries = b"".join(content for _path, content in contents(stack.data / "log"))
    for word in (b"ExceptionAsked", b"ExceptionMade", b"ExceptionEnded", b"clear-by-exception"):
        assert word in entries, word
    verified = stack.cli(["verify"])
    assert verified.returncode == 0, verified.stdout
