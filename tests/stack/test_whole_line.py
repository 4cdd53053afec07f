"""The whole line: a real encrypted call, sealed while it is spoken, shown, verified; the processes that hold it are shut in."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.conftest import Stack
from tests.files import contents

pytestmark = pytest.mark.real


def _place(stack: Stack, *options: str) -> dict[str, object]:
    done = stack.cli(["call", "--synthetic", "--json", *options])
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads(done.stdout))


def test_a_call_is_sealed_and_the_independent_verifier_finds_nothing_wrong(stack: Stack) -> None:
    placed = _place(stack, "--seconds", "4")
    assert str(placed["tls"]).startswith("TLSv1.3")
    call = stack.wait_call("sealed")
    assert 3400 <= int(str(call["duration_ms"])) <= 7000
    verified = stack.cli(["verify"])
    assert verified.returncode == 0, verified.stdout
    shown = stack.cli(["calls"])
    assert "sealed" in shown.stdout


def test_a_call_shows_as_live_while_it_is_spoken(stack: Stack) -> None:
    speaking = subprocess.Popen(
        [sys.executable, "-m", "callseal.cli.main", "call", "--synthetic", "--seconds", "6"],
        env=stack.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    live = stack.wait_call("live", timeout=20)
    assert speaking.wait(60) == 0
    stack.wait_call("sealed", recording=str(live["recording"]))


def test_every_daemon_is_shut_in_and_leaves_no_core(stack: Stack) -> None:
    for name in ("custodian", "watcher", "media-0", "sip", "web"):
        status = Path(f"/proc/{stack.pid(name)}/status").read_text()
        assert re.search(r"NoNewPrivs:\s+1", status), name
        limits = Path(f"/proc/{stack.pid(name)}/limits").read_text()
        assert re.search(r"Max core file size\s+0\s+0", limits), name


def test_doctor_finds_nothing_bad_while_it_runs(stack: Stack) -> None:
    done = stack.cli(["doctor", "--json"])
    bad = [finding for finding in json.loads(done.stdout) if finding["verdict"] == "bad"]
    assert not bad
    assert done.returncode == 0


def test_no_log_line_holds_a_number_or_a_name(stack: Stack) -> None:
    _place(stack, "--seconds", "2", "--number", "+442079460958", "--name", "Zebedee Quillfeather")
    stack.wait_call("sealed")
    searched = 0
    for path, content in contents(stack.data):
        if not path.is_relative_to(stack.data / "speech"):
            searched += 1
            for secret in (b"2079460958", b"Quillfeather"):
                assert secret not in content, f"{path.relative_to(stack.data)} holds personal data in the clear"
    assert searched > 10


@pytest.fixture(scope="module")
def killed_stack() -> Iterator[Stack]:
    """One stack whose daemons are killed one after another."""
    with TemporaryDirectory(prefix="cs-", dir="/tmp") as folder:
        running = Stack(Path(folder))
        running.start()
        try:
            yield running
        finally:
            running.stop()


@pytest.mark.parametrize("name", ["sip", "media-0", "watcher", "web", "custodian"])
def test_a_killed_daemon_is_started_again_and_calls_go_on(killed_stack: Stack, name: str) -> None:
    stack = killed_stack
    placed = len(stack.calls())
    _place(stack, "--seconds", "2")
    before = stack.pid(name)
    os.kill(before, signal.SIGKILL)
    stack.wait_started_again(name, before)
    _place(stack, "--seconds", "2")
    end = time.monotonic() + 60
    while len(shown := stack.calls()) != placed + 2 or any(call["state"] != "sealed" for call in shown):
        assert time.monotonic() < end, f"after {name} was killed: {shown}\n{stack.logs()}"
        time.sleep(0.05)
    assert stack.cli(["verify"]).returncode == 0


def test_a_clean_stop_leaves_nothing_running_and_a_second_start_goes_on(new_stack: Stack) -> None:
    new_stack.start()
    pids = [new_stack.pid(name) for name in ("custodian", "watcher", "media-0", "sip", "web")]
    assert new_stack.stop() == 0
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    new_stack.start()
    _place(new_stack, "--seconds", "2")
    new_stack.wait_call("sealed")
    assert new_stack.cli(["verify"]).returncode == 0


def test_a_second_supervisor_on_the_same_data_is_refused(stack: Stack) -> None:
    done = stack.cli(["up", "--config", str(stack.file)], timeout=60)
    assert done.returncode == 73
    assert "another `callseal up`" in done.stderr
