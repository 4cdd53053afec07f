"""What docs/benchmarks.md says was measured is what the committed raw runs say, and it is what was asked for."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from bench.packets import ASYNCIO, BLOCKED, FLOOR, OPENSSL, OURS, RTPENGINE, SUITES
from bench.plot import draw, median_cost

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
RAW = json.loads((DOCS / "benchmarks" / "packets.json").read_text())
WAYS = (OURS, OPENSSL, FLOOR, ASYNCIO, RTPENGINE, BLOCKED)
Costs = dict[tuple[str, int, str], float]


def costs_of(raw: dict[str, Any]) -> Costs:
    """µs a packet by suite, calls and way, the median of its runs."""
    return {(row["suite"], row["calls"], row["way"]): median_cost(row["runs"]) for row in raw["measured"]}


def shortfalls(raw: dict[str, Any]) -> list[str]:
    """Which figures these runs do not reach."""
    costs = costs_of(raw)
    wanted = [(suite, calls, way) for suite in SUITES for calls in (25, 100, 500, 1000, 2000) for way in WAYS]
    found = [f"{one} was not measured" for one in wanted if one not in costs]
    if found:
        return found
    for suite in SUITES:
        ours, floor, rtpengine, asyncio = (costs[suite, 1000, way] for way in (OURS, FLOOR, RTPENGINE, ASYNCIO))
        limits = {
            "4 µs": 4.0, "a third of rtpengine": rtpengine / 3, "a third of asyncio": asyncio / 3, "four times the floor": 4 * floor,
        }  # fmt: skip
        found += [f"{suite}: {ours:.2f} µs, over {name} ({limit:.2f})" for name, limit in limits.items() if ours > limit]
    for row in raw["measured"]:
        if len(row["runs"]) < 3:
            found.append(f"{row['way']}: fewer than three runs")
        if row["way"] == OURS and any(run["lost"] for run in row["runs"]):
            found.append(f"{row['calls']} calls: packets lost")
        if row["calls"] <= 1000 and any(run["busy"] > 0.9 for run in row["runs"]):
            found.append(f"{row['calls']} calls: the sender was the bottleneck")
    return found


def test_the_committed_runs_reach_what_was_asked() -> None:
    assert shortfalls(RAW) == []


@pytest.mark.parametrize(
    ("way", "change", "told"),
    [
        (OURS, {"cpu": 9.0}, "over 4 µs"),
        (RTPENGINE, {"cpu": 0.5}, "a third of rtpengine"),
        (ASYNCIO, {"cpu": 0.5}, "a third of asyncio"),
        (FLOOR, {"cpu": 0.01}, "four times the floor"),
        (OURS, {"lost": 1}, "packets lost"),
        (BLOCKED, {"busy": 0.97}, "the bottleneck"),
    ],
)
def test_a_worse_run_is_told(way: str, change: dict[str, float], told: str) -> None:
    raw = copy.deepcopy(RAW)
    for row in raw["measured"]:
        if row["way"] == way:
            row["runs"] = [run | change for run in row["runs"]]
    assert any(told in said for said in shortfalls(raw))


def test_a_run_that_was_left_out_is_told() -> None:
    raw = copy.deepcopy(RAW)
    raw["measured"] = [row for row in raw["measured"] if row["calls"] != 2000]
    assert any("was not measured" in said for said in shortfalls(raw))


def test_the_table_and_the_picture_show_these_runs() -> None:
    told: Costs = {}
    for line in (DOCS / "benchmarks.md").read_text().splitlines():
        for way in WAYS:
            suite, _, rest = line.partition(" ")
            calls, _, name = rest.strip().partition("  ")
            if suite in SUITES and name.startswith(way + "  "):
                told[suite, int(calls), way] = float(name.removeprefix(way).split()[0])
    costs = costs_of(RAW)
    assert told.keys() == costs.keys()
    assert {key: f"{cost:.2f}" for key, cost in told.items()} == {key: f"{cost:.2f}" for key, cost in costs.items()}
    assert (DOCS / "benchmarks" / "packets.svg").read_text() == draw(RAW["measured"])
