"""The ways that are compared: each receives, authenticates and keeps the same calls, in a process of its own on one core.

A way is a context manager that takes traffic and gives a `Receiver`. What each does and leaves out stands in docs/benchmarks.md.
"""

import multiprocessing
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Protocol

from bench import floor, per_packet
from bench.traffic import Traffic
from callseal.model.message import to_text
from tests.media_rig import PCMA, MediaRig, running

RECEIVER_CORE, SENDER_CORE = 0, 1


class Receiver(Protocol):
    """A receiver that runs: where each stream is to be sent, and how many packets it has taken."""

    ports: list[int]
    pid: int

    def count(self) -> int: ...


class Worker:
    """The media worker as it is, by its own account."""

    def __init__(self, rig: MediaRig, traffic: Traffic) -> None:
        assert rig.process is not None
        self._rig = rig
        self.pid = rig.process.pid
        pin(self.pid)
        self.ports: list[int] = []
        for first in range(0, traffic.streams, 2):
            fields = [
                {"label": str(n), "suite": traffic.suite, "key": to_text(key), "tag": 1, "codecs": [PCMA], "event_pts": [101]}
                for n, key in enumerate(traffic.keys[first : first + 2])
            ]
            self.ports += rig.open(os.urandom(16).hex(), fields)

    def count(self) -> int:
        """By `media.status`."""
        status = self._rig.ask("media.status")
        self.late_ms_p99 = int(status["late_ms_p99"])
        return sum(s["packets"] for r in status["recordings"] for s in r["streams"])


@contextmanager
def media_worker(traffic: Traffic, settings: str = "") -> Iterator[Receiver]:
    """Callseal: everything, from the socket to fdatasync."""
    with tempfile.TemporaryDirectory(prefix="cs-bench-") as folder, running(Path(folder), settings=settings) as rig:
        yield Worker(rig, traffic)


@contextmanager
def media_worker_of_openssl(traffic: Traffic) -> Iterator[Receiver]:
    """The same where no multi-buffer library is installed."""
    with media_worker(traffic, '[media]\nengine = "openssl"\n') as receiver:
        yield receiver


class Spawned:
    """A receiver of our own in Python, asked through a pipe."""

    def __init__(self, line: Connection, pid: int) -> None:
        self._line = line
        self.pid = pid
        self.ports: list[int] = line.recv()

    def count(self) -> int:
        """By its own counters."""
        self._line.send("count")
        return int(self._line.recv())


@contextmanager
def per_packet_asyncio(traffic: Traffic) -> Iterator[Receiver]:
    """asyncio with one callback a packet and libsrtp; the same sealing and spool; no guards, timeline, counters or RTCP."""
    with _spawned(per_packet.run, traffic) as receiver:
        yield receiver


@contextmanager
def kernel_floor(traffic: Traffic) -> Iterator[Receiver]:
    """Receive and drop: the same sockets drained by the same batches, and nothing done with them."""
    with _spawned(floor.run, traffic) as receiver:
        yield receiver


@contextmanager
def _spawned(run: object, traffic: Traffic) -> Iterator[Receiver]:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=run, args=(traffic.suite, traffic.keys, RECEIVER_CORE, there))  # type: ignore[arg-type]
    process.start()
    assert process.pid is not None
    try:
        yield Spawned(here, process.pid)
        here.send("stop")
    finally:
        process.join(10)
        process.kill()


def pin(pid: int) -> None:
    """Keep every thread of a process on the receiver's core."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {RECEIVER_CORE})


def cpu_of(pid: int) -> float:
    """CPU seconds of a process, over its live threads, by the kernel's account in nanoseconds: what its getrusage adds up to."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir()) / 1e9


def memory_of(pid: int) -> int:
    """Bytes of memory that a process holds now (VmRSS)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmRSS")))
