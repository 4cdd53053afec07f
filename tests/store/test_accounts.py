"""A worker's account as it lies on disk: what is damaged is left out by name, and the mode is its folder's."""

import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from callseal.store.accounts import LIMIT_BYTES, account_path, read_accounts, write_account

NOW = datetime(2026, 11, 27, 8, 0, 0, 250_000, tzinfo=UTC)
FACTS: dict[str, Any] = {
    "worker": "media-0", "pid": 7, "at": NOW, "cpu_seconds": 1.5, "memory_bytes": 1 << 26, "memory_locked": True, "wakes": 5,
    "late_ms_p99": 3, "streams": 2, "packets": 100, "lost": 1, "failed": 2, "replayed": 3, "spool_waiting_bytes": 4,
    "spool_limit_bytes": 64 << 20, "spool_failing": False, "events_waiting": 0, "events_dropped": 0,
}  # fmt: skip
LIVE = [("00" * 16, 0, 5000, 1200), ("11" * 16, 3, 900, 2600)]


def test_what_is_written_is_what_is_read_and_the_age_counts_into_the_lag(tmp_path: Path) -> None:
    write_account(tmp_path, FACTS, LIVE)
    write_account(tmp_path, {**FACTS, "worker": "media-11"}, [])
    first, second = read_accounts(tmp_path).workers
    assert (first.worker, first.at, first.memory_locked, first.lost) == ("media-0", NOW, True, 1)
    assert [(live.recording, live.part, live.sealed_through_ms, live.lag_ms) for live in first.recordings] == LIVE
    assert first.age_ms(NOW + timedelta(seconds=2)) == 2000
    assert first.worst_lag_ms(NOW + timedelta(seconds=2)) == 4600
    assert (second.worker, second.worst_lag_ms(NOW + timedelta(seconds=2))) == ("media-11", 0)


@pytest.mark.parametrize("shared", [False, True])
def test_only_where_its_folder_is_shared_may_others_read_it(tmp_path: Path, shared: bool) -> None:
    tmp_path.chmod(0o2770 if shared else 0o700)
    write_account(tmp_path, FACTS, LIVE)
    assert stat.S_IMODE(account_path(tmp_path, "media-0").stat().st_mode) & 0o777 == (0o640 if shared else 0o600)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"[" * 100_000, b'{"v": 1}', b"\xff", b" " * (LIMIT_BYTES + 1), b'{"recordings": [[1]]}',
     json.dumps({**FACTS, "at": "yesterday", "recordings": []}).encode(), json.dumps({**FACTS, "at": 0, "recordings": [7]}).encode()],
    ids=["empty", "torn", "list", "null", "deep", "fields", "bytes", "long", "row", "time", "rows"],
)  # fmt: skip
def test_a_damaged_one_is_named_and_the_others_are_read(tmp_path: Path, content: bytes) -> None:
    write_account(tmp_path, {**FACTS, "worker": "media-1"}, LIVE)
    account_path(tmp_path, "media-0").write_bytes(content)
    found = read_accounts(tmp_path)
    assert [account.worker for account in found.workers] == ["media-1"]
    assert found.unreadable == ("media-0",)


def test_other_files_of_the_folder_are_none_of_them(tmp_path: Path) -> None:
    for name in ("media-x.json", "media-0.address", "supervisor.json", ".media-0.json.7.tmp"):
        (tmp_path / name).write_text("{}")
    assert read_accounts(tmp_path) == ((), ())
