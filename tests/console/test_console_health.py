"""What the health page and `/metrics` say is what the watcher wrote and the database holds; nobody else reads the spool."""

import asyncio
import secrets
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from callseal.errors import Unavailable
from callseal.flows.metrics import COUNTED, GAUGES, write_gauges
from callseal.store.accounts import account_path
from callseal.store.database import Database
from tests.console.accounts import give_account
from tests.console.running import RunningConsole


def measured(console: RunningConsole) -> dict[str, float]:
    with console.client() as client:
        text = client.get("/metrics").text
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if not line.startswith("#")}


def figures(console: RunningConsole) -> dict[str, tuple[str, str]]:
    with console.sign_in(console.custodian.enrol("administrator", "Ravi")) as client:
        return {item["name"]: (item["value"], item["tone"]) for item in client.get("/api/health").json()["figures"]}


def test_metrics_and_page_show_the_watchers_figures_and_the_counts(console: RunningConsole) -> None:
    console.add_call(state="sealed", held=True)
    console.add_call(state="live")
    console.add_call(state="sealed", delete_by=datetime.now(UTC) - timedelta(hours=2))
    with console.parts.database.write() as connection:
        write_gauges(connection, {"spool_age_seconds": 4000, "events_behind": 7}, datetime.now(UTC))
    found = measured(console)
    assert found['callseal_calls{state="sealed"}'] == 2 and found['callseal_calls{state="live"}'] == 1
    assert (found["callseal_calls_held"], found["callseal_destructions_overdue"]) == (1, 1)
    assert (found["callseal_spool_age_seconds"], found["callseal_events_behind"]) == (4000, 7)
    assert set(COUNTED) <= {name.removeprefix("callseal_") for name in found}
    shown = figures(console)
    assert shown["Oldest part waiting in the spool"] == ("4000 s", "bad") and shown["Events not yet in the log"] == ("7", "plain")
    assert shown["Held"][0] == "1" and shown["Past their day and not deleted"] == ("1", "bad") and "Watcher" not in shown


@pytest.mark.parametrize("ago", [None, 600])
def test_a_watcher_that_is_not_heard_of_is_never_shown_as_well(console: RunningConsole, ago: int | None) -> None:
    if ago is not None:
        with console.parts.database.write() as connection:
            write_gauges(connection, dict.fromkeys(GAUGES, 0), datetime.now(UTC) - timedelta(seconds=ago))
    value, tone = figures(console)["Watcher"]
    assert "not heard of" in value and tone == "bad"
    assert ("callseal_watcher_quiet_seconds" in measured(console)) is (ago is not None)


def test_each_worker_and_live_recording_is_exported_with_how_far_it_is_sealed(console: RunningConsole) -> None:
    slow, quick = secrets.token_hex(16), secrets.token_hex(16)
    give_account(console.config.run, "media-0", [(quick, 0, 60_000, 1200), (slow, 2, 50_000, 11_000)], lost=7, failed=3)
    give_account(console.config.run, "media-1", [], age_seconds=9)
    found = measured(console)
    for name, value in (
        ("cpu_seconds_total", 12.5), ("memory_bytes", 90 << 20), ("streams", 4), ("packets_total", 1000), ("lost_total", 7),
        ("failed_total", 3), ("wake_late_seconds_p99", 0.004), ("spool_waiting_bytes", 4096), ("spool_limit_bytes", 64 << 20),
        ("recordings", 2),
    ):  # fmt: skip
        assert found[f'callseal_media_{name}{{worker="media-0"}}'] == pytest.approx(value), name
    assert found['callseal_media_account_age_seconds{worker="media-1"}'] >= 9
    assert found[f'callseal_recording_sealed_through_seconds{{recording="{slow}"}}'] == 50
    age = found['callseal_media_account_age_seconds{worker="media-0"}']
    assert found[f'callseal_recording_seal_lag_seconds{{recording="{slow}"}}'] == pytest.approx(11 + age, abs=0.1)
    assert found['callseal_media_seal_lag_seconds_max{worker="media-0"}'] == pytest.approx(11 + age, abs=0.1)
    assert found["callseal_recordings_left_out"] == 0


def test_at_most_five_thousand_recordings_are_named_and_they_are_those_furthest_behind(console: RunningConsole) -> None:
    rows = [(f"{number:032x}", 0, 1000, number) for number in range(5003)]
    give_account(console.config.run, "media-0", rows)
    found = measured(console)
    named = [name for name in found if name.startswith("callseal_recording_seal_lag_seconds")]
    assert (len(named), found["callseal_recordings_left_out"]) == (5000, 3)
    assert not [row for row in rows[:3] if f'callseal_recording_seal_lag_seconds{{recording="{row[0]}"}}' in found]


def test_an_account_that_cannot_be_read_is_named_and_the_rest_is_shown(console: RunningConsole) -> None:
    give_account(console.config.run, "media-1", [])
    account_path(console.config.run, "media-0").write_text("{")
    found = measured(console)
    assert found['callseal_media_account_unreadable{worker="media-0"}'] == 1
    assert found['callseal_media_streams{worker="media-1"}'] == 4


def database_refused(console: RunningConsole) -> None:
    """Where the database was, there is none that opens."""
    (console.config.data / "no database").mkdir()
    console.app.state.parts = replace(console.parts, database=Database(f"sqlite:///{console.config.data / 'no database'}"))


def database_stands_still(console: RunningConsole) -> None:
    """It takes a question and never answers."""

    class Still:
        def read(self) -> AbstractContextManager[Any]:
            threading.Event().wait(20)
            raise Unavailable("database: expected an answer")

    console.app.state.parts = replace(console.parts, database=Still())  # type: ignore[arg-type]


def custodian_stands_still(console: RunningConsole) -> None:
    class Still:
        async def ask(self, message_type: str, **fields: Any) -> Any:
            await asyncio.sleep(20)

    console.app.state.parts = replace(console.parts, keyring=Still())  # type: ignore[arg-type]


@pytest.mark.parametrize("away", [database_refused, database_stands_still, custodian_stands_still])
def test_page_and_metrics_show_what_they_can_while_another_is_away(
    console: RunningConsole, away: Callable[[RunningConsole], None]
) -> None:
    give_account(console.config.run, "media-0", [(recording := secrets.token_hex(16), 0, 60_000, 1200)])
    with console.sign_in(console.custodian.enrol("administrator", "Ravi")) as client:
        away(console)
        text, health = client.get("/metrics").text, client.get("/api/health").json()
    is_database = away is not custodian_stands_still
    assert f'callseal_recording_seal_lag_seconds{{recording="{recording}"}}' in text
    assert ("callseal_database_up 0.0" in text) is is_database and ("callseal_calls{" in text) is not is_database
    (worker,), (call,) = health["recorders"]["workers"], health["recorders"]["calls"]
    assert (worker["worker"], call["recording"]) == ("media-0", recording)
    away_words = {figure["name"]: figure["value"] for figure in health["figures"] if figure["tone"] == "bad"}
    assert ("Database" in away_words) is is_database and ("Custodian" in away_words) is not is_database
    assert health["database"] is not is_database


def test_a_call_that_no_worker_has_is_shown_as_that_and_one_that_is_behind_stands_first(console: RunningConsole) -> None:
    unheld = console.add_call(state="live", peer="branch-pbx")
    slow, quick = console.add_call(state="live"), secrets.token_hex(16)
    give_account(console.config.run, "media-0", [(quick, 0, 9000, 1000), (slow, 0, 1000, 9000)])
    with console.sign_in(console.custodian.enrol("administrator", "Ravi")) as client:
        calls = client.get("/api/health").json()["recorders"]["calls"]
    assert [(call["recording"], call["peer"], call["worker"], call["is_behind"]) for call in calls] == [
        (slow, "main-pbx", "media-0", True), (quick, None, "media-0", False), (unheld, "branch-pbx", None, False),
    ]  # fmt: skip


def test_a_stranger_gets_no_figures_of_the_workers(console: RunningConsole) -> None:
    with httpx.Client(base_url=console.url, headers={"X-Forwarded-For": "203.0.113.9"}) as client:
        assert client.get("/metrics").status_code == 403
        assert client.get("/api/health").status_code in (401, 403)
