"""The reconciliation page: the days in words, each missing call linked with why; for readers, and with no personal data."""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from callseal.store import schema
from tests.console.running import RunningConsole


def add_record(console: RunningConsole, state: str = "sealed", **columns: Any) -> str:
    """A record as the watcher keeps it; returns its id."""
    record = secrets.token_hex(16)
    row = {
        "record": record, "peer": "main-pbx", "key": secrets.token_hex(32), "started_at": datetime.now(UTC), "duration_ms": 61_000,
        "state": state, "why": "", "recording": None, "found_by": "", "skew_ms": None, "source": "csv", "received_at": datetime.now(UTC),
    } | columns  # fmt: skip
    with console.parts.database.write() as connection:
        connection.execute(schema.records.insert().values(**row))
    return record


def test_the_days_stand_in_words_and_each_missing_call_is_linked(console: RunningConsole) -> None:
    recording = console.add_call()
    for _ in range(3):
        add_record(console, recording=recording, found_by="identifier", skew_ms=3_600_400)
    missing = add_record(console, "unsealed", why="refused")
    silent = add_record(console, "unsealed", why="no-voice", recording=recording)
    with console.sign_in(console.custodian.enrol("auditor", "Ann")) as client:
        page = client.get("/reconciliation").text
        assert "5 calls by their records, 3 sealed, 2 gaps" in page
        assert f'href="/reconciliation/{missing}"' in page
        assert "3,600.4 s ahead of ours: is the time zone of its records set?" in page
        assert "without encryption" in client.get(f"/reconciliation/{missing}").text
        assert f'href="/calls/{recording}"' in client.get(f"/reconciliation/{silent}").text
        assert client.get(f"/reconciliation/{'0' * 32}").status_code == 404
        found = client.get("/api/reconciliation").json()
    assert (found["days"][0]["gaps"], len(found["unsealed"])) == (2, 2)


def test_without_records_the_page_says_how_they_come(console: RunningConsole) -> None:
    with console.sign_in(console.custodian.enrol("administrator", "Ann")) as client:
        assert "callseal reconcile FILE" in client.get("/reconciliation").text
        assert client.get("/api/reconciliation?first=2026-01-01&last=2025-01-01").status_code == 400
        assert client.get("/api/reconciliation?first=1900-01-01").status_code == 400


def test_a_browsers_own_request_to_a_hook_gets_no_further_than_a_strangers(console: RunningConsole) -> None:
    with console.sign_in(console.custodian.enrol("administrator", "Ann")) as client:
        for peer in ("main-pbx", "x" * 200, "%00", "..."):
            assert client.post(f"/hooks/records/{peer}", json={"data": {}}).status_code == 401


def test_guessing_signatures_is_slowed_down(console: RunningConsole) -> None:
    with console.client() as client:
        statuses = [client.post("/hooks/records/main-pbx", json={}).status_code for _ in range(40)]
    assert statuses[0] == 401
    assert statuses[-1] == 413


def test_days_of_the_past_month_only_are_shown(console: RunningConsole) -> None:
    add_record(console, started_at=datetime.now(UTC) - timedelta(days=40))
    with console.sign_in(console.custodian.enrol("auditor", "Ann")) as client:
        assert "No records have come" in client.get("/reconciliation").text
