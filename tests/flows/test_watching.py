"""Alerts once for each fault, events to the log without a hole, disposal in the right order, figures."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from callseal.config.settings import Retention
from callseal.errors import NotFound, Unavailable
from callseal.flows.alert import Watch
from callseal.flows.capture import Capture
from callseal.flows.dispose import Disposal
from callseal.flows.metrics import read_figures, write_gauges
from callseal.flows.relay import Relay
from callseal.model.call import Alert, CallState, PartState, Severity
from callseal.store import schema
from callseal.store.calls import get_call, list_alerts, list_calls, list_certificates
from callseal.store.database import Database
from callseal.store.events import EventWriter
from callseal.store.ledger import acknowledge_alert, mark_held
from callseal.store.objects import ObjectStore, object_path, row_path
from tests.spooled import NOW, Custodian, Signalling, Worker, recording_id

A, B = recording_id(1), recording_id(2)
GROUP = "default/2026-11-24"


@dataclass
class Place:
    """One installation with two sealed calls' worth of producers."""

    data: Path
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.database = Database(f"sqlite:///{self.data / 'database' / 'callseal.db'}")
        self.database.migrate()
        self.objects = ObjectStore(self.data / "objects")
        self.custodian = Custodian()
        self.sip = Signalling(self.data)
        self.worker = Worker(self.data)
        self.notes = EventWriter(self.data / "events", "watcher")
        self.capture = Capture(self.database, self.objects, self.custodian, self.data, self.notes.write, Retention())
        self.watch = Watch(self.database, self.data, self.announce)

    def announce(self, kind: str, severity: Severity, text: str, recording: str | None) -> None:
        self.told.append(kind)

    def seal_call(self, recording: str) -> None:
        self.sip.start(recording)
        self.worker.start(recording)
        self.worker.speak(recording)
        self.worker.end(recording)
        self.sip.end(recording)
        self.run()

    def run(self, seconds: float = 10) -> None:
        asyncio.run(self.capture.step(NOW + timedelta(seconds=seconds)))

    def look(self, seconds: float = 10, **state: timedelta | datetime | None) -> list[str]:
        found = self.watch.step(NOW + timedelta(seconds=seconds), state.get("age"), state.get("away"))  # type: ignore[arg-type]
        return [finding.kind for finding in found]

    def alerts(self) -> list[Alert]:
        with self.database.read() as connection:
            return list_alerts(connection)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.notes.close()
    place.sip.events.close()
    place.worker.die()
    place.database.close()


def refuse_offer(place: Place, at: datetime = NOW) -> None:
    place.sip.events.write("OfferRefused", None, {"peer": "office", "status": 488, "why": "no SRTP"}, at)
    place.run()


def test_a_fault_is_told_once_and_newer_evidence_moves_its_alert(place: Place) -> None:
    refuse_offer(place)
    assert place.look() == ["plaintext_offer"]
    assert place.look(20) == []
    refuse_offer(place, NOW + timedelta(seconds=15))
    assert place.look(30) == []
    assert place.told == ["plaintext_offer"]
    (alert,) = place.alerts()
    assert (alert.times, alert.last_at, alert.severity) == (2, NOW + timedelta(seconds=15), "critical")


def test_after_acknowledgement_only_newer_evidence_opens_another_alert(place: Place) -> None:
    refuse_offer(place)
    place.look()
    with place.database.write() as connection:
        acknowledge_alert(connection, 1, "0011223344556677", NOW + timedelta(seconds=20))
    assert place.alerts() == []
    assert place.look(25) == []
    refuse_offer(place, NOW + timedelta(seconds=30))
    assert place.look(40) == ["plaintext_offer"]
    with pytest.raises(NotFound), place.database.write() as connection:
        acknowledge_alert(connection, 99, "0011223344556677", NOW)


def test_a_restarted_watcher_repeats_no_alert(place: Place) -> None:
    refuse_offer(place)
    place.look()
    place.watch = Watch(place.database, place.data, place.announce)
    assert place.look(11) == []
    assert place.told == ["plaintext_offer"]


def test_how_things_stand_raises_alerts_too(place: Place) -> None:
    assert place.look(10, age=timedelta(seconds=200), away=NOW) == ["custodian_away", "spool_age"]


def test_a_quiet_installation_raises_nothing(place: Place) -> None:
    place.seal_call(A)
    assert place.look() == []


def test_a_call_without_voice_is_found_by_what_the_rows_say(place: Place) -> None:
    place.sip.start(A)
    place.run(6)
    assert place.look(6) == ["no_packets"]
    assert place.alerts()[0].recording == A


def test_a_call_that_is_over_and_not_yet_settled_misses_no_voice(place: Place) -> None:
    place.sip.start(A)
    place.sip.end(A)
    place.capture.take_events(NOW)
    place.worker.start(A)
    place.capture.take_events(NOW)
    with place.database.read() as connection:
        assert get_call(connection, A).call.state is CallState.LIVE, "a part that begins takes a call up again"
    assert place.look(6) == []


def test_every_event_reaches_the_log_once_and_in_order(place: Place) -> None:
    place.seal_call(A)
    relay = Relay(place.database, place.custodian, place.data)
    assert asyncio.run(relay.step()) > 5
    assert asyncio.run(relay.step()) == 0
    asyncio.run(Relay(place.database, place.custodian, place.data).step())
    for source in ("sip", "media-0", "watcher"):
        numbers = [event["n"] for event in place.custodian.events if event["source"] == source]
        assert numbers == list(range(1, len(numbers) + 1))
        assert numbers
    assert all("legs" not in event["data"] for event in place.custodian.events)


def test_events_wait_for_the_custodian_and_follow_in_order(place: Place) -> None:
    place.custodian.away = True
    place.sip.start(A)
    relay = Relay(place.database, place.custodian, place.data)
    with pytest.raises(Unavailable):
        asyncio.run(relay.step())
    place.sip.end(A)
    place.custodian.away = False
    asyncio.run(relay.step())
    assert [event["type"] for event in place.custodian.events] == ["CallStarted", "CallEnded"]


def test_a_number_that_is_missing_stands_in_the_log_as_missing(place: Place) -> None:
    for number in range(4):
        place.sip.start(recording_id(number))
    path = next((place.data / "events" / "sip").glob("*.jsonl"))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[3])
    asyncio.run(Relay(place.database, place.custodian, place.data).step())
    assert [event["type"] for event in place.custodian.events] == ["CallStarted", "EventsMissing", "EventsMissing", "CallStarted"]
    assert place.custodian.through["sip"] == 4


def test_what_was_destroyed_loses_object_row_and_tokens_and_what_is_held_keeps_them(place: Place) -> None:
    place.seal_call(A)
    place.seal_call(B)
    with place.database.write() as connection:
        mark_held(connection, [B], held=True)
    place.custodian.held = {B}
    place.custodian.due = [GROUP]
    disposal = Disposal(place.database, place.objects, place.custodian)
    assert asyncio.run(disposal.step(NOW)) == 1
    with place.database.read() as connection:
        gone, kept = get_call(connection, A), get_call(connection, B)
        (certificate,) = list_certificates(connection)
        tokens = list(connection.scalars(select(schema.tokens.c.recording)))
    assert (gone.call.state, gone.parts[0].state, gone.parts[0].row) == (CallState.DESTROYED, PartState.DESTROYED, None)
    assert (kept.call.state, kept.parts[0].state) == (CallState.SEALED, PartState.SEALED)
    assert (certificate.subject, certificate.state) == (f"group:{GROUP}", "pending")
    assert tokens == [B]
    for path in (object_path(A, 0), row_path(A, 0)):
        with pytest.raises(NotFound):
            place.objects.get(path)
    assert place.objects.get(object_path(B, 0))
    asyncio.run(disposal.step(NOW + timedelta(days=8)))
    with place.database.read() as connection:
        assert list_certificates(connection)[0].state == "final"


def test_nothing_is_deleted_that_the_custodian_did_not_destroy(place: Place) -> None:
    place.seal_call(A)

    class Refuses(Custodian):
        def _dispose_run(self, fields: dict[str, object]) -> dict[str, object]:
            return {"certificates": []}

    refuses = Refuses()
    refuses.due = [GROUP]
    asyncio.run(Disposal(place.database, place.objects, refuses).step(NOW))
    assert place.objects.get(object_path(A, 0))
    with place.database.read() as connection:
        assert get_call(connection, A).call.state is CallState.SEALED


def test_a_kill_after_the_destruction_still_deletes_the_objects(place: Place) -> None:
    place.seal_call(A)
    place.custodian.due = [GROUP]

    class Killed(BaseException):
        pass

    class DiesAfter(Custodian):
        def _dispose_run(self, fields: dict[str, object]) -> dict[str, object]:
            super()._dispose_run(fields)
            raise Killed

    place.seal_call(B)
    custodian = DiesAfter()
    custodian.due = [GROUP]
    custodian.held = {B}  # and our row does not know of it yet
    with pytest.raises(Killed):
        asyncio.run(Disposal(place.database, place.objects, custodian).step(NOW))
    assert asyncio.run(Disposal(place.database, place.objects, custodian).step(NOW)) == 1
    with place.database.read() as connection:
        assert get_call(connection, A).call.state is CallState.DESTROYED
        assert get_call(connection, B).call.held
    assert place.objects.get(object_path(B, 0))


def test_a_destroyed_call_is_not_brought_back_by_a_late_event(place: Place) -> None:
    place.seal_call(A)
    place.custodian.due = [GROUP]
    asyncio.run(Disposal(place.database, place.objects, place.custodian).step(NOW))
    place.worker.events.write("Gap", A, {"part": 0, "from_ms": 0, "to_ms": 5, "why": "no packets"}, NOW)
    place.run()
    with place.database.read() as connection:
        assert get_call(connection, A).call.state is CallState.DESTROYED


def test_recordings_past_their_day_are_counted_and_raise_an_alert(place: Place) -> None:
    place.seal_call(A)
    with place.database.write() as connection:
        connection.execute(update(schema.calls).values(delete_by=NOW - timedelta(hours=2)))
    assert place.look() == ["overdue"]
    with place.database.read() as connection:
        assert read_figures(connection, NOW)["destructions_overdue"] == 1


def test_figures_hold_counts_and_ages(place: Place) -> None:
    place.seal_call(A)
    with place.database.write() as connection:
        write_gauges(connection, {"spool_age_seconds": 4}, NOW)
        write_gauges(connection, {"spool_age_seconds": 5}, NOW)
    with place.database.read() as connection:
        figures = read_figures(connection, NOW + timedelta(seconds=9))
        sealed = list_calls(connection, state=CallState.SEALED, day=NOW.date())
    assert (figures["calls_sealed"], figures["spool_age_seconds"], figures["watcher_quiet_seconds"]) == (1, 5, 9)
    assert (figures["calls_live"], figures["calls_held"], figures["offers_refused_today"], figures["alerts_open"]) == (0, 0, 0, 0)
    assert [call.recording for call in sealed] == [A]
    with pytest.raises(KeyError), place.database.write() as connection:
        write_gauges(connection, {"no_such_figure": 1}, NOW)
