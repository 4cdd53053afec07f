"""The custodian as a process, over its socket: what it answers, whom it refuses, and how it ends."""

import asyncio
import json
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from callseal.audit.entry import read_entry
from callseal.audit.tile import TileTree
from callseal.errors import NotFound, RequestError, Unavailable
from callseal.keyring.client import BlockingKeyring, Keyring
from callseal.model.message import MessageDecoder, encode_message
from tests.authenticator import Authenticator

pytestmark = pytest.mark.real


class Process:
    """`python -m callseal.daemons custodian` with a data folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.file = folder / "callseal.toml"
        self.file.write_text(f'data = "{self.data}"\n[web]\nport = 8080\n')
        self.socket = self.data / "run" / "custodian.sock"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        (self.data / "run" / "custodian.address").unlink(missing_ok=True)
        with (self.file.parent / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "callseal.daemons", "custodian", "--config", str(self.file)], stdout=log, stderr=log
            )
        end = time.monotonic() + 20
        while not (self.data / "run" / "custodian.address").exists():
            assert self.process.poll() is None and time.monotonic() < end, (self.file.parent / "log").read_text()
            time.sleep(0.02)

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(10)
        self.process = None
        return code

    def entries(self) -> list[dict[str, object]]:
        folder = self.data / "log"
        size = int((folder / "checkpoint").read_text().splitlines()[1])

        def read(path: str) -> bytes | None:
            return (folder / path).read_bytes() if (folder / path).exists() else None

        return [read_entry(data) for data in TileTree(size, read).entries(0, size)]


@pytest.fixture
def process() -> Iterator[Process]:
    with TemporaryDirectory(prefix="cs-", dir="/tmp") as folder:
        own = Process(Path(folder))
        own.start()
        try:
            yield own
        finally:
            if own.process is not None:
                own.stop(signal.SIGKILL)


def test_the_first_start_invites_two_people_whose_links_work_once(process: Process) -> None:
    links = {link["role"]: link["token"] for link in json.loads((process.data / "custodian" / "first-run.json").read_text())}
    assert set(links) == {"compliance_officer", "administrator"}
    assert stat.S_IMODE((process.data / "custodian" / "first-run.json").stat().st_mode) == 0o600
    key = Authenticator()
    with BlockingKeyring(process.socket) as keyring:
        assert keyring.ask("status")["ready"] is True
        begun = keyring.ask("enrol.begin", token=links["compliance_officer"], kind="passkey")
        done = keyring.ask(
            "enrol.finish", token=links["compliance_officer"], nonce=begun["nonce"], response=key.register(begun["options"])
        )
        assert done["role"] == "compliance_officer"
        with pytest.raises(NotFound):
            keyring.ask("enrol.begin", token=links["compliance_officer"], kind="passkey")
        asked = keyring.ask("signin.begin")
        signed = keyring.ask("signin.finish", nonce=asked["nonce"], response=key.sign(asked["options"]))
        assert (signed["person"], signed["method"]) == (done["person"], "passkey")
        with pytest.raises(RequestError):
            keyring.ask("unwrap")
    assert all(token not in path.read_text(errors="replace") for token in links.values()
               for path in (process.data / "log").rglob("*") if path.is_file())  # fmt: skip


def test_the_socket_is_for_its_own_user_only(process: Process) -> None:
    assert stat.S_IMODE(process.socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(process.socket.parent.stat().st_mode) == 0o700
    for path in (process.data / "custodian").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) in (0o600, 0o700)


@pytest.mark.parametrize(
    "junk",
    [b"GET / HTTP/1.1\r\n\r\n", b"\xff\xff\xff\xff", b"\x00\x00\x00\x02[]", b"\x00\x00\x00\x04\x00\x01\x02\x03"],
)
def test_raw_bytes_on_the_socket_end_that_connection_and_are_counted(process: Process, junk: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(str(process.socket))
        raw.settimeout(15)
        raw.sendall(junk)
        raw.shutdown(socket.SHUT_WR)
        assert raw.recv(4096) == b""
    with BlockingKeyring(process.socket) as keyring:
        assert keyring.ask("status")["ready"] is True
    assert process.stop() == 0
    counted = [entry for entry in process.entries() if entry["type"] == "RefusalsCounted"]
    assert [(entry["kind"], entry["count"]) for entry in counted] == [("message", 1)]


def test_a_message_without_its_fields_is_refused_and_the_process_goes_on(process: Process) -> None:
    from callseal.custodian.service import ANSWERS

    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(str(process.socket))
        raw.settimeout(15)
        decoder = MessageDecoder(4 << 20)
        for kind in ANSWERS:
            for fields in ({}, dict.fromkeys(("token", "nonce", "request", "recording", "header", "events", "rows", "person"), 7)):
                raw.sendall(encode_message({"type": kind, "id": 5, **fields}))
                replies = list(decoder.feed(raw.recv(1 << 20)))
                assert replies and replies[0]["id"] == 5
                if not replies[0]["ok"]:
                    assert replies[0]["error"]["kind"] not in ("InternalError", "Unavailable"), (kind, fields)
    assert process.process is not None and process.process.poll() is None


def test_after_a_kill_it_starts_again_with_everything_it_knew(process: Process) -> None:
    before = (process.data / "log" / "checkpoint").read_text()
    process.stop(signal.SIGKILL)
    with pytest.raises(Unavailable), BlockingKeyring(process.socket, 2) as keyring:
        keyring.ask("status")
    process.start()
    assert int((process.data / "log" / "checkpoint").read_text().splitlines()[1]) > int(before.splitlines()[1])
    with BlockingKeyring(process.socket) as keyring:
        assert keyring.ask("status")["waiting_invites"] == 2


def test_the_asyncio_client_asks_from_many_tasks_at_once(process: Process) -> None:
    async def ask_often() -> list[str]:
        keyring = Keyring(process.socket)
        replies = await asyncio.gather(*(keyring.ask("signin.begin") for _ in range(20)))
        await keyring.close()
        return [str(reply["nonce"]) for reply in replies]

    assert len(set(asyncio.run(ask_often()))) == 20


def test_a_keystore_whose_cell_is_gone_opens_for_nobody() -> None:
    """The files alone, without the erasable cell, are nothing."""
    with TemporaryDirectory(prefix="cs-", dir="/tmp") as folder:
        own = Process(Path(folder))
        own.start()
        own.stop()
        (own.data / "custodian" / "cell" / "1").unlink()
        with pytest.raises(AssertionError, match="keystore"):
            own.start()
