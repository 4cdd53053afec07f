"""µs a packet and calls a core: the media worker as it is, beside the kernel floor, one callback a packet, and rtpengine.

All ways get the same packets, interleaved in one run: the receiver on one core, the sender on the other. What is charged is the
receiving process, its spool thread and fdatasync among it. On loopback the kernel charges the receive interrupt to the sender.
"""

import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from bench import plot, rtpengine, ways
from bench.traffic import FRAME_SECONDS, WARM_UP_TICKS, Sender, Traffic, make_traffic
from bench.ways import SENDER_CORE, Receiver, cpu_of, memory_of

SUITES = ("AES_CM_128_HMAC_SHA1_80", "AEAD_AES_256_GCM")
OURS, OPENSSL, FLOOR = "callseal media worker", "callseal, without ipsec-mb", "kernel floor: receive and drop"
ASYNCIO = "asyncio + libsrtp, a callback a packet"
RTPENGINE, BLOCKED = "rtpengine, recording to pcap", "rtpengine, pcap, `block media`"
SETTLE_SECONDS = 0.3
"""More than a wake: so long after it was sent, everything has been taken by a receiver that keeps up."""
FULL = 0.8
"""A core's share that only one uses which does not keep up: one that does has wakes and a flush in such a time, and rests."""
LATEST_SETTLES = 100
SETTLE_TRIES = 12


@dataclass(frozen=True)
class Measured:
    """One run of one way. `cpu` are the receiver's CPU seconds, `box` those of the whole machine; `lost` counts what was sent and
    not taken, for rtpengine what its files do not hold."""

    cpu: float
    box: float
    packets: int
    lost: int
    late: float
    busy: float
    """Of the sender's core, while it sent: below 1 it was not what held things up."""
    bytes_a_stream: int
    wake_late_ms: int = 0


@contextmanager
def _rtpengine(traffic: Traffic) -> Iterator[Receiver]:
    with rtpengine.recording(traffic, block=False) as engine:
        yield engine


@contextmanager
def _blocked(traffic: Traffic) -> Iterator[Receiver]:
    with rtpengine.recording(traffic, block=True) as engine:
        yield engine


Way = Callable[[Traffic], AbstractContextManager[Receiver]]
WAYS: dict[str, Way] = {
    OURS: ways.media_worker, OPENSSL: ways.media_worker_of_openssl, FLOOR: ways.kernel_floor, ASYNCIO: ways.per_packet_asyncio,
}  # fmt: skip
if rtpengine.is_installed():
    WAYS |= {RTPENGINE: _rtpengine, BLOCKED: _blocked}


def measure(way: Way, traffic: Traffic) -> Measured:
    """Warm up, send the rest, and read the receiver's CPU before and after, each time once what was sent has been taken.

    Nothing is asked of the receiver meanwhile: packets are counted before and when all is over.
    """
    with way(traffic) as receiver:
        empty = memory_of(receiver.pid)
        sender = Sender(traffic, receiver.ports)
        try:
            sender.send(0, WARM_UP_TICKS)
            _rest(receiver.pid)
            before = receiver.count()
            (cpu, box), began, sending = _used(receiver.pid), time.monotonic(), time.process_time()
            late = sender.send(WARM_UP_TICKS, traffic.ticks)
            busy = (time.process_time() - sending) / (time.monotonic() - began)
            cpu_after, box_after = _rest(receiver.pid)
            packets = _count(receiver, traffic.ticks * traffic.streams)
        finally:
            sender.close()
        held = max(0, memory_of(receiver.pid) - empty)
    kept = receiver.kept if isinstance(receiver, rtpengine.Rtpengine) else packets
    lost = traffic.ticks * traffic.streams - kept
    wake_late = receiver.late_ms_p99 if isinstance(receiver, ways.Worker) else 0
    return Measured(cpu_after - cpu, box_after - box, packets - before, lost, late, busy, held // traffic.streams, wake_late)


def run(calls: list[int], seconds: float, runs: int, raw: Path | None = None) -> int:
    """Measure and print, and keep every run in `raw` (JSON) with a plot beside it; returns 1 where our worker lost a packet."""
    os.sched_setaffinity(0, {SENDER_CORE})
    print(f"{_processor()}, {os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}")
    print(f"two G.711 streams a call, {seconds:g} s measured, {runs} interleaved runs, medians")
    for name in {RTPENGINE, BLOCKED} - WAYS.keys():
        print(f"left out, for rtpengine is not installed (apt-get install rtpengine-daemon): {name}")
    print(f"\n{'suite':25}{'calls':>6}  {'way':40}{'µs/packet':>10}{'calls/core':>11}{'to ours':>9}", end="")
    print(f"{'lost':>8}{'late ms':>9}{'sender':>8}{'box s':>7}{'KiB/stream':>11}")
    ticks = WARM_UP_TICKS + round(seconds / FRAME_SECONDS)
    lost, kept = 0, []
    for count in calls:
        for suite in SUITES:
            traffic = make_traffic(suite, 2 * count, ticks)
            found: dict[str, list[Measured]] = {name: [] for name in WAYS}
            for _ in range(runs):
                for name, way in WAYS.items():
                    found[name].append(measure(way, traffic))
            lost += _report(suite, count, found)
            for name, its in found.items():
                kept.append({"suite": suite, "calls": count, "way": name, "runs": [asdict(it) for it in its]})
    if raw is not None:
        facts = {"machine": _processor(), "cores": os.cpu_count(), "kernel": platform.release()}
        facts["python"] = platform.python_version()
        raw.write_text(json.dumps({"commit": _commit(), **facts, "seconds": seconds, "measured": kept}, indent=1) + "\n")
        raw.with_suffix(".svg").write_text(plot.draw(kept), encoding="utf-8")
    return 1 if lost else 0


def _report(suite: str, calls: int, found: dict[str, list[Measured]]) -> int:
    costs = {name: plot.median_cost(map(asdict, runs)) for name, runs in found.items()}
    for name, runs in found.items():
        cost, lost = costs[name], sum(run.lost for run in runs)
        late, box = max(run.late for run in runs) * 1000, statistics.median(run.box for run in runs)
        memory, busy = statistics.median(run.bytes_a_stream for run in runs) / 1024, max(run.busy for run in runs)
        print(f"{suite:25}{calls:6}  {name:40}{cost:10.2f}{1e6 / cost / 100:11.0f}{cost / costs[OURS]:8.2f}x", end="")
        print(f"{lost:8}{late:9.1f}{busy:8.0%}{box:7.2f}{memory:11.1f}")
    print(f"{'':33}wakes of our worker late, p99: {max(run.wake_late_ms for run in found[OURS])} ms\n", flush=True)
    return sum(run.lost for run in found[OURS])


def _used(pid: int) -> tuple[float, float]:
    """CPU seconds of a process and of the whole machine so far."""
    return cpu_of(pid), _box_seconds()


def _rest(pid: int) -> tuple[float, float]:
    """What was used when what had been sent was taken: after `SETTLE_SECONDS`, and later where the core is still full of it."""
    time.sleep(SETTLE_SECONDS)
    used = _used(pid)
    for _ in range(LATEST_SETTLES):
        time.sleep(SETTLE_SECONDS)
        later = _used(pid)
        if later[0] - used[0] < FULL * SETTLE_SECONDS:
            break
        used = later
    return used


def _count(receiver: Receiver, sent: int) -> int:
    """Packets that it has taken, once it takes no more."""
    packets = receiver.count()
    for _ in range(SETTLE_TRIES):
        if packets >= sent:
            break
        time.sleep(SETTLE_SECONDS)
        packets = receiver.count()
    return packets


def _box_seconds() -> float:
    """CPU seconds of the whole machine that were not idle, all cores."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    return (sum(fields[:8]) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def _commit() -> str:
    return subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
