"""Each rule finds the fault that was planted, and stays silent one step short of it."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import callseal.detection
from callseal.detection import rules
from callseal.detection.view import Finding, LiveCall, SeenEvent, View
from callseal.model.worker import LiveRecording, WorkerAccount

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
RECORDING = "00112233445566778899aabbccddeeff"
GIB = 1 << 30


def seen(kind: str, seconds_ago: float = 1, source: str = "media-0", n: int = 1, **data: Any) -> SeenEvent:
    return SeenEvent(source, n, NOW - timedelta(seconds=seconds_ago), kind, RECORDING, data)


def of(*events: SeenEvent) -> View:
    return View(now=NOW, events=events)


def call(seconds_ago: float, sealed_through_ms: int) -> View:
    return View(now=NOW, live_calls=(LiveCall(RECORDING, NOW - timedelta(seconds=seconds_ago), sealed_through_ms),))


def worker(lag_ms: int, age_ms: int) -> View:
    """One worker's account: of a recording that stood so far behind, so old."""
    counts = dict.fromkeys(
        ("pid", "memory_bytes", "wakes", "late_ms_p99", "streams", "packets", "lost", "failed", "replayed", "spool_waiting_bytes",
         "spool_limit_bytes", "events_waiting", "events_dropped"), 0
    )  # fmt: skip
    live = (LiveRecording("ff" * 16, 0, 9000, 0), LiveRecording(RECORDING, 0, 1000, lag_ms))
    account = WorkerAccount(
        worker="media-0", at=NOW - timedelta(milliseconds=age_ms), cpu_seconds=1.0, memory_locked=True, spool_failing=False,
        recordings=live, **counts,
    )  # fmt: skip
    return View(now=NOW, workers=(account,))


CASES: dict[str, tuple[View, View]] = {
    "plaintext_offer": (
        of(seen("OfferRefused", status=488, peer="office")),
        of(seen("OfferRefused", status=486, peer="office")),
    ),
    "unknown_peer": (
        of(*(seen("PeerRefused", 60 - 15 * k, n=k) for k in range(5))),
        of(*(seen("PeerRefused", 64 - 16 * k, n=k) for k in range(5))),
    ),
    "no_packets": (call(5.1, 0), call(5, 0)),
    "not_sealed": (of(seen("CallNotSealed", source="watcher", peer="office", why="unknown")), of(seen("CallEnded", reason="bye"))),
    "one_side": (
        of(seen("VoiceMissing", why="flat", party="customer")),
        of(seen("VoiceMissing", why="no-packets", party="")),
    ),
    "long_gap": (
        of(seen("Gap", from_ms=0, to_ms=2001, why="no packets")),
        of(seen("Gap", from_ms=0, to_ms=2000, why="no packets")),
    ),
    "metadata_lost": (
        of(seen("OddityNoticed", source="sip", peer="office", odd=["type-without-xml", "metadata-malformed"])),
        of(seen("OddityNoticed", source="sip", peer="office", odd=["type-without-xml", "metadata-missing"])),
    ),
    "no_bye": (of(seen("CallEnded", reason="signalling_lost")), of(seen("CallEnded", reason="bye"))),
    "part_interrupted": (of(seen("PartInterrupted", part=0)), of(seen("PartEnded", part=0, reason="bye"))),
    "custodian_away": (
        View(now=NOW, custodian_away_since=NOW - timedelta(seconds=5.1)),
        View(now=NOW, custodian_away_since=NOW - timedelta(seconds=5)),
    ),
    "card_stale": (of(seen("CardStale")), of(seen("WorkerStarted"))),
    "disk_low": (
        View(now=NOW, disk_free_bytes=2 * GIB - 1, disk_total_bytes=100 * GIB),
        View(now=NOW, disk_free_bytes=2 * GIB, disk_total_bytes=100 * GIB),
    ),
    "seal_lag": (worker(5001, 0), worker(5000, 0)),
    "worker_silent": (worker(1200, 5001), worker(1200, 5000)),
    "packets_failed": (
        of(seen("PacketsFailed", failed=30), seen("PacketsFailed", failed=20)),
        of(seen("PacketsFailed", failed=30), seen("PacketsFailed", failed=19)),
    ),
    "denied_openings": (
        of(*(seen("AudioRefused", 300 - 150 * k, person="aa") for k in range(3))),
        of(*(seen("AudioRefused", 302 - 151 * k, person="aa") for k in range(3))),
    ),
    "spool_age": (
        View(now=NOW, spool_age=timedelta(seconds=121)),
        View(now=NOW, spool_age=timedelta(seconds=120)),
    ),
    "events_missing": (of(seen("EventsMissing", source="watcher", missing_from=2)), of()),
    "overdue": (View(now=NOW, overdue=1), View(now=NOW, overdue=0)),
    "certificate_expiring": (of(seen("CertificateExpiring", peer="office", count=29)), of(seen("WorkerStarted", count=29))),
    "clear_exception": (of(seen("ExceptionBegan", peer="office", why="clear, by exception until 6 Dec 2026")), of(seen("CallStarted", peer="office"))),
}


def test_a_refused_offer_tells_the_setting_that_cures_it() -> None:
    (finding,) = rule_of("plaintext_offer")(of(seen("OfferRefused", status=488, peer="office", cure="srtp on the dial-peer")))
    assert finding.text.endswith("Set there: srtp on the dial-peer.")


def test_an_exception_that_has_ended_is_told_of_too() -> None:
    (finding,) = rule_of("clear_exception")(of(seen("ExceptionEnded", peer="office", why="expired")))
    assert finding.kind == "clear_exception_ended" and "488" in finding.text

MORE_POSITIVES = {
    "no_packets": of(seen("VoiceMissing", why="none-yet")),
    "long_gap": of(seen("VoiceMissing", why="no-packets")),
    "one_side": of(seen("VoiceMissing", why="one-side", party="staff")),
    "no_bye": of(seen("SignallingLost", peer="office")),
}

MORE_NEGATIVES = {
    "long_gap": of(seen("Gap", from_ms=0, to_ms=60_000, why="paused")),
    "no_packets": call(3600, 1000),
    "one_side": of(seen("VoiceMissing", why="none-yet", party="")),
    "denied_openings": of(*(seen("AudioRefused", person=str(k)) for k in range(3))),
    "disk_low": View(now=NOW, disk_free_bytes=GIB, disk_total_bytes=5 * GIB),
}


def rule_of(kind: str) -> Callable[[View], Iterator[Finding]]:
    return next(rule for rule in rules.RULES if rule.__module__.endswith(f".{kind}"))


@pytest.mark.parametrize("kind", CASES)
def test_the_planted_fault_is_found(kind: str) -> None:
    (finding,) = {found.dedupe: found for found in rule_of(kind)(CASES[kind][0])}.values()
    assert finding.kind == kind
    assert finding.at <= NOW


@pytest.mark.parametrize("kind", MORE_POSITIVES)
def test_what_is_seen_while_the_call_goes_on_is_found_too(kind: str) -> None:
    (finding,) = rule_of(kind)(MORE_POSITIVES[kind])
    assert (finding.kind, finding.recording) == (kind, RECORDING)


@pytest.mark.parametrize("kind", CASES)
def test_one_step_short_of_the_fault_nothing_is_found(kind: str) -> None:
    assert list(rule_of(kind)(CASES[kind][1])) == []


@pytest.mark.parametrize("kind", MORE_NEGATIVES)
def test_what_only_looks_like_the_fault_is_not_found(kind: str) -> None:
    assert list(rule_of(kind)(MORE_NEGATIVES[kind])) == []


def test_events_that_found_no_room_are_told_of_with_their_count() -> None:
    (finding,) = rule_of("events_missing")(of(seen("EventsDropped", count=17)))
    assert finding.severity == "critical" and finding.text.startswith("17 events of media-0 found no room")


def test_calls_that_were_late_are_told_of_afterwards_too() -> None:
    for count, words in ((3, "3 calls fell behind"), (0, "had fallen 8 s behind")):
        (finding,) = rule_of("seal_lag")(of(seen("SealingLate", count=count, duration_ms=8200)))
        assert finding.dedupe == "seal_lag:media-0" and words in finding.text


def test_an_idle_worker_may_be_silent() -> None:
    (account,) = worker(1200, 60_000).workers
    assert list(rule_of("worker_silent")(View(now=NOW, workers=(replace(account, recordings=()),)))) == []


def test_a_lag_that_grows_is_one_alert_and_names_the_recording_furthest_behind() -> None:
    (first,), (later,) = (list(rule_of("seal_lag")(replace(worker(lag, 0), now=NOW))) for lag in (6000, 9000))
    assert first.recording == later.recording == RECORDING and first.dedupe == later.dedupe
    assert later.at < first.at <= NOW, "evidence is as old as the sealing that stopped"


def test_a_part_that_cannot_be_adopted_is_critical() -> None:
    (finding,) = rules.detect_all(of(seen("PartRefused", why="TamperedError", part=0)))
    assert (finding.kind, finding.severity) == ("part_refused", "critical")


def test_every_rule_file_is_on_the_list() -> None:
    folder = Path(callseal.detection.__file__).parent
    files = {path.stem for path in folder.glob("*.py")} - {"__init__", "view", "rules"}
    assert {rule.__module__.rsplit(".", 1)[1] for rule in rules.RULES} == files == CASES.keys()


def test_the_same_view_gives_the_same_findings_and_one_for_each_subject() -> None:
    view = of(*(seen("Gap", 10 - k, n=k, from_ms=0, to_ms=3000, why="no packets") for k in range(3)))
    found = rules.detect_all(view)
    assert found == rules.detect_all(view)
    assert [finding.at for finding in found] == [NOW - timedelta(seconds=8)]
