"""The long run, for a few seconds: what it counts is nothing, and it would count what is planted."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest

from bench import long

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

CALLS, SECONDS, CALL_SECONDS = 12, 5, 2.0


def _run(fault: str) -> dict[str, Any]:
    """In a process of its own, which is pinned to a core."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(long.run, CALLS, SECONDS, CALL_SECONDS, fault=fault).result()


def test_calls_come_and_go_and_nothing_is_lost() -> None:
    counts = _run("")
    assert counts["calls"] > CALLS and counts["packets"] > 0
    assert [counts[name] for name in ("lost", "failed", "gaps", "samples_differ")] == [0, 0, 0, 0]
    assert counts["samples_opened"] >= long.SAMPLES and counts["sample_packets"] >= long.SAMPLES * 2 * 2 * 50


@pytest.mark.parametrize("fault", ["lose", "alter"])
def test_a_planted_fault_is_counted(fault: str) -> None:
    counts = _run(fault)
    assert (counts["lost"] > 0) == (fault == "lose")
    assert counts["samples_differ"] > 0
