"""Each media worker has a number, a core and a place of its own."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from callseal.cli.doctor_separation import examine_separation
from callseal.cli.finding import Verdict
from callseal.config.settings import MAX_WORKERS, Config, Media, load_config
from callseal.daemons.process import pin_to_core
from callseal.daemons.supervisor import order_of
from callseal.errors import ConfigError


def pinned(number: int, of: int) -> tuple[int | None, set[int]]:
    """In a thread of its own, to which the kernel counts it (sched_setaffinity(2))."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: (pin_to_core(number, of), os.sched_getaffinity(0))).result()


def test_workers_are_pinned_to_the_last_cores_one_each_where_there_are_as_many() -> None:
    cores = sorted(os.sched_getaffinity(0))
    assert pinned(0, 1) == (None, set(cores)), "alone it is left to the kernel"
    assert pinned(0, len(cores) + 1) == (None, set(cores)), "too few cores"
    if len(cores) > 1:
        assert [pinned(number, 2) for number in (0, 1)] == [(core, {core}) for core in cores[-2:]]


@pytest.mark.parametrize("workers", [0, -1, MAX_WORKERS + 1])
def test_a_number_of_workers_out_of_bounds_is_refused(tmp_path: Path, workers: int) -> None:
    file = tmp_path / "callseal.toml"
    file.write_text(f"[media]\nworkers = {workers}\n")
    with pytest.raises(ConfigError, match=r"media\.workers: expected 1 to 64"):
        load_config(file)


def test_workers_start_together_between_watcher_and_signalling() -> None:
    rows = order_of(Config(media=Media(workers=3)))
    at = rows.index(("media-0", "media-1", "media-2"))
    assert rows[at - 1] == ("watcher",) and rows[at + 1] == ("sip",)


def test_a_worker_that_the_settings_do_not_have_does_not_start(tmp_path: Path) -> None:
    file = tmp_path / "callseal.toml"
    file.write_text(f'data = "{tmp_path / "data"}"\n[media]\nworkers = 2\n')
    done = subprocess.run(
        [sys.executable, "-m", "callseal.daemons", "media", "--worker", "2", "--config", str(file)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr.strip()) == (78, "callseal media: --worker: expected 0 to 1 (media.workers), got 2")
    assert not (tmp_path / "data").exists()


def test_the_doctor_names_a_worker_that_signalling_counts_on_and_that_does_not_run(tmp_path: Path) -> None:
    config = Config(data=tmp_path, media=Media(workers=2))
    config.run.mkdir()
    child = {"pid": os.getpid()}

    def missing(*running: str) -> set[str]:
        (config.run / "supervisor.json").write_text(json.dumps(dict.fromkeys(running, child)))
        found = examine_separation(config)
        return {finding.what for finding in found if finding.verdict is Verdict.BAD and finding.what.startswith("media-")}

    assert missing("sip", "media-0") == {"media-1"}
    assert missing("sip", "media-0", "media-1") == set()
    assert missing() == set(), "nothing runs, and nothing is said of each"
