"""What setting up a call costs: INVITE to 200 OK, p50 and p99, at rising rates of new calls on one core, until calls are lost.

The recorder is the real line (`callseal up`): its signalling and its media worker share one core, the phone has the other. Every
call is a full one: INVITE with SDES offer and metadata over one TLS connection, 200 OK, ACK, a second's hold without voice, BYE.
Beside it, interleaved in the same run, stands the least that such a server can do: OPTIONS, answered by the same process without
media, event or dialog. A call is lost that is refused or has no answer in 4 s; a sender over 250 ms behind ends the run too.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from callseal.errors import CallsealError
from callseal.phone.call import Call, Plan
from callseal.phone.line import Destination, Line
from callseal.phone.message import write_request

RECORDER_CORE, PHONE_CORE = 0, 1
RECORDER = ("sip", "media-0")
RATES = (25, 50, 100, 150, 200, 300, 400)
HOLD_SECONDS = 1.0
ANSWER_SECONDS = 4.0
MOST_BEHIND_SECONDS = 0.25
SILENCE = [[b"\xd5" * 160], [b"\xd5" * 160]]


@dataclass
class Found:
    """One rate of one way: each answer's time in ms, what had none, and how late the sender was at worst."""

    answered: list[float] = field(default_factory=list)
    lost: int = 0
    behind: float = 0.0

    def quantile(self, share: float) -> float:
        """In ms."""
        ordered = sorted(self.answered)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def run(rates: tuple[int, ...] = RATES, seconds: float = 4.0, runs: int = 2) -> int:
    """Measure and print. Returns 0; a rate at which calls are lost ends the run, and is the result."""
    with tempfile.TemporaryDirectory(prefix="cs-bench-", dir="/tmp") as folder:
        line = _start(Path(folder))
        try:
            print(f"INVITE to 200 OK on one core, {seconds:g} s a rate, {runs} interleaved runs, all answers together\n")
            print(f"{'calls/s':>8}  {'way':34}{'answers':>8}{'p50 ms':>9}{'p99 ms':>9}{'lost':>6}{'behind ms':>11}{'CPU ms':>9}")
            for rate in rates:
                if why := _rate(Path(folder), rate, seconds, runs):
                    print(f"\nended at {rate} new calls a second: {why}")
                    return 0
        finally:
            line.terminate()
            line.wait(60)
    return 0


def _rate(folder: Path, rate: int, seconds: float, runs: int) -> str:
    """One rate, every way; why no higher one is tried, empty where one is."""
    found = {"INVITE, media, event, 200 OK": Found(), "OPTIONS, 200 OK": Found()}
    cost: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(runs):
        for (name, into), way in zip(found.items(), (_invite, _options), strict=True):
            before = _cpu_seconds(folder)
            asyncio.run(_pace(folder, rate, seconds, way, into))
            cost[name].append((_cpu_seconds(folder) - before) / (rate * seconds) * 1000)
    for name, one in found.items():
        times = f"{one.quantile(0.5):9.1f}{one.quantile(0.99):9.1f}"
        rest = f"{one.lost:6}{one.behind * 1000:11.0f}{statistics.median(cost[name]):9.2f}"
        print(f"{rate:8}  {name:34}{len(one.answered):8}{times}{rest}")
    ours = next(iter(found.values()))
    if ours.lost:
        return f"{ours.lost} calls were lost"
    return "no call was lost, and the sender itself fell behind" if ours.behind > MOST_BEHIND_SECONDS else ""


async def _pace(folder: Path, rate: int, seconds: float, way, into: Found) -> None:  # type: ignore[no-untyped-def]
    """Begin `rate` a second by the clock, whatever the answers."""
    destination = _destination(folder)
    line = await Line.connect(destination)
    tasks = []
    began = time.monotonic()
    for number in range(round(rate * seconds)):
        wait = began + number / rate - time.monotonic()
        into.behind = max(into.behind, -wait)
        if wait > 0:
            await asyncio.sleep(wait)
        tasks.append(asyncio.create_task(way(line, destination, into)))
    await asyncio.gather(*tasks)
    await line.close()


async def _invite(line: Line, destination: Destination, into: Found) -> None:
    call = Call(line, destination, Plan(), SILENCE)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await call.invite()
        into.answered.append(call.setup_ms)
        await asyncio.sleep(HOLD_SECONDS)
        await call.bye()
    except (CallsealError, TimeoutError):
        into.lost += 1
    finally:
        call.close()


async def _options(line: Line, destination: Destination, into: Found) -> None:
    branch = f"z9hG4bK{os.urandom(8).hex()}"
    headers = [
        ("Via", f"SIP/2.0/TLS 127.0.0.1;branch={branch}"), ("Max-Forwards", "70"), ("CSeq", "1 OPTIONS"),
        ("From", f"<sip:bench@localhost>;tag={branch}"), ("To", f"<{destination.uri}>"), ("Call-ID", f"{branch}@bench"),
    ]  # fmt: skip
    began = time.perf_counter()
    try:
        await line.request(branch, "OPTIONS", write_request("OPTIONS", destination.uri, headers, b""), ANSWER_SECONDS)
    except CallsealError:
        into.lost += 1
        return
    into.answered.append((time.perf_counter() - began) * 1000)


def _start(folder: Path) -> subprocess.Popen[str]:
    """The whole line with its data in `folder/data`: signalling and media on their one core, everything else on the phone's."""
    file = folder / "callseal.toml"
    file.write_text(f'data = "{folder / "data"}"\n[sip]\nport = 0\n[web]\nport = 0\n')
    command = [sys.executable, "-m", "callseal.cli.main", "up", "--config", str(file)]
    line = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert line.stdout is not None
    assert any("Console at" in said for said in line.stdout), "callseal up did not start"
    processes = _processes(folder)
    for name, pid in processes.items():
        core = RECORDER_CORE if name in RECORDER else PHONE_CORE
        for task in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), {core if (os.cpu_count() or 1) > 1 else RECORDER_CORE})
    return line


def _processes(folder: Path) -> dict[str, int]:
    state = json.loads((folder / "data" / "run" / "supervisor.json").read_text())
    return {name: int(child["pid"]) for name, child in state.items() if child["pid"]}


def _cpu_seconds(folder: Path) -> float:
    """What signalling and media have used."""
    ticks = 0
    for name, pid in _processes(folder).items():
        if name in RECORDER:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _destination(folder: Path) -> Destination:
    data = folder / "data"
    host, _, port = (data / "run" / "sip.address").read_text().strip().rpartition(":")
    tls = data / "tls"
    return Destination(host, int(port), "localhost", tls / "ca.pem", tls / "phone.pem", tls / "phone.key")
