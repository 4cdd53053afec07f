"""The object store away for hours, the database for ten minutes, the custodian overnight: time is an argument, so nobody waits for it."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from callseal.detection.rules import detect_all
from callseal.detection.view import View
from callseal.errors import Unavailable
from callseal.flows.capture import Capture
from callseal.flows.relay import Relay
from callseal.model.call import CallState
from callseal.store.events import read_events
from tests.flows.test_capture import Place, full_call
from tests.spooled import NOW, recording_id

CALLS = 12


@contextmanager
def away(place: Place, what: str) -> Iterator[None]:
    """Where it was there is nothing, or, of the custodian, no answer."""
    if what == "custodian":
        place.custodian.away = True
        yield
        place.custodian.away = False
        return
    database = place.database.engine.url.database
    hidden = {"database": Path(str(database)).parent, "objects": place.data / "objects"}[what]
    place.database.close()
    hidden.rename(hidden.with_name("hidden"))
    hidden.write_bytes(b"away")
    yield
    hidden.unlink()
    hidden.with_name("hidden").rename(hidden)


def step(place: Place, capture: Capture, relay: Relay, minutes: float) -> bool:
    """One round of the watcher; whether everything could be done."""
    done = True
    for work in (capture.step(NOW + timedelta(minutes=minutes)), relay.step()):
        try:
            asyncio.run(work)  # type: ignore[arg-type]
        except Unavailable:
            done = False
    return done


@pytest.mark.parametrize(("what", "minutes"), [("objects", 6 * 60), ("database", 10), ("custodian", 14 * 60)])
def test_whatever_is_away_however_long_everything_waits_and_is_taken_in_order(tmp_path: Path, what: str, minutes: int) -> None:
    place = Place(tmp_path)
    capture, relay = place.watch(), Relay(place.database, place.custodian, place.data)
    assert step(place, capture, relay, 0)
    recordings = [recording_id(number) for number in range(CALLS)]
    with away(place, what):
        for number, recording in enumerate(recordings):
            full_call(place, recording)
            os.utime(place.worker.path, (NOW.timestamp(), NOW.timestamp()))
            place.worker.next_segment()
            for minute in range(number * minutes // CALLS, (number + 1) * minutes // CALLS, max(1, minutes // 60)):
                assert not step(place, capture, relay, minute)
        assert len(place.spooled()) == CALLS + 1, "nothing is freed that is not brought in"
        now = NOW + timedelta(minutes=minutes)
        age = capture.waiting_age(now) if what != "database" else timedelta(minutes=minutes)
        assert age == timedelta(minutes=minutes)
        assert "spool_age" in {finding.kind for finding in detect_all(View(now=now, spool_age=age))}
    assert step(place, capture, relay, minutes + 1)
    assert {place.call(recording).call.state for recording in recordings} == {CallState.SEALED}
    assert {place.call(recording).call.counts.packets for recording in recordings} == {300}
    taken = [event["recording"] for event in read_events(tmp_path / "events", "watcher", 0, 10_000) if event["type"] == "PartAdopted"]
    assert list(dict.fromkeys(taken)) == recordings
    logged = [event["n"] for event in place.custodian.events if event["source"] == "media-0"]
    assert logged == list(range(1, place.worker.events.last + 1)), "every event in the log, in order, once"
    assert place.spooled() == [f"one-{CALLS}.spool"]
    place.close()
