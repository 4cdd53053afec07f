"""The supervisor: starts every daemon in order, waits until each is ready, restarts what dies, stops all cleanly.

It reads no key and no recording; it is the parent, so that nothing outlives it (PR_SET_PDEATHSIG). For `sip` and for each media
worker it holds memory files open, which it never reads: what a killed one left there (dialogs, replay state), its successor takes
up.
Invariants: one supervisor for each data folder (flock); a daemon that dies is restarted with a growing pause, for ever;
stopping is in reverse order, and a daemon that does not end in time is killed.
"""

import asyncio
import fcntl
import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from callseal.config.settings import Config
from callseal.daemons.lifecycle import KEPT_FDS, READY_FD
from callseal.daemons.process import forbid_dumps
from callseal.daemons.turn import find_coturn
from callseal.errors import Conflict, Unavailable
from callseal.model.clock import format_time
from callseal.store.files import write_atomic
from callseal.store.memory_log import make_memory_files

READY_SECONDS = 30.0
STOP_SECONDS = 10.0
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 10.0
START_TRIES = 3
_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def order_of(config: Config) -> tuple[tuple[str, ...], ...]:
    """The daemons of this installation, in the order in which they start; those of one row start together."""
    private = config.private
    witness = [("witness",)] if private.enabled and private.witness == "local" else []
    turn = [("turn",)] if private.enabled and not private.turn_urls and find_coturn() else []
    return (("custodian",), *witness, ("watcher",), config.media_names, ("sip",), *turn, ("web",))


@dataclass
class Child:
    """One daemon under supervision."""

    name: str
    process: asyncio.subprocess.Process | None = None
    restarts: int = 0
    started_at: datetime | None = None
    was_ready: bool = False
    pause_seconds: float = FIRST_PAUSE_SECONDS
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    hopeless: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when it never became ready and ended as often as `START_TRIES`: the start is given up."""


def take_lock(config: Config) -> IO[str]:
    """Be the only supervisor of this data folder for as long as the file stays open. Raises Conflict."""
    lock = (config.run / "supervisor.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise Conflict(f"another `callseal up` runs with the data folder {config.data}") from error
    return lock


class Supervisor:
    """Keeps the daemons of one installation running until `stop` is set."""

    def __init__(self, config: Config, config_file: Path, tell: Callable[[str], None]) -> None:
        self._config = config
        self._config_file = config_file
        self._tell = tell
        self._rows = order_of(config)
        self._children = {name: Child(name) for row in self._rows for name in row}
        self._kept = {name: make_memory_files(name) for name in ("sip", *config.media_names)}
        self.stopping = asyncio.Event()

    def pid(self, name: str) -> int | None:
        """The process id of a running daemon."""
        process = self._children[name].process
        return process.pid if process is not None and process.returncode is None else None

    async def run(self, on_ready: Callable[[], object] | None = None) -> int:
        """Start all, keep all, and on `stopping` end all; returns the exit code."""
        forbid_dumps()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)
        keepers: list[asyncio.Task[None]] = []
        try:
            for row in self._rows:
                children = [self._children[name] for name in row]
                keepers += [asyncio.create_task(self._keep(child)) for child in children]
                if not all([await self._wait_ready(child) for child in children]):
                    break
            if not self.stopping.is_set() and on_ready is not None:
                on_ready()
            await self.stopping.wait()
            return 0
        finally:
            self.stopping.set()
            await self._end_all(keepers)
            self._write_state()

    async def _wait_ready(self, child: Child) -> bool:
        """True when the daemon is ready, False when we are stopping; raises Unavailable when it will not start."""
        waits = {event: asyncio.create_task(event.wait()) for event in (child.ready, child.hopeless, self.stopping)}
        try:
            await asyncio.wait(waits.values(), timeout=READY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits.values():
                task.cancel()
        if self.stopping.is_set():
            return False
        if not child.ready.is_set():
            raise Unavailable(
                f"{child.name} does not start: {_last_line(self._log_path(child))} "
                f"(its log: {self._log_path(child)}; `callseal doctor` names what is wrong)"
            )
        return True

    async def _keep(self, child: Child) -> None:
        """Run one daemon, again and again, until the supervisor stops."""
        while not self.stopping.is_set():
            began = asyncio.get_running_loop().time()
            code = await self._run_once(child)
            if self.stopping.is_set():
                return
            if asyncio.get_running_loop().time() - began > 60:
                child.pause_seconds = FIRST_PAUSE_SECONDS
            child.restarts += 1
            if child.restarts >= START_TRIES and not child.was_ready:
                child.hopeless.set()
                return
            self._tell(f"{child.name} ended ({_describe(code)}); starting it again in {child.pause_seconds:.1f} s")
            self._write_state()
            with suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), child.pause_seconds)
            child.pause_seconds = min(child.pause_seconds * 2, LONGEST_PAUSE_SECONDS)

    async def _run_once(self, child: Child) -> int:
        receiver, sender = os.pipe()
        environment = dict(os.environ, **dict.fromkeys(_THREADS, "1"), **{READY_FD: str(sender)})
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
        kept = self._kept.get(child.name, ())
        if kept:
            environment[KEPT_FDS] = ",".join(map(str, kept))
        with self._log_path(child).open("ab") as log:
            try:
                child.process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "callseal.daemons", *_program_of(child.name), "--config", str(self._config_file),
                    stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
                    pass_fds=(sender, *kept), start_new_session=True,
                )  # fmt: skip
            finally:
                os.close(sender)
        child.started_at = datetime.now(UTC)
        self._write_state()
        reading = asyncio.create_task(self._read_ready(child, receiver))
        try:
            return await child.process.wait()
        finally:
            reading.cancel()
            child.ready.clear()
            with suppress(OSError):
                os.close(receiver)

    async def _read_ready(self, child: Child, receiver: int) -> None:
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(receiver, readable.set)
        try:
            await readable.wait()
            if os.read(receiver, 16).startswith(b"READY"):
                child.was_ready = True
                child.ready.set()
                self._write_state()
        finally:
            loop.remove_reader(receiver)

    async def _end_all(self, keepers: list[asyncio.Task[None]]) -> None:
        for child in reversed(self._children.values()):
            process = child.process
            if process is None or process.returncode is not None:
                continue
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), STOP_SECONDS)
            except TimeoutError:
                self._tell(f"{child.name} did not end within {STOP_SECONDS:.0f} s; killing it")
                process.kill()
                await process.wait()
        await asyncio.gather(*keepers, return_exceptions=True)

    def _log_path(self, child: Child) -> Path:
        return self._config.data / "logs" / f"{child.name}.log"

    def _write_state(self) -> None:
        """`run/supervisor.json`: who runs, since when, restarted how often; for the health page, doctor and tests."""
        state = {
            name: {
                "pid": self.pid(name),
                "ready": child.ready.is_set(),
                "restarts": child.restarts,
                "started_at": format_time(child.started_at) if child.started_at else None,
            }
            for name, child in self._children.items()
        }
        with suppress(OSError):  # a full disk keeps no daemon from its restart
            write_atomic(self._config.run / "supervisor.json", json.dumps(state).encode())


def _program_of(name: str) -> list[str]:
    """How a daemon is named on its command line: `media-1` is worker 1 of `media`."""
    program, _, worker = name.partition("-")
    return [program, "--worker", worker] if worker else [program]


def _describe(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1][-300:] if lines else "it said nothing"
