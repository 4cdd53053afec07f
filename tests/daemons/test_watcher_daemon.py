"""The watcher as a process of its own beside the real custodian: killed again and again, stopped cleanly, away and back."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from callseal.audit.note import open_note, parse_vkey
from callseal.errors import Unavailable
from callseal.model.call import CallState
from callseal.store.calls import list_alerts, list_calls
from callseal.store.database import Database
from callseal.vault.card import SealingCard, decode_card
from tests.spooled import Signalling, Worker, recording_id

pytestmark = pytest.mark.real
WAIT_SECONDS = 40


class Place:
    """A data folder with its daemons."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.config = data / "callseal.toml"
        self.config.write_text(f'data = "{data}"\n')
        self.database = Database(f"sqlite:///{data / 'database' / 'callseal.db'}")

    @contextmanager
    def daemon(self, name: str, ends_with: int = signal.SIGTERM) -> Iterator[subprocess.Popen[bytes]]:
        program = [sys.executable, "-m", "callseal.daemons", name, "--config", str(self.config)]
        address = self.data / "run" / f"{name}.address"
        address.unlink(missing_ok=True)
        with (self.data / f"{name}.log").open("ab") as log, subprocess.Popen(program, stderr=log) as process:
            try:
                wait_for(lambda: address.exists() or process.poll() is not None)
                yield process
            finally:
                process.send_signal(ends_with)
                process.wait(20)

    def card(self) -> SealingCard:
        verifier = parse_vkey((self.data / "log" / "log.vkey").read_text())
        path = max((self.data / "cards").glob("*.card"), key=lambda path: int(path.stem))
        return decode_card(path.read_text(), lambda note: open_note(note.encode(), [verifier]).text)

    def states(self) -> list[CallState]:
        try:
            with self.database.read() as connection:
                return [call.state for call in list_calls(connection)]
        except Unavailable:
            return []

    def verify(self) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, "-m", "callseal_verify", str(self.data)]
        return subprocess.run(program, capture_output=True, text=True, check=False)


def wait_for(condition: object) -> None:
    """Look again and again until it holds; the limit is far beyond what is needed."""
    until = time.monotonic() + WAIT_SECONDS
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < until, "expected it to come true in time"
        time.sleep(0.02)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.database.close()


def speak(sip: Signalling, worker: Worker, number: int) -> None:
    recording = recording_id(number)
    at = datetime.now(UTC) - timedelta(seconds=3)
    sip.start(recording, at)
    worker.start(recording)
    worker.speak(recording, seconds=2)
    worker.end(recording)
    sip.end(recording)


def test_a_watcher_killed_at_any_moment_brings_every_call_in_once(place: Place) -> None:
    calls = 12
    with place.daemon("custodian"):
        sip, worker = Signalling(place.data), Worker(place.data, card=place.card())
        for number in range(calls):
            speak(sip, worker, number)
            if number % 3 == 2:
                worker.next_segment()
        for milliseconds in (0, 7, 15, 23, 31, 60):
            with place.daemon("watcher", ends_with=signal.SIGKILL):
                time.sleep(milliseconds / 1000)  # the moment of the kill is the point
        with place.daemon("watcher") as watcher:
            wait_for(lambda: place.states() == [CallState.SEALED] * calls)
            wait_for(lambda: [path.name for path in worker.folder.glob("*.spool")] == [worker.path.name])
        assert watcher.returncode == 0
        sip.events.close()
        worker.die()
    result = place.verify()
    assert result.returncode == 0, result.stdout + result.stderr


def test_without_its_custodian_the_watcher_waits_says_so_and_goes_on(place: Place) -> None:
    with place.daemon("custodian"):
        card = place.card()
    sip, worker = Signalling(place.data), Worker(place.data, card=card)
    speak(sip, worker, 1)
    with place.daemon("watcher"):
        wait_for(lambda: "custodian_away" in alerts(place))
        assert place.states() == [CallState.ENDED]
        with place.daemon("custodian"):
            wait_for(lambda: place.states() == [CallState.SEALED])
    sip.events.close()
    worker.die()


def test_the_watcher_logs_no_more_than_ids(place: Place) -> None:
    with place.daemon("custodian"), place.daemon("watcher"):
        pass
    text = (place.data / "watcher.log").read_text()
    assert '"ready"' in text
    assert os.fspath(place.data) not in text


def alerts(place: Place) -> list[str]:
    try:
        with place.database.read() as connection:
            return [alert.kind for alert in list_alerts(connection)]
    except Unavailable:
        return []
