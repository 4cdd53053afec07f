"""The program of each other process, started as itself and shut in as itself, cannot read the custodian's keys nor open without proof.

The positive control: the same reading, outside the sandbox, does get the erasable key's file.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from callseal.daemons.landlock import landlock_version
from tests.conftest import Stack
from tests.files import contents

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(landlock_version() == 0, reason="this kernel has no Landlock"),
]

# Runs the daemon's own `run` up to the moment in which it says that it is ready: shut in as it always is. Then it turns on us.
TRAITOR = """
import importlib, json, os, sys
from pathlib import Path
from callseal.config.settings import load_config
from callseal.daemons import lifecycle
from callseal.errors import CallsealError
from callseal.keyring.client import BlockingKeyring

name, data, recording, confined = sys.argv[1], Path(sys.argv[2]), sys.argv[3], sys.argv[4] == "confined"
config = load_config(Path(sys.argv[5]))

def tries(act):
    try:
        return "got " + type(act()).__name__
    except OSError as error:
        return type(error).__name__
    except CallsealError as error:
        return type(error).__name__

def betray(self, address):
    custodian = data / "custodian"
    kept = Path("/proc") / sys.argv[7] / "fd"
    files = [Path(path) for path in json.loads(sys.argv[6])]
    def ask(kind, **fields):
        with BlockingKeyring(data / "run" / "custodian.sock", timeout_seconds=5) as keyring:
            return keyring.ask(kind, **fields)
    request = {"v": 1, "action": "listen", "recordings": [recording], "from_ms": 0, "to_ms": 9000, "person": "0" * 16,
               "reason_class": "complaint", "reason": "because I say so", "case": "", "nonce": "AAAA"}
    sys.__stdout__.write(json.dumps({
        "list": tries(lambda: os.listdir(custodian)),
        "memory": tries(lambda: [path.read_bytes() for path in kept.iterdir() if "memfd" in os.readlink(path)]),
        "read": [tries(path.read_bytes) for path in files],
        "write": tries(lambda: (custodian / "planted").write_bytes(b"x")),
        "log": tries(lambda: (data / "log" / "checkpoint").write_bytes(b"forged")),
        "open": tries(lambda: ask("open", request=request, rows={recording: []}, indexes={recording: []}, code="000000")),
        "sign": tries(lambda: ask("open", request=request, rows={recording: []}, indexes={}, response={"id": "x"})),
    }) + "\\n")
    sys.__stdout__.flush()
    os._exit(0)

lifecycle.Lifecycle.ready = betray
if not confined:
    lifecycle.Lifecycle.confine = lambda self, *a, **k: None
importlib.import_module("callseal.daemons." + name).run(config)
"""


@pytest.fixture(scope="module")
def sealed(stack: Stack) -> str:
    assert stack.cli(["call", "--synthetic", "--seconds", "2"]).returncode == 0
    return str(stack.wait_call("sealed")["recording"])


def _betray(stack: Stack, name: str, recording: str, how: str, folder: Path) -> dict[str, object]:
    """Stop the true daemon's copy from being in the way: the traitor runs in a data folder whose secrets are links to the real ones."""
    keys = sorted(str(path) for path in (stack.data / "custodian").rglob("*") if path.is_file())
    assert keys
    own = folder / "data"
    for part in ("run", "logs", "peers", "tls", "spool", "events", "objects", "cards", "log", "database"):
        (own / part).mkdir(parents=True)
    for part in ("tls", "peers", "cards", "log"):
        for path in (stack.data / part).iterdir():
            if path.is_file():
                (own / part / path.name).write_bytes(path.read_bytes())
    file = folder / "callseal.toml"
    file.write_text(f'data = "{own}"\n[sip]\nport = 0\n[web]\nport = 0\n', encoding="utf-8")
    assert stack.process is not None
    supervisor = stack.process.pid
    done = subprocess.run(
        [sys.executable, "-c", TRAITOR, name, str(stack.data), recording, how, str(file), json.dumps(keys), str(supervisor)],
        capture_output=True, text=True, timeout=60, check=False, env=dict(os.environ, OPENBLAS_NUM_THREADS="1"),
    )  # fmt: skip
    assert done.stdout.startswith("{"), done.stdout + done.stderr
    return dict(json.loads(done.stdout.splitlines()[0]))


@pytest.mark.parametrize("name", ["sip", "media", "watcher", "web"])
def test_its_program_reads_no_key_and_opens_nothing(stack: Stack, sealed: str, name: str, short_folder: Path) -> None:
    denied_before = _openings(stack)
    seen = _betray(stack, name, sealed, "confined", short_folder)
    assert (seen["list"], seen["memory"]) == ("PermissionError", "PermissionError")
    assert set(seen["read"]) == {"PermissionError"}  # type: ignore[call-overload]
    assert seen["write"] == "PermissionError"
    assert seen["log"] == "PermissionError"
    assert seen["open"] in ("Denied", "Unauthenticated", "PermissionError"), seen
    assert seen["sign"] in ("Denied", "Unauthenticated", "PermissionError"), seen
    assert _openings(stack) == denied_before, "something was opened"


@pytest.mark.parametrize("name", ["media"])
def test_outside_its_sandbox_the_same_program_reads_the_key_file(
    stack: Stack, sealed: str, name: str, short_folder: Path
) -> None:
    seen = _betray(stack, name, sealed, "free", short_folder)
    assert (seen["list"], seen["memory"]) == ("got list", "got list")
    assert set(seen["read"]) == {"got bytes"}  # type: ignore[call-overload]


def _openings(stack: Stack) -> int:
    """How many openings the log has allowed."""
    return sum(content.count(b'"OpeningAllowed"') for _path, content in contents(stack.data / "log" / "tile" / "entries"))
