"""A media worker's account in a console's data folder, as a worker writes it."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from callseal.store.accounts import write_account


def give_account(
    run: Path, worker: str, recordings: Sequence[tuple[str, int, int, int]], age_seconds: float = 0, **facts: Any
) -> None:
    """Rows are recording, part, `sealed_through_ms` and `lag_ms`."""
    usual = {
        "worker": worker, "pid": os.getpid(), "at": datetime.now(UTC) - timedelta(seconds=age_seconds), "cpu_seconds": 12.5,
        "memory_bytes": 90 << 20, "memory_locked": True, "wakes": 500, "late_ms_p99": 4, "streams": 4, "packets": 1000, "lost": 0,
        "failed": 0, "replayed": 0, "spool_waiting_bytes": 4096, "spool_limit_bytes": 64 << 20, "spool_failing": False,
        "events_waiting": 0, "events_dropped": 0,
    }  # fmt: skip
    write_account(run, usual | facts, recordings)
