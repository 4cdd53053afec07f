"""The systemd installation as it is shipped: each daemon its own user, a whole call through all of them, and nobody in another's place."""

import json
import os
import socket
import stat
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from callseal.config.folders import peer_user, users_of
from callseal.errors import CallsealError, Unavailable
from callseal.keyring.client import BlockingKeyring
from callseal.model.message import to_bytes, to_text
from callseal.vault.object import ObjectReader
from callseal.vault.tree import Node
from callseal.vault.unseal import PartOpener
from tests.authenticator import Authenticator
from tests.deploy.installed import DAEMONS, PROGRAMS, Installed, tries

pytestmark = [pytest.mark.real, pytest.mark.skipif(os.geteuid() != 0, reason="only root can make users")]

EVENTS = {name: name for name in DAEMONS if name != "media"} | {"media-0": "media", "media-1": "media"}
"""Whose each source is."""
READERS: dict[str, set[str]] = {
    "custodian": {"custodian"},
    "log": set(DAEMONS),
    "cards": set(DAEMONS),
    "spool/media-0": {"media", "watcher"},
    "spool/media-1": {"media", "watcher"},
    "objects": {"watcher", "web"},
    "database": {"watcher", "web"},
    "tls": {"sip"},
    "peers": {"sip"},
    "records": {"web"},
    "run": set(DAEMONS),
    **{f"events/{source}": {user, "watcher"} for source, user in EVENTS.items()},
}
WRITERS: dict[str, set[str]] = {
    "custodian": {"custodian"},
    "log": {"custodian"},
    "cards": {"custodian"},
    "spool/media-0": {"media", "watcher"},
    "spool/media-1": {"media", "watcher"},
    "objects": {"watcher"},
    "database": {"watcher", "web"},
    "tls": set(),
    "peers": set(),
    "records": set(),
    "run": set(DAEMONS),
    **{f"events/{source}": {user} for source, user in EVENTS.items()},
}


@pytest.fixture(scope="module")
def installed() -> Iterator[Installed]:
    with TemporaryDirectory(prefix="cs-", dir="/tmp") as folder:
        made = Installed(Path(folder))
        try:
            made.callseal("prepare")
            made.run("install", "-m", "640", "/opt/callseal/deploy/callseal.toml", "/var/lib/callseal/records/example")
            for name in PROGRAMS:
                made.start(name)
            yield made
        finally:
            made.close()


@pytest.fixture(scope="module")
def recording(installed: Installed) -> str:
    """A call placed, and seen sealed by the operator's command."""
    installed.callseal("call", "--synthetic", "--seconds", "2")
    end = time.monotonic() + 60
    while not (calls := json.loads(installed.callseal("calls", "--json").stdout)) or calls[0]["state"] != "sealed":
        assert time.monotonic() < end, f"{calls}\n{installed.log('watcher')}"
        time.sleep(0.2)
    return str(calls[0]["recording"])


@pytest.mark.timeout(240)
def test_a_whole_call_is_sealed_listed_opened_with_an_assertion_and_verified(installed: Installed, recording: str) -> None:
    objects = installed.data / "objects" / recording[:2] / recording
    token = next(
        invite["token"]
        for invite in json.loads((installed.data / "custodian" / "first-run.json").read_text())
        if invite["role"] == "compliance_officer"
    )
    key = Authenticator(origin=f"http://localhost:{installed.config.web.port}")
    with BlockingKeyring(installed.data / "run" / "custodian.sock") as keyring:
        begun = keyring.ask("enrol.begin", token=token, kind="passkey")
        person = keyring.ask("enrol.finish", token=token, nonce=begun["nonce"], response=key.register(begun["options"]))["person"]
        rows = {recording: [to_text((objects / "0.row").read_bytes())]}

        def begin() -> dict[str, Any]:
            return keyring.ask(
                "open.begin", person=person, action="listen", recordings=[recording], from_ms=0, to_ms=2000,
                reason_class="complaint", reason="They say that the price was another", case="C-1",
            )  # fmt: skip

        with pytest.raises(CallsealError):
            keyring.ask("open", request=begin()["request"], rows=rows, code="000000")
        asked = begin()
        (grant,) = keyring.ask("open", request=asked["request"], rows=rows, response=key.sign(asked["options"]))["grants"]
    reader = ObjectReader.from_bytes((objects / "0.csr").read_bytes())
    nodes = [Node(depth, prefix, to_bytes(node, "key")) for depth, prefix, node in grant["nodes"]]
    opener = PartOpener(reader.core, nodes)
    assert opener.open(reader.message(0), reader.previous_commitment(0)).plaintext.startswith(b"\x1aE\xdf\xa3"), "not Matroska"
    verified = installed.callseal("verify", "--recording", recording)
    assert "Nothing was changed" in verified.stdout


@pytest.mark.parametrize("name", DAEMONS)
def test_each_user_reads_and_writes_only_what_is_its_own_to_read_and_write(installed: Installed, recording: str, name: str) -> None:
    found = tries(installed, f"callseal-{name}", list(READERS))
    assert found["read"] == {place for place, users in READERS.items() if name in users}
    assert found["write"] == {place for place, users in WRITERS.items() if name in users}


def test_the_control_root_reads_and_writes_all_of_it(installed: Installed, recording: str) -> None:
    found = tries(installed, "root", list(READERS))
    assert found["read"] == found["write"] == set(READERS)


def test_no_daemon_reads_a_key_that_is_not_its_own(installed: Installed, recording: str) -> None:
    tls = "/var/lib/callseal/tls"
    for name in DAEMONS:
        may = {path: installed.run("cat", path, user=f"callseal-{name}", check=False).returncode == 0
               for path in (f"{tls}/server.key", f"{tls}/ca.key", f"{tls}/phone.key")}  # fmt: skip
        assert may == {f"{tls}/server.key": name == "sip", f"{tls}/ca.key": False, f"{tls}/phone.key": False}


ASK = """
import sys
from pathlib import Path
from callseal.keyring.client import BlockingKeyring
with BlockingKeyring(Path("/var/lib/callseal/run/custodian.sock"), 5.0) as keyring:
    print(keyring.ask("status")["ready"])
"""


@pytest.mark.parametrize("name", DAEMONS)
def test_only_web_and_watcher_are_answered_by_the_custodian(installed: Installed, name: str) -> None:
    done = installed.run("/opt/callseal/.venv/bin/python", "-c", ASK, user=f"callseal-{name}", check=False)
    assert (done.stdout.strip() == "True") == (name in ("web", "watcher", "custodian")), done.stderr


MEDIA = """
import socket
from pathlib import Path
from callseal.model.message import encode_message
with socket.socket(socket.AF_UNIX) as line:
    line.connect("/var/lib/callseal/run/media-0.sock")
    try:
        line.sendall(encode_message({"type": "media.status", "id": 1}))
        print("answered" if line.recv(10) else "ended")
    except OSError:
        print("ended")
"""


@pytest.mark.parametrize("name", DAEMONS)
def test_only_sip_is_answered_by_the_media_worker(installed: Installed, name: str) -> None:
    said = installed.run("/opt/callseal/.venv/bin/python", "-c", MEDIA, user=f"callseal-{name}").stdout.strip()
    assert said == ("answered" if name in ("sip", "media") else "ended")


def test_a_workers_account_is_read_by_every_daemon_and_put_by_nobody_in_its_place(installed: Installed, recording: str) -> None:
    path = "/var/lib/callseal/run/media-0.json"
    for name in ("web", "watcher"):
        said = json.loads(installed.run("cat", path, user=f"callseal-{name}").stdout)
        assert said["worker"] == "media-0" and said["packets"] > 0
    for name in ("web", "watcher", "sip"):
        for attempt in (["rm", "-f", path], ["mv", "-f", path, f"{path}.away"], ["cp", "/dev/null", path]):
            assert installed.run(*attempt, user=f"callseal-{name}", check=False).returncode != 0
    assert installed.run("cat", path, user="nobody", check=False).returncode != 0


@pytest.mark.parametrize("name", ["sip", "media", "web", "watcher"])
def test_nobody_puts_a_socket_in_the_custodians_place(installed: Installed, name: str) -> None:
    path = "/var/lib/callseal/run/custodian.sock"
    for attempt in (["rm", "-f", path], ["mv", path, f"{path}.away"], ["ln", "-sf", "/tmp/other.sock", path]):
        assert installed.run(*attempt, user=f"callseal-{name}", check=False).returncode != 0
    assert stat.S_ISSOCK((installed.data / "run" / "custodian.sock").stat().st_mode)


def test_the_doctor_says_that_the_separation_holds_and_names_what_breaks_it(installed: Installed, recording: str) -> None:
    def look() -> dict[str, Any]:
        return {finding["what"]: finding for finding in json.loads(installed.callseal("doctor", "--json", check=False).stdout)}

    found = look()
    assert not [finding for finding in found.values() if finding["verdict"] == "bad"]
    assert found["users"] == {
        "what": "users", "verdict": "good", "found": "each of 5 daemons has a user of its own", "fix": "",
    }  # fmt: skip
    for place, mode in (("custodian", 0o750), ("run", 0o2770), ("tls/server.key", 0o644)):
        path = installed.data / place
        before = stat.S_IMODE(path.stat().st_mode)
        path.chmod(mode)
        assert [finding for finding in look().values() if finding["verdict"] == "bad"], place
        path.chmod(before)


@pytest.mark.parametrize("user", [0, 65534])
def test_a_keyring_gives_no_request_to_another_user_behind_the_socket(short_folder: Path, user: int) -> None:
    """What listens at the custodian's path must be the owner of the custodian's folder, root, or ourselves."""
    run = short_folder / "run"
    run.mkdir()
    (short_folder / "custodian").mkdir(mode=0o700)
    short_folder.chmod(0o755)
    run.chmod(0o777)
    path = run / "custodian.sock"
    ready, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.setuid(user)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()
            os.write(tell, b"1")
            line, _ = listener.accept()
            got = line.recv(4096)
        os._exit(1 if got else 0)
    os.read(ready, 1)
    with BlockingKeyring(path, 2.0) as keyring, pytest.raises(Unavailable):
        keyring.ask("open", request={"secret": "an assertion"})
    _pid, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == (1 if user == 0 else 0), "what it was given"
    os.close(ready)
    os.close(tell)


def test_the_peer_of_a_socket_is_named_by_the_kernel() -> None:
    left, right = socket.socketpair(socket.AF_UNIX)
    with left, right:
        assert peer_user(left) == os.getuid() == struct.unpack("3i", right.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]
    assert users_of(Path("/nowhere")) == {os.getuid(), 0}
