"""A daemon that is shut in reaches its own folders and nothing else; the same program outside reaches them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from callseal.daemons.landlock import landlock_version

PROGRAM = """
import ctypes, json, os, signal, socket, sys
from pathlib import Path
from callseal.config.settings import Config
from callseal.daemons.lifecycle import start
from callseal.daemons.process import is_dumpable

data, confined, victim, port = Path(sys.argv[1]), sys.argv[2] == "confined", int(sys.argv[3]), int(sys.argv[4])
life = start("media", Config(data=data, log_level="error"))
if confined:
    life.confine(read=[data / "cards"], write=[data / "spool", data / "run"])

def tries(act):
    try:
        act()
        return "done"
    except OSError as error:
        return type(error).__name__

def connect():
    with socket.socket() as s:
        s.connect(("127.0.0.1", port))

def listen():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()

def read_memory():
    with open(f"/proc/{victim}/mem", "rb") as memory:
        pass

print(json.dumps({
    "dumpable": is_dumpable(),
    "read secret": tries(lambda: (data / "custodian" / "cell").read_bytes()),
    "write card": tries(lambda: (data / "cards" / "x").write_bytes(b"")),
    "read card": tries(lambda: (data / "cards" / "card").read_bytes()),
    "write spool": tries(lambda: (data / "spool" / "x").write_bytes(b"")),
    "connect": tries(connect),
    "listen": tries(listen),
    "signal": tries(lambda: os.kill(victim, 0)),
    "memory": tries(read_memory),
}))
"""


def _try(how: str) -> dict[str, object]:
    import socket

    with TemporaryDirectory(prefix="cs-", dir="/tmp") as folder, socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        data = Path(folder)
        for name in ("custodian", "cards", "spool", "run"):
            (data / name).mkdir()
        (data / "custodian" / "cell").write_bytes(os.urandom(32))
        (data / "cards" / "card").write_bytes(b"card")
        victim = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
        try:
            done = subprocess.run(
                [sys.executable, "-c", PROGRAM, folder, how, str(victim.pid), str(server.getsockname()[1])],
                capture_output=True, text=True, check=True, timeout=60,
            )  # fmt: skip
        finally:
            victim.communicate()
    return dict(json.loads(done.stdout))


@pytest.mark.skipif(landlock_version() == 0, reason="this kernel has no Landlock")
def test_a_confined_daemon_reaches_only_its_own_folders_and_no_other_process() -> None:
    seen = _try("confined")
    assert seen["read secret"] == "PermissionError"
    assert seen["write card"] == "PermissionError"
    assert seen["read card"] == "done"
    assert seen["write spool"] == "done"
    assert seen["connect"] == "PermissionError"
    assert seen["listen"] == "PermissionError"
    assert seen["signal"] == "PermissionError"
    assert seen["memory"] in ("PermissionError", "FileNotFoundError")


def test_the_same_program_outside_reaches_them_so_the_test_can_see() -> None:
    seen = _try("free")
    assert seen["read secret"] == "done"
    assert seen["write card"] == "done"
    assert seen["connect"] == "done"
    assert seen["listen"] == "done"
    assert seen["signal"] == "done"


def test_a_daemon_leaves_no_core_and_cannot_be_traced_by_its_equals() -> None:
    assert _try("free")["dumpable"] is False
