"""Events of odd calls become each peer's list, counted, without anything personal; calls of one conversation are kept together."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from callseal.config.settings import Retention
from callseal.flows.capture_rows import take_event
from callseal.model.clock import format_time
from callseal.store.calls import get_call
from callseal.store.database import Database
from callseal.store.oddities import list_oddities

NOW = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)
A, B = "a" * 32, "b" * 32


@pytest.fixture
def database(tmp_path: Path) -> Database:
    database = Database(f"sqlite:///{tmp_path / 'database' / 'callseal.db'}")
    database.migrate()
    return database


def tell(database: Database, number: int, kind: str, recording: str, **data: object) -> None:
    event = {"v": 1, "source": "sip", "n": number, "at": format_time(NOW + timedelta(seconds=number)), "type": kind}
    with database.write() as connection:
        take_event(connection, event | {"recording": recording, "data": data}, Retention())


def test_oddities_are_counted_for_each_peer_with_first_and_last_time(database: Database):
    tell(database, 1, "OddityNoticed", A, peer="sbc", odd=["metadata-first", "label-missing"], weight="less")
    tell(database, 2, "OddityNoticed", B, peer="sbc", odd=["metadata-first", "+441632960001", 7], weight="note")
    tell(database, 3, "OddityNoticed", B, peer="other", odd=["metadata-first"], weight="note")
    with database.read() as connection:
        found = list_oddities(connection, "sbc")
        assert [(odd.name, odd.times, odd.last_recording) for odd in found] == [("metadata-first", 2, B), ("label-missing", 1, A)]
        assert (found[0].first_at, found[0].last_at) == (NOW + timedelta(seconds=1), NOW + timedelta(seconds=2))
        assert len(list_oddities(connection)) == 3


def test_a_calls_conversation_and_twin_are_ids_of_recordings_and_nothing_else(database: Database):
    tell(database, 1, "CallStarted", A, peer="sbc", conversation="+44 1632 960001", same_call_as="short")
    tell(database, 2, "CallStarted", B, peer="sbc", conversation=A)
    tell(database, 3, "CallUpdated", B, what="related", same_call_as=A)
    with database.read() as connection:
        first, second = get_call(connection, A).call, get_call(connection, B).call
    assert (first.conversation, first.same_call_as) == (None, None)
    assert (second.conversation, second.same_call_as) == (A, A)
