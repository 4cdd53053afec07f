"""µs a packet and calls a core: the media worker as it is, against one callback a packet, interleaved, in this run.

The receiver has one core and the sender another; what is charged is the receiving process (getrusage), its spool thread and
fdatasync among it. On loopback the kernel charges the receive interrupt to the sender: true of both ways.
"""

import argparse
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench import per_packet
from bench.traffic import FRAME_SECONDS, WARM_UP_TICKS, Stream, make_stream, send
from callseal.model.message import to_text
from tests.media_rig import PCMA, running

RECEIVER_CORE, SENDER_CORE = 0, 1
SUITES = ("AES_CM_128_HMAC_SHA1_80", "AEAD_AES_256_GCM")
SETTLE_SECONDS = 0.15
SETTLE_TRIES = 10
"""What was sent is counted when it has been taken, or lost."""
Measured = tuple[float, int, float]
"""CPU seconds, packets that opened, latest tick of the sender."""


def measure_batched(suite: str, streams: list[Stream], ticks: int) -> Measured:
    """The real worker, by its own account of CPU and packets."""
    with tempfile.TemporaryDirectory(prefix="cs-bench-") as folder, running(Path(folder)) as rig:
        assert rig.process is not None
        for task in Path(f"/proc/{rig.process.pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), {RECEIVER_CORE})
        ports: list[int] = []
        for first in range(0, len(streams), 2):
            fields = [
                {"label": str(n), "suite": suite, "key": to_text(stream.key), "tag": 1, "codecs": [PCMA], "event_pts": [101]}
                for n, stream in enumerate(streams[first : first + 2])
            ]
            ports += rig.open(os.urandom(16).hex(), fields)

        def read() -> tuple[float, int]:
            status = rig.ask("media.status")
            return status["cpu_seconds"], sum(s["packets"] for r in status["recordings"] for s in r["streams"])

        return _measure(read, streams, ports, ticks)


def measure_per_packet(suite: str, streams: list[Stream], ticks: int) -> Measured:
    """asyncio and libsrtp in a process of their own."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    keys = [stream.key for stream in streams]
    process = context.Process(target=per_packet.run, args=(suite, keys, RECEIVER_CORE, there))
    process.start()
    ports = here.recv()

    def read() -> tuple[float, int]:
        here.send("read")
        answer: tuple[float, int] = here.recv()
        return answer

    measured = _measure(read, streams, ports, ticks)
    here.send("stop")
    process.join()
    return measured


def _measure(read: Callable[[], tuple[float, int]], streams: list[Stream], ports: list[int], ticks: int) -> Measured:
    """Warm up, send, and read CPU and packets before and after, each time once all that was sent has been taken."""
    send(streams, ports, 0, WARM_UP_TICKS)
    cpu, packets = _settle(read, WARM_UP_TICKS * len(streams))
    late = send(streams, ports, WARM_UP_TICKS, ticks)
    cpu_after, packets_after = _settle(read, ticks * len(streams))
    return cpu_after - cpu, packets_after - packets, late


def _settle(read: Callable[[], tuple[float, int]], expected: int) -> tuple[float, int]:
    for _ in range(SETTLE_TRIES):
        time.sleep(SETTLE_SECONDS)
        cpu, packets = read()
        if packets >= expected:
            break
    return cpu, packets


WAYS = {"callseal media worker": measure_batched, "asyncio + libsrtp, a callback a packet": measure_per_packet}


def main() -> int:
    """Measure and print; exit code 1 where a packet was lost in our worker."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--calls", type=int, nargs="+", default=[50, 200])
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--runs", type=int, default=2)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {SENDER_CORE} if os.cpu_count() != 1 else {RECEIVER_CORE})
    print(f"{_processor()}, {os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}")
    print(f"two G.711 streams a call, {arguments.seconds:g} s measured, {arguments.runs} interleaved runs, medians\n")
    print(f"{'suite':26}{'calls':>6}  {'way':40}{'µs/packet':>10}{'calls/core':>12}{'lost':>6}{'late ms':>9}")
    ticks = WARM_UP_TICKS + round(arguments.seconds / FRAME_SECONDS)
    lost_by_us = 0
    for calls in arguments.calls:
        for suite in SUITES:
            streams = [make_stream(suite, ticks) for _ in range(2 * calls)]
            found: dict[str, list[Measured]] = {way: [] for way in WAYS}
            for _ in range(arguments.runs):
                for way, measure in WAYS.items():
                    found[way].append(measure(suite, streams, ticks))
            lost_by_us += _report(suite, calls, (ticks - WARM_UP_TICKS) * 2 * calls, found)
    return 1 if lost_by_us else 0


def _report(suite: str, calls: int, sent: int, found: dict[str, list[Measured]]) -> int:
    cost, lost = {}, {}
    for way, runs in found.items():
        cost[way] = statistics.median(cpu / max(1, packets) * 1e6 for cpu, packets, _late in runs)
        lost[way] = sum(sent - packets for _cpu, packets, _late in runs)
        late = max(late for _cpu, _packets, late in runs) * 1000
        print(f"{suite:26}{calls:6}  {way:40}{cost[way]:10.2f}{1e6 / cost[way] / 100:12.0f}{lost[way]:6}{late:9.1f}")
    ours, theirs = cost.values()
    print(f"{'':34}{'ratio':40}{theirs / ours:9.2f}x\n")
    return lost["callseal media worker"]


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    sys.exit(main())
