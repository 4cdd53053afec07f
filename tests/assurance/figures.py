"""The full figures: what each assurance runs, and what its result must show. `make test` holds the committed results to this."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Counts = Mapping[str, Any]


@dataclass(frozen=True)
class Figure:
    """One assurance: its module here, the arguments of its full run, and whether its counts hold the promise."""

    promise: str
    module: str
    holds: Callable[[Counts], bool]
    arguments: dict[str, Any] = field(default_factory=dict)
    shards: int = 1
    """Processes that share the work; each runs its share of the first argument with a seed of its own."""
    alone: bool = False
    """On a loopback of its own, so that nothing else on the machine sends to its ports."""

    def shares(self, seed: int) -> list[dict[str, Any]]:
        """The arguments of each shard."""
        (name, total), *rest = self.arguments.items()
        counts = [total // self.shards + (shard < total % self.shards) for shard in range(self.shards)]
        return [{name: count, **dict(rest), "seed": seed + shard} for shard, count in enumerate(counts)]


def merge(results: Sequence[Counts]) -> dict[str, Any]:
    """The shards' counts as one: the largest of what is in milliseconds, all rows, the sum of all else."""
    return {name: _merge(name, [result[name] for result in results]) for name in results[0]}


def _merge(name: str, values: Sequence[Any]) -> Any:
    if isinstance(values[0], list):
        return [row for rows in values for row in rows]
    return max(values) if name.endswith("_ms") else sum(values)


OUTAGES = {
    "custodian away": "custodian_away", "database away": "", "object store away": "", "disk stands still": "seal_lag",
    "disk slow": "", "disk full": "disk_low",
}  # fmt: skip
KILLS = {"media worker killed": "part_interrupted", "signalling killed": "", "both killed": "part_interrupted"}
"""Failures, and the alert that each must raise."""
LONG_SECONDS = {"database away": 600}
NO_SLOWER = 3
"""While a part is away, an INVITE's median time is at most so many times the usual one of the same run."""


def costs_no_more(row: Mapping[str, Any]) -> bool:
    """Whether one failure cost no more than is promised."""
    name = row["failure"]
    if name in KILLS:
        is_little = row["lost_before_seconds"] <= 2 and row["lost_after_seconds"] <= 3
    else:
        is_little = row["refused"] == 0 and row["lost_seconds"] == 0 and row["seconds"] >= LONG_SECONDS.get(name, 20)
        is_little &= row["invite_p50"] <= NO_SLOWER * row["invite_usual_p50"]
    wanted = {**OUTAGES, **KILLS}[name]
    return bool(
        is_little
        and row["unnamed_seconds"] == row["claimed_seconds"] == row["dropped_events"] == 0
        and row["taken_in_order"]
        and (not wanted or wanted in row["alerts"])
    )


PARSERS = ("sip", "multipart", "sdp", "metadata", "rtp", "srtcp")



def holds_calls(counts: Counts, calls: int, seconds: int) -> bool:
    """So many calls for so long without a lost packet, in memory that grows by 5 % at most, and a sample is what was spoken."""
    return (
        counts["at_once"] >= calls
        and counts["seconds"] >= seconds
        and not any(counts[name] for name in ("lost", "failed", "gaps", "samples_differ"))
        and counts["samples_opened"] >= 4
        and counts["sample_packets"] > 0
        and counts["memory_last_kib"] <= 1.05 * counts["memory_first_kib"]
    )


FIGURES: dict[str, Figure] = {
    "calls": Figure(
        promise="1,000 encrypted calls for 10 minutes on 2 cores: no packet lost, flat memory, a sample opened is what was spoken",
        module="calls",
        arguments={"seconds": 600, "calls": 1000, "call_seconds": 3600.0},
        alone=True,
        holds=lambda counts: holds_calls(counts, 1000, 600) and counts["bytes_a_stream"] <= 64 << 10,
    ),
    "fuzz": Figure(
        promise="ten minutes of the processor for each parser: no error let out, nothing slow, no growth",
        module="fuzz",
        arguments={"cpu_seconds": 600},
        holds=lambda counts: (
            counts["findings"] == 0
            and all(counts[f"{parser}_cpu_seconds"] >= 600 and counts[f"{parser}_growth_mb"] <= 96 for parser in PARSERS)
        ),
    ),
    "srtp": Figure(
        promise="a million random and mangled packets, and their reports: libsrtp and each engine take the same, and open it alike",
        module="srtp",
        arguments={"packets": 1_000_000},
        holds=lambda counts: (
            counts["packets"] >= 2_000_000
            and counts["disagreements"] == 0
            and counts["mangled"] >= 180_000
            and counts["rollovers"] >= 24
            and counts["reports"] >= 20_000
        ),
    ),
    "kills": Figure(
        promise="kill -9 at 200 random moments: everything sent 2.0 s before opens, the loss is named, sealed_through never lied",
        module="kills",
        arguments={"kills": 200},
        shards=4,
        holds=lambda counts: (
            counts["kills"] >= 200
            and counts["calls"] >= 800
            and not any(counts[name] for name in ("lost_before_2s", "sealed_through_lied", "loss_not_named", "not_resumed"))
        ),
    ),
    "private": Figure(
        promise="private calls at 5 % loss and 200 ms jitter: no gap over 150 ms; heard again within 3 s of a change of network; all tests",
        module="private",
        arguments={"seconds": 60, "changes": 5},
        holds=lambda counts: (
            counts["seconds_each_way"] >= 60
            and counts["gaps_over_150"] == 0
            and counts["network_changes"] >= 5
            and counts["back_ms"] <= 3000
            and counts["tests_passed"] >= 70
            and counts["tests_failed"] == 0
        ),
    ),
    "failures": Figure(
        promise="each part away, slow or killed: INVITE answered as ever, at most 2 s before and 3 s after a kill lost, all of it named",
        module="failures",
        arguments={"seconds": 30, "long_seconds": 600},
        holds=lambda counts: (
            {row["failure"] for row in counts["rows"]} == {*OUTAGES, *KILLS} and all(map(costs_no_more, counts["rows"]))
        ),
    ),
    "soak": Figure(
        promise="an hour at 80 % of a worker's limit (2,048 calls), calls coming and going: no packet lost, flat memory",
        module="calls",
        arguments={"seconds": 3600, "calls": 1640, "call_seconds": 900.0},
        alone=True,
        holds=lambda counts: holds_calls(counts, 1638, 3600),
    ),
    "timeline": Figure(
        promise="two tracks stay within 20 ms of each other over a two-hour call with skew, jitter, reordering, loss, duplicates",
        module="timeline",
        arguments={"pairs": 12, "hours": 2.0},
        shards=1,
        holds=lambda counts: counts["hours"] >= 24 and counts["apart_ms"] <= 20 and counts["heard_apart_ms"] <= 20,
    ),
}
