"""What the health page and `/metrics` say is what the watcher wrote and the database holds; nobody else reads the spool."""

from datetime import UTC, datetime, timedelta

import pytest

from callseal.flows.metrics import COUNTED, GAUGES, write_gauges
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
