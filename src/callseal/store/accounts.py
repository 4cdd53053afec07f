"""The media workers' accounts, `run/media-N.json`: written once a second by each worker, read by the watcher and the console.

Invariants: a reader sees a whole account or the one before it; what cannot be read is left out, and `unreadable` says so; what
is read has limits. It is not made durable: after a crash of the machine the worker that it speaks of is gone too.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from callseal.errors import RequestError
from callseal.model.clock import format_time, parse_time
from callseal.model.worker import LiveRecording, WorkerAccount
from callseal.store.files import write_atomic

LIMIT_BYTES: Final = 4 << 20
WORKERS_LIMIT: Final = 256
_COUNTS: Final = (
    "pid", "memory_bytes", "wakes", "late_ms_p99", "streams", "packets", "lost", "failed", "replayed", "spool_waiting_bytes",
    "spool_limit_bytes", "events_waiting", "events_dropped",
)  # fmt: skip


class Accounts(NamedTuple):
    """What could be read, by name of the worker, and the names of those whose account could not."""

    workers: tuple[WorkerAccount, ...]
    unreadable: tuple[str, ...]


def account_path(run: Path, worker: str) -> Path:
    """Where a worker keeps its account."""
    return run / f"{worker}.json"


def write_account(run: Path, facts: dict[str, Any], recordings: Sequence[tuple[str, int, int, int]]) -> None:
    """Replace a worker's account. `facts` are the fields of `WorkerAccount` but its recordings. Raises OSError."""
    content = {"v": 1, **facts, "at": format_time(facts["at"]), "recordings": recordings}
    write_atomic(account_path(run, facts["worker"]), json.dumps(content, separators=(",", ":")).encode(), durable=False)


def read_accounts(run: Path) -> Accounts:
    """Every worker's newest account."""
    found: list[WorkerAccount] = []
    unreadable: list[str] = []
    for path in list(_account_files(run))[:WORKERS_LIMIT]:
        try:
            with path.open("rb") as file:
                found.append(_read_account(file.read(LIMIT_BYTES + 1)))
        except FileNotFoundError:
            continue  # its worker has stopped
        except (OSError, ValueError, TypeError, KeyError, RecursionError, RequestError):
            unreadable.append(path.stem)
    return Accounts(tuple(found), tuple(unreadable))


def _account_files(run: Path) -> Iterator[Path]:
    return iter(sorted(path for path in run.glob("media-*.json") if path.stem.removeprefix("media-").isdecimal()))


def _read_account(content: bytes) -> WorkerAccount:
    if len(content) > LIMIT_BYTES:
        raise RequestError(f"account: expected at most {LIMIT_BYTES} bytes")
    fields = json.loads(content)
    live = tuple(LiveRecording(str(name), int(part), int(through), int(lag)) for name, part, through, lag in fields["recordings"])
    return WorkerAccount(
        worker=str(fields["worker"])[:32],
        at=parse_time(fields["at"]),
        cpu_seconds=float(fields["cpu_seconds"]),
        memory_locked=bool(fields["memory_locked"]),
        spool_failing=bool(fields["spool_failing"]),
        recordings=live,
        **{name: int(fields[name]) for name in _COUNTS},
    )
