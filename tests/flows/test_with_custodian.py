"""The watcher's flows with the real custodian: adoption, log, opening, holds, disposal, and the independent verifier after each."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from callseal.config.settings import Retention
from callseal.custodian.card import issue_card, rotate_cards
from callseal.errors import NotFound
from callseal.flows.capture import Capture
from callseal.flows.dispose import Disposal
from callseal.flows.drain import Drain
from callseal.flows.relay import Relay
from callseal.model.call import CallState
from callseal.model.message import Message, to_bytes, to_text
from callseal.store import schema
from callseal.store.calls import get_call, get_rows, list_calls, list_certificates
from callseal.store.database import Database
from callseal.store.events import EventWriter
from callseal.store.objects import ObjectStore, object_path
from callseal.vault.object import inspect
from callseal.vault.tree import Node
from callseal.vault.unseal import PartOpener
from tests.custody_rig import META, START, Rig
from tests.spooled import Signalling, Worker, recording_id

A = recording_id(1)


class Asks:
    """The custodian of this process, asked as over its socket."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig

    async def ask(self, message_type: str, **fields: Any) -> Message:
        return self._rig.ask(message_type, **fields)


class Place:
    """One installation: custodian, recorder, watcher."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.rig = Rig(data)
        self.database = Database(f"sqlite:///{data / 'database' / 'callseal.db'}")
        self.database.migrate()
        self.objects = ObjectStore(data / "objects")
        self.sip = Signalling(data)
        self.worker = Worker(data, card=self.rig.card())
        self.notes = EventWriter(data / "events", "watcher")
        keyring = Asks(self.rig)
        self.capture = Capture(self.database, self.objects, keyring, data, self.notes.write, Retention())
        self.relay = Relay(self.database, keyring, data)
        self.drain = Drain(self.database, keyring, self.capture.spool)
        self.disposal = Disposal(self.database, self.objects, keyring)

    def seal_call(self, recording: str) -> None:
        self.sip.start(recording, START)
        self.worker.start(recording, meta=json.dumps(META).encode())
        self.worker.speak(recording)
        self.worker.end(recording)
        self.sip.end(recording, START + timedelta(seconds=3))
        asyncio.run(self.capture.step(START + timedelta(seconds=10)))
        asyncio.run(self.relay.step())

    def state(self, recording: str) -> CallState:
        with self.database.read() as connection:
            return get_call(connection, recording).call.state

    def verify(self) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, "-m", "callseal_verify", str(self.data)]
        return subprocess.run(program, capture_output=True, text=True, check=False)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.notes.close()
    place.sip.events.close()
    place.worker.die()
    place.database.close()


def test_a_sealed_call_stands_in_the_log_and_the_verifier_agrees(place: Place) -> None:
    place.seal_call(A)
    assert place.state(A) is CallState.SEALED
    kinds = [entry["type"] for entry in place.rig.entries() if entry.get("what") == A]
    assert kinds[:2] == ["PartAdopted", "PartSealed"]
    result = place.verify()
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_verifier_finds_one_changed_byte_of_what_the_watcher_stored(place: Place) -> None:
    place.seal_call(A)
    path = place.data / "objects" / object_path(A, 0)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert place.verify().returncode != 0


def test_an_officer_hears_what_the_watcher_brought_in(place: Place) -> None:
    place.seal_call(A)
    officer = place.rig.enrol("compliance_officer")
    with place.database.read() as connection:
        rows = get_rows(connection, A)
    begun = place.rig.ask(
        "open.begin", person=officer.person, action="listen", recordings=[A], from_ms=0, to_ms=3000,
        reason_class="complaint", reason="They say the price was another one", case="C-1",
    )  # fmt: skip
    reply = place.rig.ask(
        "open", request=begun["request"], response=officer.key.sign(begun["options"]),
        rows={A: [to_text(row) for row in rows]}, indexes={A: [[0, 0, 5]]},
    )  # fmt: skip
    reader = inspect(place.objects.get(object_path(A, 0)))
    nodes = [Node(depth, prefix, to_bytes(key, "key")) for depth, prefix, key in reply["grants"][0]["nodes"]]
    opener = PartOpener(reader.core, nodes)
    heard = [opener.open(reader.message(n), reader.previous_commitment(n)).plaintext for n in (2, 3, 4)]
    assert heard == [b"second 0", b"second 1", b"second 2"]


def test_a_number_finds_its_call_by_the_custodians_tokens(place: Place) -> None:
    place.seal_call(A)
    tokens = place.rig.ask("search.tokens", value="+44 20 7946 0123")["tokens"]
    with place.database.read() as connection:
        assert [call.recording for call in list_calls(connection, tokens=tokens)] == [A]
        assert list_calls(connection, tokens=place.rig.ask("search.tokens", value="+44 20 7946 9999")["tokens"]) == []
        stored = repr([connection.execute(select(table)).all() for table in schema.metadata.tables.values()])
    assert "79460123" not in stored.replace(" ", "")


def test_on_its_day_a_recordings_key_object_and_tokens_are_gone_and_the_verifier_agrees(place: Place) -> None:
    place.seal_call(A)
    place.rig.now = START + timedelta(days=90)
    assert asyncio.run(place.disposal.step(place.rig.now)) == 0
    assert place.state(A) is CallState.SEALED
    place.rig.now = START + timedelta(days=91, hours=1)
    assert asyncio.run(place.disposal.step(place.rig.now)) == 1
    assert place.state(A) is CallState.DESTROYED
    with pytest.raises(NotFound):
        place.objects.get(object_path(A, 0))
    with place.database.read() as connection:
        (certificate,) = list_certificates(connection)
        assert connection.execute(select(schema.tokens)).all() == []
    assert (certificate.subject, certificate.state) == ("group:default/2026-11-24", "pending")
    result = place.verify()
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_kill_between_adoption_and_our_row_leaves_one_row_that_opens_and_verifies(place: Place) -> None:
    class Killed(BaseException):
        pass

    def dies(*_arguments: Any) -> None:
        raise Killed

    keep = place.capture._keep_adoption
    place.capture._keep_adoption = dies  # type: ignore[method-assign]
    with pytest.raises(Killed):
        place.seal_call(A)
    place.capture._keep_adoption = keep  # type: ignore[method-assign]
    asyncio.run(place.capture.step(START + timedelta(seconds=20)))
    asyncio.run(place.relay.step())
    assert place.state(A) is CallState.SEALED
    result = place.verify()
    assert result.returncode == 0, result.stdout + result.stderr


def test_an_ingest_key_goes_only_once_no_part_of_its_epoch_waits(place: Place) -> None:
    first = place.worker.card.epoch
    place.seal_call(A)
    place.worker.start(recording_id(2))
    place.rig.now += timedelta(days=3)
    issue_card(place.rig.custody, place.rig.now)
    place.rig.now += timedelta(days=3)
    asyncio.run(place.capture.step(START + timedelta(seconds=20)))
    asyncio.run(place.relay.step())
    assert asyncio.run(place.drain.step()) == []
    rotate_cards(place.rig.custody, place.rig.now)
    assert str(first) in place.rig.custody.state.epochs
    place.worker.end(recording_id(2))
    place.worker.next_segment()
    for seconds in (40, 60):  # nobody announced this call, so its part waits a while for the signalling
        asyncio.run(place.capture.step(START + timedelta(seconds=seconds)))
    assert first in asyncio.run(place.drain.step())
    assert asyncio.run(place.drain.step()) == []
    rotate_cards(place.rig.custody, place.rig.now)
    assert str(first) not in place.rig.custody.state.epochs
