"""A worker's account of itself: true, once a second, never going back, and no matter to a call where it cannot be written."""

import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from callseal.model.worker import WorkerAccount
from callseal.store.accounts import account_path, read_accounts
from tests.media_rig import MediaRig, Sender, running, speak

pytestmark = pytest.mark.real


@pytest.fixture
def rig() -> Iterator[MediaRig]:
    with TemporaryDirectory(prefix="cs-m-", dir="/tmp") as folder, running(Path(folder)) as started:
        yield started


def wait_account(rig: MediaRig, wanted: Callable[[WorkerAccount], bool], timeout: float = 10) -> WorkerAccount:
    """The worker's account as soon as `wanted` holds of it."""
    end, found = time.monotonic() + timeout, read_accounts(rig.data / "run")
    while time.monotonic() < end:
        found = read_accounts(rig.data / "run")
        assert found.unreadable == (), "a reader never sees half of it"
        if found.workers and wanted(found.workers[0]):
            return found.workers[0]
        time.sleep(0.02)
    raise AssertionError(f"not within {timeout} s: {found}\n{rig.log()}")


def open_call(rig: MediaRig) -> tuple[str, Sender]:
    recording, sender = os.urandom(16).hex(), Sender()
    (sender.port,) = rig.open(recording, [sender.stream()])
    return recording, sender


def counted(wanted: tuple[int, ...], account: WorkerAccount) -> bool:
    return (account.packets, account.lost, account.failed, account.replayed) == wanted


def test_it_says_what_lives_and_how_far_each_is_sealed(rig: MediaRig) -> None:
    began = datetime.now(UTC)
    recording, sender = open_call(rig)
    speak([sender], 150, lambda _stream, _number: bytes(160))
    account = wait_account(rig, lambda account: bool(account.recordings) and account.recordings[0].sealed_through_ms > 1000)
    (live,) = account.recordings
    stood = (account.at - began).total_seconds() * 1000
    assert (live.recording, live.part) == (recording, 0)
    assert live.sealed_through_ms + live.lag_ms <= stood + 500, "what is sealed and what is not make up the call so far"
    assert live.sealed_through_ms + live.lag_ms >= stood - 1500
    assert rig.status(recording)["sealed_through_ms"] >= live.sealed_through_ms
    assert rig.process is not None
    assert (account.worker, account.pid, account.streams) == ("media-0", rig.process.pid, 1)
    assert account.cpu_seconds > 0 and account.memory_bytes > 10 << 20 and account.wakes > 5
    assert 0 <= account.spool_waiting_bytes < account.spool_limit_bytes and not account.spool_failing


def test_counts_never_go_back_when_a_call_ends_and_it_ends_with_its_worker(rig: MediaRig) -> None:
    for round_ in (1, 2):
        recording, sender = open_call(rig)
        for _ in range(10):
            sender.send(bytes(160))
        packet = sender.protect(bytes(160))
        sender.send_raw(packet)
        sender.send_raw(packet)
        sender.send_raw(packet[:-1] + bytes([packet[-1] ^ 1]))
        sender.sent += 5
        sender.send(bytes(160))
        wanted = (12 * round_, 5 * round_, round_, round_)
        wait_account(rig, partial(counted, wanted))
        rig.ask("media.close", recording=recording, reason="bye")
        after = wait_account(rig, lambda account: not account.recordings)
        assert (after.packets, after.lost, after.failed, after.replayed, after.streams) == (*wanted, 0)
        sender.close()
    rig.stop()
    assert not account_path(rig.data / "run", "media-0").exists()


def test_where_it_cannot_be_written_calls_go_on(rig: MediaRig) -> None:
    assert rig.process is not None
    before = wait_account(rig, lambda _account: True)
    (rig.data / "run" / f".media-0.json.{rig.process.pid}.tmp").mkdir()
    recording, sender = open_call(rig)
    speak([sender], 100, lambda _stream, number: number.to_bytes(2) * 80)
    rig.wait_status(recording, lambda status: status["sealed_through_ms"] > 1000 and status["streams"][0]["packets"] == 100)
    assert rig.ask("media.close", recording=recording, reason="bye")["lost"] == 0
    (after,) = read_accounts(rig.data / "run").workers
    assert after == before, "its age says it"
