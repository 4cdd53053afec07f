"""`callseal calls` with and without a terminal, while nothing else runs."""

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from callseal.config.settings import Retention
from callseal.flows.capture_rows import take_event
from callseal.model.clock import format_time
from callseal.store.database import Database
from tests.spooled import NOW, recording_id


def run(data: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-c", "from callseal.cli.main import main; main()", "calls", *arguments]
    return subprocess.run(
        program,
        env={"CALLSEAL_DATA": str(data), "PATH": "/usr/bin:/bin", "HOME": str(data)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    database = Database(f"sqlite:///{tmp_path / 'database' / 'callseal.db'}")
    database.migrate()
    leg = {"number": 0, "label": "1", "party": "customer", "codec": "PCMA", "suite": "AEAD_AES_256_GCM", "protection": "measured"}
    with database.write() as connection:
        for number in range(3):
            at = format_time(NOW + timedelta(seconds=number))
            started = {"peer": "office", "class": "default", "started_at": at, "transport": "TLSv1.3", "legs": [leg, leg]}
            gap = {"part": 0, "from_ms": 0, "to_ms": 2500, "why": "no packets"}
            for n, kind, facts in ((1, "CallStarted", started), (2, "Gap", gap)):
                event = {
                    "source": "sip",
                    "n": number * 2 + n,
                    "at": at,
                    "type": kind,
                    "recording": recording_id(number),
                    "data": facts,
                }
                take_event(connection, event, Retention())
    database.close()
    return tmp_path


def test_without_a_terminal_each_call_is_a_plain_line_newest_first(data: Path) -> None:
    result = run(data)
    assert (result.returncode, result.stderr) == (0, "")
    heading, *lines = result.stdout.splitlines()
    assert heading.split("\t")[:3] == ["recording", "started", "length"]
    assert [line.split("\t")[0] for line in lines] == [recording_id(number) for number in (2, 1, 0)]
    assert lines[0].split("\t")[3:] == ["office", "live", "AEAD_AES_256_GCM, measured", "2", "1 (2.5 s)"]
    assert "\x1b" not in result.stdout


def test_json_holds_every_field_and_the_limit_is_kept(data: Path) -> None:
    found = json.loads(run(data, "--json", "--limit", "2").stdout)
    assert [call["recording"] for call in found] == [recording_id(2), recording_id(1)]
    assert (found[0]["state"], found[0]["started_at"], found[0]["counts"]["gap_ms"]) == ("live", "2026-11-24T08:00:02.000Z", 2500)


def test_only_calls_in_the_asked_state_are_listed(data: Path) -> None:
    assert len(run(data, "--state", "sealed").stdout.splitlines()) == 1


def test_a_limit_outside_its_range_is_refused_by_its_exit_code(data: Path) -> None:
    result = run(data, "--limit", "501")
    assert result.returncode == 64
    assert result.stderr == "callseal: limit: expected 1 to 500, got 501\n"


def test_before_the_first_start_it_says_what_to_do(tmp_path: Path) -> None:
    result = run(tmp_path)
    assert result.returncode == 75
    assert "watcher makes it" in result.stderr
    assert not (tmp_path / "database").exists()
