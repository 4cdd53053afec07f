"""What the media workers say of themselves, for the health page and for Prometheus; it needs neither database nor custodian.

Invariants: an account's age counts into every lag, so that a worker which stands still is never shown as well; a recording is
named by its random id alone, and at most `RECORDINGS_LIMIT` of them are, those that stand furthest behind first.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from callseal.model.clock import format_time
from callseal.model.worker import LiveRecording, WorkerAccount
from callseal.store.accounts import Accounts

RECORDINGS_LIMIT: Final = 5000
SHOWN_LIMIT: Final = 200
LAG_BAD_MS: Final = 3000
"""Hold, flush, wake and fdatasync make 1 to 2 s of a recording that is well."""

_Read = Callable[[WorkerAccount], float]
_WORKER_COUNTERS: Final[dict[str, tuple[str, _Read]]] = {
    "cpu_seconds": ("Processor time of a media worker", lambda account: account.cpu_seconds),
    "packets": ("Voice packets taken, authenticated", lambda account: account.packets),
    "lost": ("Voice packets that never came", lambda account: account.lost),
    "failed": ("Packets that did not verify", lambda account: account.failed),
    "replayed": ("Packets that had come before", lambda account: account.replayed),
    "events_dropped": ("Events that found no room to wait for the disk", lambda account: account.events_dropped),
}
_WORKER_GAUGES: Final[dict[str, tuple[str, _Read]]] = {
    "memory_bytes": ("Resident memory of a media worker", lambda account: account.memory_bytes),
    "streams": ("Streams that are open", lambda account: account.streams),
    "recordings": ("Recordings that go on", lambda account: len(account.recordings)),
    "wake_late_seconds_p99": ("How late a worker wakes, 99th percentile", lambda account: account.late_ms_p99 / 1000),
    "spool_waiting_bytes": ("Sealed bytes that wait for the disk", lambda account: account.spool_waiting_bytes),
    "spool_limit_bytes": ("How many may wait", lambda account: account.spool_limit_bytes),
    "spool_failing": ("1 while the disk refuses what is sealed", lambda account: account.spool_failing),
    "events_waiting": ("Events that wait for the disk", lambda account: account.events_waiting),
}


class _Standing(NamedTuple):
    """A recording, with its worker and how far it is behind now."""

    worker: WorkerAccount
    recording: LiveRecording
    lag_ms: int


class RecorderMetrics(Collector):
    """The accounts as Prometheus reads them, labelled by worker, and by recording for how far each is sealed."""

    def __init__(self, accounts: Accounts, now: datetime) -> None:
        self._accounts, self._now = accounts, now

    def collect(self) -> Iterable[Metric]:
        """Every family; those of recordings last."""
        workers = self._accounts.workers
        for name, (words, read) in _WORKER_COUNTERS.items():
            counter = CounterMetricFamily(f"callseal_media_{name}", words, labels=["worker"])
            for account in workers:
                counter.add_metric([account.worker], read(account))
            yield counter
        for name, (words, read) in _WORKER_GAUGES.items():
            yield _gauge(f"media_{name}", words, "worker", {account.worker: float(read(account)) for account in workers})
        ages = {account.worker: account.age_ms(self._now) / 1000 for account in workers}
        yield _gauge("media_account_age_seconds", "Since a worker last gave its account", "worker", ages)
        lags = {account.worker: account.worst_lag_ms(self._now) / 1000 for account in workers}
        yield _gauge("media_seal_lag_seconds_max", "The recording that is sealed least: how far behind now", "worker", lags)
        unread = dict.fromkeys(self._accounts.unreadable, 1.0)
        yield _gauge("media_account_unreadable", "1 where a worker's account cannot be read", "worker", unread)
        yield from self._collect_recordings()

    def _collect_recordings(self) -> Iterator[Metric]:
        standing = _stand(self._accounts, self._now)
        named = standing[:RECORDINGS_LIMIT]
        through = {each.recording.recording: each.recording.sealed_through_ms / 1000 for each in named}
        lags = {each.recording.recording: each.lag_ms / 1000 for each in named}
        yield _gauge("recording_sealed_through_seconds", "How far a live recording is sealed and durable", "recording", through)
        yield _gauge("recording_seal_lag_seconds", "How far that stands behind now", "recording", lags)
        left_out = GaugeMetricFamily("callseal_recordings_left_out", f"Live recordings beyond {RECORDINGS_LIMIT}, not named here")
        left_out.add_metric([], len(standing) - len(named))
        yield left_out


def show_recorders(accounts: Accounts, live: Iterable[Mapping[str, Any]], now: datetime) -> dict[str, Any]:
    """The panel "Recording now": workers, calls (the furthest behind first), and how many calls more there are.

    `live` are the database's live calls; one that no worker speaks of is shown as such.
    """
    standing, known = _stand(accounts, now), {call["recording"]: call for call in live}
    calls = [_show_call(each, known.get(each.recording.recording)) for each in standing[:SHOWN_LIMIT]]
    held = {each.recording.recording for each in standing}
    calls += [_show_unheld(call) for recording, call in known.items() if recording not in held]
    return {
        "workers": [_show_worker(account, now) for account in accounts.workers],
        "unreadable": list(accounts.unreadable),
        "calls": calls[:SHOWN_LIMIT],
        "more": max(0, len(standing) - SHOWN_LIMIT),
    }


def _stand(accounts: Accounts, now: datetime) -> list[_Standing]:
    """Every live recording, the furthest behind first."""
    found = [
        _Standing(account, recording, recording.lag_ms + account.age_ms(now))
        for account in accounts.workers
        for recording in account.recordings
    ]
    return sorted(found, key=lambda each: (-each.lag_ms, each.recording.recording))


def _show_worker(account: WorkerAccount, now: datetime) -> dict[str, Any]:
    lag_ms, age_ms = account.worst_lag_ms(now), account.age_ms(now)
    return {
        "worker": account.worker,
        "pid": account.pid,
        "at": format_time(account.at),
        "age_ms": age_ms,
        "cpu_seconds": account.cpu_seconds,
        "memory_bytes": account.memory_bytes,
        "memory_locked": account.memory_locked,
        "streams": account.streams,
        "recordings": len(account.recordings),
        "packets": account.packets,
        "lost": account.lost,
        "failed": account.failed,
        "late_ms": account.late_ms_p99,
        "spool_waiting_bytes": account.spool_waiting_bytes,
        "spool_failing": account.spool_failing,
        "lag_ms": lag_ms if account.recordings else None,
        "is_behind": lag_ms > LAG_BAD_MS,
        "is_silent": age_ms > LAG_BAD_MS,
    }


def _show_call(each: _Standing, known: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        "recording": each.recording.recording,
        "worker": each.worker.worker,
        "peer": known["peer"] if known else None,
        "started_at": known["started_at"] if known else None,
        "sealed_through_ms": each.recording.sealed_through_ms,
        "lag_ms": each.lag_ms,
        "is_behind": each.lag_ms > LAG_BAD_MS,
    }


def _show_unheld(call: Mapping[str, Any]) -> dict[str, Any]:
    """A call that the database thinks live and no worker speaks of: it has just begun or ended, or its worker is away."""
    return {
        "recording": call["recording"],
        "worker": None,
        "peer": call["peer"],
        "started_at": call["started_at"],
        "sealed_through_ms": call["sealed_through_ms"],
        "lag_ms": None,
        "is_behind": False,
    }


def _gauge(name: str, words: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"callseal_{name}", words, labels=[label])
    for labelled, value in values.items():
        family.add_metric([labelled], value)
    return family
