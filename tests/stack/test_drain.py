"""Drain on the running line: no new call, none ended; known to the health page and to a successor; off again by command."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from callseal.config.settings import Config
from callseal.daemons.first_start import make_folders
from callseal.errors import RequestError, Unavailable
from callseal.net.control_client import ask_daemon
from callseal.phone.call import Call, Plan
from callseal.phone.line import Line
from callseal.phone.message import Incoming, write_request
from tests.conftest import Stack
from tests.stack.test_recording_assurance import VOICE, line_of, wait_for

pytestmark = pytest.mark.real


async def ask_options(line: Line, stack: Stack) -> Incoming:
    call = Call(line, line_of(stack, ""), Plan(), VOICE)
    try:
        branch = f"z9hG4bK{os.urandom(8).hex()}"
        headers = [*call._headers("OPTIONS", branch)]
        return await line.request(branch, "OPTIONS", write_request("OPTIONS", call.destination.uri, headers, b""))
    finally:
        call.close()


def drain(stack: Stack, *options: str) -> dict[str, object]:
    done = stack.cli(["drain", "--json", *options])
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def metrics(stack: Stack) -> str:
    with urllib.request.urlopen(f"{stack.console()}/metrics") as answer:
        return str(answer.read().decode())


def test_a_drain_refuses_new_calls_lets_live_ones_finish_and_outlives_a_killed_process(stack: Stack) -> None:
    async def story() -> None:
        line = await Line.connect(line_of(stack, ""))
        live = Call(line, line_of(stack, ""), Plan(), VOICE)
        await live.invite()
        assert (await ask_options(line, stack)).status == 200

        began = await asyncio.to_thread(drain, stack)
        assert (began["draining"], began["live"]) == (True, 1)
        refused = await ask_options(line, stack)
        assert (refused.status, refused.header("Retry-After").isdecimal()) == (503, True)
        late = Call(line, live.destination, Plan(), VOICE)
        with pytest.raises(Unavailable, match="503"):
            await late.invite()
        late.close()
        await live.invite()  # a change within the live call is answered
        assert "callseal_draining 1.0" in await asyncio.to_thread(metrics, stack)

        waiting = subprocess.Popen(
            [sys.executable, "-m", "callseal.cli.main", "drain", "--wait"], env=stack.environment, stdout=subprocess.PIPE, text=True
        )
        assert waiting.stdout is not None
        assert "1 call live" in await asyncio.to_thread(waiting.stdout.readline)
        assert waiting.poll() is None
        await live.bye()
        live.close()
        rest, _ = await asyncio.to_thread(waiting.communicate, timeout=30)
        assert (waiting.returncode, "no call is live" in rest) == (0, True)
        await line.close()

    asyncio.run(story())
    before = stack.pid("sip")
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: json.loads((stack.config.run / "supervisor.json").read_text())["sip"]["pid"] not in (None, before), stack)
    wait_for(lambda: json.loads((stack.config.run / "supervisor.json").read_text())["sip"]["ready"], stack)
    assert drain(stack, "--status")["draining"] is True

    assert drain(stack, "--off")["draining"] is False
    placed = stack.cli(["call", "--synthetic", "--seconds", "1", "--json"])
    assert placed.returncode == 0, placed.stderr
    assert "callseal_draining 0.0" in metrics(stack)
    assert [event["type"] for event in stack.events() if event["type"].startswith("Drain")] == ["DrainBegan", "DrainEnded"]


def test_a_full_start_takes_calls_again(short_folder: Path) -> None:
    config = Config(data=short_folder / "data")
    make_folders(config)
    config.draining_file.write_text('{"since": "now"}')
    make_folders(config)
    assert not config.draining_file.exists()


def test_the_control_socket_refuses_what_it_does_not_know(stack: Stack) -> None:
    for fields in ({"kind": "sip.drain"}, {"kind": "sip.drain", "on": "yes"}, {"kind": "sip.open", "on": True}):
        with pytest.raises(RequestError):
            ask_daemon(stack.config.sip_socket, **fields)
    assert stack.config.sip_socket.stat().st_mode & 0o077 == 0
