"""From spool to sealed object: each step cut off anywhere and done again, each neighbour away, every part brought in once."""

import asyncio
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from callseal.config.settings import Retention
from callseal.errors import Unavailable
from callseal.flows.capture import Capture
from callseal.model.call import CallDetail, CallState, PartState
from callseal.store import schema
from callseal.store.calls import get_call, list_calls
from callseal.store.database import Database
from callseal.store.events import EventWriter
from callseal.store.objects import ObjectStore, object_path, row_path
from callseal.vault.object import inspect
from callseal.vault.tree import KeyTree
from callseal.vault.unseal import PartOpener, open_header
from tests.spooled import NOW, PRIVATE_KEY, Custodian, Signalling, Worker, recording_id

A, B = recording_id(1), recording_id(2)
STEPS = (
    "take_events",
    "find_over",
    "assemble_part",
    "write_object",
    "adopt",
    "write_row",
    "report_sealed",
    "settle_calls",
    "free_spool",
)


class Killed(BaseException):
    """The watcher's process is gone."""


class Place:
    """One installation; `watch` starts the watcher anew on what the disk holds."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.database = Database(f"sqlite:///{data / 'database' / 'callseal.db'}")
        self.database.migrate()
        self.objects = ObjectStore(data / "objects")
        self.custodian = Custodian()
        self.sip = Signalling(data)
        self.worker = Worker(data)
        self.notes = EventWriter(data / "events", "watcher")

    def watch(self) -> Capture:
        return Capture(self.database, self.objects, self.custodian, self.data, self.notes.write, Retention())

    def run(self, capture: Capture | None = None, seconds: float = 10) -> Capture:
        capture = capture or self.watch()
        asyncio.run(capture.step(NOW + timedelta(seconds=seconds)))
        return capture

    def call(self, recording: str) -> CallDetail:
        with self.database.read() as connection:
            return get_call(connection, recording)

    def spooled(self) -> list[str]:
        return sorted(path.name for path in self.worker.folder.glob("*.spool"))

    def rows(self) -> dict[str, list[Any]]:
        """Every row that a kill must not change; the watcher's own events may come twice."""
        with self.database.read() as connection:
            found = {name: connection.execute(select(table)).all() for name, table in schema.metadata.tables.items()}
        found["events"] = [row for row in found["events"] if row.source != "watcher"]
        found["positions"] = [row for row in found["positions"] if "watcher" not in row.name]
        return {name: sorted(map(repr, rows)) for name, rows in found.items()}

    def close(self) -> None:
        self.notes.close()
        self.sip.events.close()
        self.worker.die()
        self.database.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.close()


def full_call(place: Place, recording: str = A) -> None:
    place.sip.start(recording)
    place.worker.start(recording)
    place.worker.speak(recording)
    place.worker.end(recording)
    place.sip.end(recording)


def test_a_call_is_sealed_stored_adopted_and_its_spool_freed(place: Place) -> None:
    full_call(place)
    place.worker.next_segment()
    place.run()
    detail = place.call(A)
    (part,) = detail.parts
    assert (detail.call.state, part.state) == (CallState.SEALED, PartState.SEALED)
    assert (detail.call.peer, detail.call.recording_class, detail.call.transport) == ("office", "default", "TLSv1.3")
    assert (detail.call.group, detail.call.end_reason, detail.call.duration_ms) == ("default/2026-11-24", "bye", 3000)
    assert (detail.call.counts.packets, detail.call.counts.lost) == (300, 2)
    assert detail.call.legs[0].protection == "measured"
    content = place.objects.get(object_path(A, 0))
    assert part.digest == hashlib.sha256(content).hexdigest() == place.custodian.sealed[A, 0]["object_sha256"]
    assert place.objects.get(row_path(A, 0)) == part.row == place.custodian.adopted[A, 0][-1]
    assert place.custodian.metas[A, 0] == [b'{"peer":"office"}']
    assert place.custodian.sealed[A, 0]["state"] == "ended"
    assert place.spooled() == ["one-1.spool"]


def test_what_was_stored_opens_second_by_second_with_the_custodians_key(place: Place) -> None:
    full_call(place)
    place.run()
    reader = inspect(place.objects.get(object_path(A, 0)))
    core, dek = open_header(reader.header, PRIVATE_KEY)
    opener = PartOpener(core, KeyTree.from_seed(dek).nodes)
    opened = [opener.open(reader.message(n), reader.previous_commitment(n)).plaintext for n in range(len(reader.rows))]
    assert opened[2:5] == [b"second 0", b"second 1", b"second 2"]


def test_a_live_call_shows_and_is_not_touched(place: Place) -> None:
    place.sip.start(A)
    place.worker.start(A)
    place.worker.speak(A)
    capture = place.run()
    detail = place.call(A)
    assert (detail.call.state, detail.call.sealed_through_ms, detail.call.parts) == (CallState.LIVE, 3000, 1)
    assert place.custodian.adopted == {}
    place.worker.end(A)
    place.sip.end(A)
    place.run(capture)
    assert place.call(A).call.state is CallState.SEALED


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_kill_around_any_step_changes_nothing_in_the_result(tmp_path: Path, step: str, when: str) -> None:
    results = []
    for name, killed in (("whole", False), ("killed", True)):
        place = Place(tmp_path / name)
        full_call(place)
        full_call(place, B)
        place.worker.next_segment()
        if killed:
            capture = place.watch()
            kill_at(capture, step, when)
            with pytest.raises(Killed):
                place.run(capture)
        place.run()
        place.run()
        assert [call.state for call in calls_of(place)] == [CallState.SEALED] * 2
        assert place.spooled() == ["one-1.spool"]
        assert place.objects.get(row_path(A, 0)) == place.call(A).parts[0].row
        results.append((without_drawn(place), {name: len(rows) for name, rows in place.rows().items()}))
        place.close()
    assert results[0] == results[1]


def kill_at(capture: Capture, step: str, when: str) -> None:
    """Make the process end before or after a step of the flow, as `kill -9` does."""
    real = getattr(capture, step)
    is_async = asyncio.iscoroutinefunction(real)

    async def dies_async(*arguments: Any) -> None:
        if when == "after":
            await real(*arguments)
        raise Killed

    def dies(*arguments: Any) -> None:
        if when == "after":
            real(*arguments)
        raise Killed

    setattr(capture, step, dies_async if is_async else dies)


def calls_of(place: Place) -> list[Any]:
    with place.database.read() as connection:
        return list_calls(connection)


def without_drawn(place: Place) -> list[CallDetail]:
    """Every call with all that is known of it, but for what is drawn anew at each sealing and adoption."""
    found = []
    for recording in (A, B):
        detail = place.call(recording)
        parts = tuple(replace(part, digest=None, row=None, log_index=None, started_at=NOW) for part in detail.parts)
        events = tuple(event for event in detail.events if event.source != "watcher")
        found.append(replace(detail, call=replace(detail.call, digest=None, leaf=None), parts=parts, events=events))
    return found


def test_a_second_run_over_the_same_disk_changes_no_row(place: Place) -> None:
    full_call(place)
    place.run()
    before = place.rows()
    place.run()
    assert place.rows() == before


def test_a_kill_between_the_custodians_answer_and_our_row_keeps_the_later_leaf(place: Place) -> None:
    full_call(place)
    capture = place.watch()

    def dies(*_arguments: Any) -> None:
        raise Killed

    capture._keep_adoption = dies  # type: ignore[method-assign]
    with pytest.raises(Killed):
        place.run(capture)
    place.run()
    assert len(place.custodian.adopted[A, 0]) == 2
    assert place.call(A).parts[0].row == place.objects.get(row_path(A, 0)) == place.custodian.adopted[A, 0][1]


def test_a_dead_workers_part_is_interrupted_and_kept_to_its_last_whole_frame(place: Place) -> None:
    place.sip.start(A)
    place.worker.start(A)
    place.worker.speak(A, seconds=2)
    place.worker.tear()
    capture = place.run()
    assert place.custodian.adopted == {}
    place.worker.die()
    place.run(capture)
    part = place.call(A).parts[0]
    assert (part.state, part.interrupted, part.messages) == (PartState.SEALED, True, 4)
    assert place.call(A).call.state is CallState.LIVE
    second = Worker(place.data, instance="two")
    second.start(A, 1)
    second.speak(A, 1, from_ms=5000)
    second.end(A, 1, duration_ms=8000)
    place.sip.end(A)
    place.run(capture)
    call = place.call(A).call
    assert (call.state, call.parts, call.duration_ms) == (CallState.INTERRUPTED, 2, 8000)
    assert place.spooled() == ["two-0.spool"]
    second.die()


def test_a_call_that_nobody_ends_is_settled_once_it_is_quiet(place: Place) -> None:
    place.sip.start(A)
    place.worker.start(A)
    place.worker.speak(A)
    place.worker.die()
    capture = place.run(seconds=30)
    assert place.call(A).call.state is CallState.LIVE
    place.run(capture, seconds=100)
    assert place.call(A).call.state is CallState.INTERRUPTED


@pytest.mark.parametrize("away", ["custodian", "database", "objects"])
def test_while_a_neighbour_is_away_everything_waits_and_nothing_is_lost(place: Place, away: str) -> None:
    capture = place.run()
    full_call(place)
    place.worker.next_segment()
    database = place.database.engine.url.database
    hidden = {"database": Path(str(database)).parent, "objects": place.data / "objects"}.get(away)
    if hidden is not None:
        place.database.close()
        hidden.rename(hidden.with_name("hidden"))
        hidden.write_bytes(b"away")
    place.custodian.away = away == "custodian"
    for _ in range(2):
        with pytest.raises(Unavailable):
            place.run(capture)
    assert place.spooled() == ["one-0.spool", "one-1.spool"]
    if hidden is not None:
        hidden.unlink()
        hidden.with_name("hidden").rename(hidden)
    place.custodian.away = False
    place.run(capture)
    assert place.call(A).call.state is CallState.SEALED
    assert place.call(A).call.counts.packets == 300
    assert place.spooled() == ["one-1.spool"]


def test_a_part_that_the_custodian_refuses_holds_up_no_other_and_stays_in_the_spool(place: Place) -> None:
    place.custodian.refuse = {A}
    full_call(place)
    full_call(place, B)
    place.worker.next_segment()
    capture = place.run()
    assert place.call(B).call.state is CallState.SEALED
    assert place.call(A).call.state is CallState.ENDED
    assert place.spooled() == ["one-0.spool", "one-1.spool"]
    place.custodian.refuse = set()
    place.run(capture, seconds=20)
    assert place.call(A).call.state is CallState.ENDED
    place.run(capture, seconds=80)
    assert place.call(A).call.state is CallState.SEALED


def test_damage_in_the_middle_of_a_spool_costs_only_what_it_hit(place: Place) -> None:
    full_call(place)
    cut = place.worker.path.stat().st_size
    full_call(place, B)
    content = bytearray(place.worker.path.read_bytes())
    content[cut + 40] ^= 1  # in the header frame of B
    place.worker.path.write_bytes(content)
    capture = place.run()
    assert place.call(A).call.state is CallState.SEALED
    assert place.call(B).call.state is CallState.ENDED
    assert capture.spool.damaged_bytes > 0
    assert capture.waiting == 1


def test_media_heard_of_before_its_signalling_waits_for_it(place: Place) -> None:
    place.worker.start(A)
    place.worker.speak(A)
    place.worker.end(A)
    capture = place.run(seconds=1)
    assert place.custodian.adopted == {}
    place.sip.start(A)
    place.run(capture, seconds=2)
    assert place.call(A).call.peer == "office"
    assert place.call(A).call.state is CallState.SEALED


def test_a_lost_event_is_named(place: Place) -> None:
    full_call(place)
    path = next((place.data / "events" / "sip").glob("*.jsonl"))
    path.write_bytes(path.read_bytes().split(b"\n", 1)[1])
    capture = place.run()
    place.run(capture)
    with place.database.read() as connection:
        kinds = list(connection.scalars(select(schema.events.c.type)))
    assert "EventsMissing" in kinds


def test_no_number_of_an_event_reaches_a_row(place: Place) -> None:
    marks = ("+442079460123", "020 7946 0123", "4111111111111111")
    leg = {
        "number": 0,
        "label": marks[0],
        "party": marks[1],
        "codec": "PCMA",
        "suite": marks[2],
        "protection": "",
        "detail": marks[0],
    }
    data = {"peer": marks[0], "class": marks[1], "transport": marks[2], "legs": [leg], "caller": marks[0], "address": marks[1]}
    place.sip.events.write("CallStarted", A, data, NOW)
    place.sip.events.write("CallEnded", A, {"reason": marks[0]}, NOW)
    place.sip.events.write("PeerRefused", None, {"address": marks[0], "why": marks[1]}, NOW)
    place.run()
    stored = "".join(line for lines in place.rows().values() for line in lines)
    assert A in stored
    for mark in marks:
        assert mark not in stored
        assert mark[-7:] not in stored


def test_search_tokens_find_the_call(place: Place) -> None:
    full_call(place)
    full_call(place, B)
    place.run()
    with place.database.read() as connection:
        found = list_calls(connection, tokens=[hashlib.sha256(A.encode()).hexdigest()])
    assert [call.recording for call in found] == [A]


def test_pages_of_calls_follow_each_other_without_loss(place: Place) -> None:
    for number in range(7):
        place.sip.start(recording_id(number), NOW + timedelta(seconds=number // 2))
    place.run()
    seen, before = [], None
    while True:
        with place.database.read() as connection:
            page = list_calls(connection, limit=3, before=before)
        if not page:
            break
        seen += page
        before = (page[-1].started_at, page[-1].recording)
    assert len({call.recording for call in seen}) == len(seen) == 7
    assert [call.started_at for call in seen] == sorted((call.started_at for call in seen), reverse=True)
    assert replace(seen[0], held=True).held
