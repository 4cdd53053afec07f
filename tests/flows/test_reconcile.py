"""Records beside recordings: found by an identifier or by number and time, waited for, told of once, closed when found later."""

import asyncio
import hashlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from callseal.errors import Unavailable
from callseal.flows.post import Post
from callseal.flows.reconcile import GAPS_AT_ONCE, GRACE, WAITING_AT_ONCE, Reconciliation, take_records
from callseal.model.call_id import normalise_call_ids, tail_of
from callseal.model.record import CallRecord, RecordedDay, RecordState
from callseal.store import schema
from callseal.store.database import Database
from callseal.store.records import list_days, list_unsealed, skew_of
from tests.spooled import NOW

DAY = NOW.date()


def token(kind: str, value: str) -> str:
    return hashlib.sha256(f"{kind}:{value}".encode()).hexdigest()


class Index:
    """Answers `records.index` as the custodian does, under one key."""

    away = False

    async def ask(self, message_type: str, **fields: Any) -> dict[str, Any]:
        assert message_type == "records.index"
        if self.away:
            raise Unavailable("custodian: away")
        return {"calls": [self.index(**call) for call in fields["calls"]]}

    @staticmethod
    def index(call_ids: list[str], numbers: list[str], started_at: str) -> dict[str, Any] | None:
        if started_at < "2026":
            return None
        ids = normalise_call_ids(call_ids)
        named = "|".join(sorted(ids)) or f"{started_at} {sorted(map(tail_of, numbers))}"
        return {"key": token("record", named), "ids": [token("call", one) for one in ids], "numbers": [token("tail", tail_of(one)) for one in numbers]}


@dataclass
class Place:
    """A database, and what the watcher does with it."""

    data: Path
    told: list[tuple[str, str | None, dict[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.database = Database(f"sqlite:///{self.data / 'callseal.db'}")
        self.database.migrate()
        self.index = Index()
        self.reconciliation = Reconciliation(self.database, lambda kind, recording, data, now: self.told.append((kind, recording, data)), timedelta(days=91))

    def call(self, *call_ids: str, at: datetime = NOW, state: str = "sealed", peer: str = "office", numbers: tuple[str, ...] = (), **columns: Any) -> str:
        """A recording as the watcher keeps it."""
        recording = secrets.token_hex(16)
        row = {
            "recording": recording, "peer": peer, "recording_class": "default", "state": state, "started_at": at, "sealed_through_ms": 1,
            "parts": 1, "legs": [], "transport": "", "counts": {"packets": 100}, "held": False, "purpose": "", "lawful_basis": "",
        } | columns  # fmt: skip
        found = [token("call", one) for one in normalise_call_ids(call_ids)] + [token("tail", tail_of(one)) for one in numbers]
        with self.database.write() as connection:
            connection.execute(schema.calls.insert().values(**row))
            for one in found:
                connection.execute(schema.tokens.insert().values(group_name="g", token=one, recording=recording))
        return recording

    def take(self, *calls: CallRecord, at: datetime = NOW, peer: str = "office") -> dict[str, int]:
        return asyncio.run(take_records(self.database, self.index, peer, calls, "csv", at))

    def step(self, seconds: float = 60) -> int:
        return self.reconciliation.step(NOW + timedelta(seconds=seconds))

    def states(self) -> list[tuple[str, str, str | None]]:
        table = schema.records
        with self.database.read() as connection:
            rows = connection.execute(select(table.c.state, table.c.why, table.c.recording).order_by(table.c.started_at, table.c.record))
            return [tuple(row) for row in rows]  # type: ignore[misc]

    def day(self) -> RecordedDay:
        with self.database.read() as connection:
            (day,) = list_days(connection, DAY, DAY)
        return day


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.database.close()


def record(*call_ids: str, after: float = 0, **more: Any) -> CallRecord:
    return CallRecord(NOW + timedelta(seconds=after), call_ids, **more)


def test_a_record_is_found_by_any_identifier_whatever_its_spelling(place: Place) -> None:
    spelled = [
        ("0817253440-0287454020-1432778632-2578103244", "30B64C40 11223344 55667788 99AABBCC"),
        ("ABCDEF12@pbx.example", "abcdef12"),
        ("0001002541795788", "00001000371098471304"),
    ]
    recorded = [place.call("nobody@pbx", one, at=NOW + timedelta(seconds=at)) for at, (one, _other) in enumerate(spelled)]
    place.take(*(record("unknown@pbx", other, after=at) for at, (_one, other) in enumerate(spelled)))
    place.step()
    assert place.states() == [(RecordState.SEALED, "", recording) for recording in recorded]


def test_the_account_of_a_day_counts_every_call_once(place: Place) -> None:
    for number in range(40):
        place.call(f"call-{number}@pbx", at=NOW + timedelta(seconds=number))
    place.call("unlisted@pbx", at=NOW + timedelta(seconds=90))
    calls = [record(f"call-{number}@pbx", after=number + 3.2) for number in range(40)]
    assert place.take(*calls) == {"new": 40, "known": 0, "too_old": 0}
    assert place.take(*calls) == {"new": 0, "known": 40, "too_old": 0}
    place.step()
    day = place.day()
    assert (day.records, day.sealed, day.gaps, day.unlisted, day.skew_ms) == (40, 40, 0, 1, 3200)
    assert day.words == "40 calls by their records, 40 sealed, 0 gaps, 1 sealed that their records do not tell of"
    assert place.told == []


def test_a_call_that_was_never_sealed_is_told_of_once_within_seconds(place: Place) -> None:
    place.take(record("lost-call@pbx"))
    assert place.step(GRACE.total_seconds() - 1) == 0
    assert place.step(GRACE.total_seconds()) == 1
    assert place.step(60) == 0
    ((kind, recording, data),) = place.told
    assert (kind, recording, data["peer"], data["why"]) == ("CallNotSealed", None, "office", "recorder-away")
    assert place.day().gaps == 1


def test_a_gap_is_closed_when_its_recording_comes_after_all(place: Place) -> None:
    place.take(record("late-call@pbx"))
    place.step()
    place.call("late-call@pbx")
    place.step(120)
    assert [state for state, _why, _recording in place.states()] == [RecordState.SEALED]
    assert len(place.told) == 1


@pytest.mark.parametrize("state", ["live", "ended"])
def test_what_goes_on_or_is_being_sealed_is_waited_for(place: Place, state: str) -> None:
    recording = place.call(state=state, at=NOW + timedelta(seconds=3))
    place.take(record("not-known-yet@pbx"))
    assert place.step(3600) == 0
    with place.database.write() as connection:
        connection.execute(update(schema.calls).values(state="sealed"))
        for one in normalise_call_ids(["not-known-yet@pbx"]):
            connection.execute(schema.tokens.insert().values(group_name="g", token=token("call", one), recording=recording))
    place.step(3700)
    assert place.states() == [(RecordState.SEALED, "", recording)]


def test_a_call_whose_recording_has_no_voice_is_a_gap_that_names_it(place: Place) -> None:
    recording = place.call("silent-call@pbx", counts={})
    place.take(record("silent-call@pbx"))
    place.step()
    assert place.states() == [(RecordState.UNSEALED, "no-voice", recording)]
    assert place.told[0][1] == recording


def test_another_peers_recording_is_not_this_ones(place: Place) -> None:
    place.call("same-name@pbx", peer="branch")
    place.take(record("same-name@pbx"))
    place.step()
    assert place.states()[0][0] == RecordState.UNSEALED


def test_numbers_and_time_find_a_call_only_where_there_is_one_such(place: Place) -> None:
    numbers = ("+441632960001", "205")
    one = place.call(numbers=numbers)
    place.take(record(numbers=("01632960001",), after=9))
    place.step()
    assert place.states() == [(RecordState.SEALED, "", one)]
    place.call(numbers=numbers, at=NOW + timedelta(seconds=100))
    place.call(numbers=numbers, at=NOW + timedelta(seconds=104))
    place.take(record(numbers=("01632960001",), after=102))
    place.step(200)
    assert place.states()[1][0] == RecordState.UNSEALED, "two calls fit: neither is claimed"


def test_a_clock_that_is_wrong_is_measured_and_reckoned_with(place: Place) -> None:
    for number in range(5):
        place.call(f"skewed-{number}@pbx", at=NOW + timedelta(seconds=number))
    place.take(*(record(f"skewed-{number}@pbx", after=number + 3600) for number in range(5)))
    place.step()
    with place.database.read() as connection:
        assert skew_of(connection, "office", NOW + timedelta(hours=1)) == 3_600_000
    one = place.call(numbers=("+441632960009",), at=NOW + timedelta(seconds=50))
    place.take(record(numbers=("+441632960009",), after=3652))
    place.step(70)
    assert place.states()[-1] == (RecordState.SEALED, "", one)


def test_a_class_that_is_not_to_be_recorded_is_no_gap(place: Place) -> None:
    place.take(record("inside@pbx", exempt="internal"))
    assert place.step() == 0
    assert place.day().exempt == 1


def test_why_a_call_is_missing_is_said_as_far_as_events_tell(place: Place) -> None:
    def event(kind: str, n: int, seconds: float, **data: Any) -> None:
        row = {"source": "sip", "n": n, "at": NOW + timedelta(seconds=seconds), "type": kind, "recording": None, "data": data}
        with place.database.write() as connection:
            connection.execute(schema.events.insert().values(**row))

    event("WorkerStarted", 1, -1000)
    event("OfferRefused", 2, 101, peer="office", status=488)
    event("OfferRefused", 3, 201, peer="branch", status=488)
    event("DrainBegan", 4, 300)
    event("DrainEnded", 5, 400)
    event("WorkerStopped", 6, 500)
    place.take(*(record(f"missing-{seconds}@pbx", after=seconds) for seconds in (100, 200, 350, 450, 600)))
    place.step(700)
    assert [why for _state, why, _recording in place.states()] == ["refused", "unknown", "draining", "unknown", "recorder-away"]


def test_while_the_custodian_is_away_nothing_is_taken_and_nothing_half(place: Place) -> None:
    place.index.away = True
    with pytest.raises(Unavailable):
        place.take(record("any-call@pbx"))
    assert place.states() == []


def test_records_of_days_long_gone_are_not_kept_and_old_ones_are_forgotten(place: Place) -> None:
    assert place.take(CallRecord(NOW - timedelta(days=500), ("ancient@pbx",))) == {"new": 0, "known": 0, "too_old": 1}
    place.take(record("kept@pbx"))
    place.reconciliation.forget_old(NOW + timedelta(days=90))
    assert len(place.states()) == 1
    place.reconciliation.forget_old(NOW + timedelta(days=92))
    assert place.states() == []


def test_more_records_than_one_look_are_all_looked_at(place: Place) -> None:
    many = WAITING_AT_ONCE + GAPS_AT_ONCE + 30
    place.take(*(record(f"gone-{number}@pbx") for number in range(many)))
    told = sum(place.step(60 + seconds) for seconds in range(4))
    assert told == many


def test_no_identifier_and_no_number_stands_in_the_database(place: Place) -> None:
    place.take(record("secret-call-id@pbx", numbers=("+442079460958",)))
    place.step()
    place.database.close()
    content = b"".join(path.read_bytes() for path in place.data.iterdir())
    assert b"secret-call-id" not in content
    assert b"9460958" not in content


def test_each_day_is_mailed_once_and_a_server_that_is_away_loses_nothing(place: Place) -> None:
    sent: list[tuple[str, str, str]] = []
    away = [True]

    async def send(name: str, subject: str, body: str, made_at: datetime) -> None:
        if away[0]:
            raise Unavailable("mail: ConnectionRefusedError")
        sent.append((name, subject, body))

    place.call("good-call@pbx")
    place.take(record("good-call@pbx"), record("lost-call@pbx", after=5))
    place.step()
    post = Post(place.database, send, "Test Surgery", "https://calls.example", time(6))
    assert post.report(NOW) == 1  # yesterday's, of which there are no records
    assert post.report(NOW + timedelta(hours=1)) == 0
    tomorrow = datetime(NOW.year, NOW.month, NOW.day, 6, 0, 1, tzinfo=NOW.tzinfo) + timedelta(days=1)
    assert post.report(tomorrow - timedelta(seconds=2)) == 0
    assert post.report(tomorrow) == 1
    assert Post(place.database, send, "Test Surgery", "", time(6)).report(tomorrow) == 0, "a restart tells no day twice"
    assert asyncio.run(post.deliver(tomorrow)) is False
    away[0] = False
    assert asyncio.run(post.deliver(tomorrow + timedelta(seconds=4))), "the second does not wait for the first's next try"
    assert asyncio.run(post.deliver(tomorrow + timedelta(seconds=6)))
    assert asyncio.run(post.deliver(tomorrow + timedelta(days=1))) is False
    assert sorted(name for name, _subject, _body in sent) == [f"reconciliation.{DAY - timedelta(days=1)}", f"reconciliation.{DAY}"]
    subject, body = next((subject, body) for name, subject, body in sent if name.endswith(str(DAY)))
    assert subject == f"Callseal, {DAY.day} {DAY:%B %Y}: 2 calls by their records, 1 sealed, 1 gaps"
    with place.database.read() as connection:
        (missing,) = list_unsealed(connection, DAY, DAY)
    assert f"https://calls.example/reconciliation/{missing.record}" in body
    assert "lost-call" not in body


def test_the_days_missed_while_stopped_are_mailed_too_up_to_a_week(place: Place) -> None:
    async def send(*_mail: object) -> None: ...

    post = Post(place.database, send, "Test Surgery", "", time(6))
    post.report(NOW)
    assert post.report(NOW + timedelta(days=3)) == 3
    assert post.report(NOW + timedelta(days=40)) == 7
    with place.database.read() as connection:
        assert list(connection.scalars(select(schema.outbox.c.name)))[-1].endswith(str(date.fromordinal(DAY.toordinal() + 39)))
