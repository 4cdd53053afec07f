"""How a daemon begins, says that it is ready, and ends.

1. `start` sets the log, forbids dumps, ties the process to its supervisor.
2. The daemon opens what it needs and shuts itself in with `confine`.
3. `ready` publishes its address and tells the supervisor and systemd (sd_notify(3)).
4. SIGTERM or SIGINT sets `stopping`; the daemon finishes what it owes and returns its exit code.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import structlog

import callseal
from callseal.config.folders import is_shared
from callseal.config.settings import Config
from callseal.daemons.landlock import restrict
from callseal.daemons.log import set_up_log
from callseal.daemons.log_writer import LogWriter
from callseal.daemons.process import die_with_parent, forbid_dumps, lock_memory
from callseal.store.files import make_folder, write_atomic
from callseal.store.memory_log import MemoryLog, make_memory_files

READY_FD = "CALLSEAL_READY_FD"
KEPT_FDS = "CALLSEAL_KEPT_FDS"
"""Two memory files of the supervisor's, as `A,B`."""
_FIRST_LISTEN_FD = 3
_SYSTEM = ("/usr", "/lib", "/lib64", "/etc", "/proc", "/sys/devices/system/cpu", "/dev/urandom", "/dev/random")


class Lifecycle:
    """One daemon's life. `stopping` is set when it should end; `landlock` is the ABI that holds it, 0 for none."""

    def __init__(self, name: str, config: Config, log_writer: LogWriter | None = None) -> None:
        self.name = name
        self._log_writer = log_writer
        self.config = config
        self.stopping = asyncio.Event()
        self.landlock = 0
        self.memory_locked = False
        self.log = structlog.get_logger()

    def confine(
        self, read: Iterable[Path] = (), write: Iterable[Path] = (), *, listen: bool = False, connect: bool = False,
        connect_port: int = 0,
    ) -> None:
        """Shut this process in (Landlock): the interpreter's own files, `read` and `write`; TCP only as said.

        Call it before a thread is started. Folders of `write` are made where they are missing.
        Raises OSError where the kernel has Landlock and refuses.
        """
        write = list(write)
        for folder in write:
            if not folder.exists():
                make_folder(folder)
        system = [*_SYSTEM, sys.prefix, sys.base_prefix, str(Path(callseal.__file__).parent.parent)]
        readable = [*(Path(path) for path in system if Path(path).exists()), *(path for path in read if path.exists())]
        self.landlock = restrict(readable, [*write, Path("/dev/null")], listen=listen, connect=connect, connect_port=connect_port)
        if self._log_writer is not None:
            self._log_writer.start()
        self.log.info("confined", landlock=self.landlock, memory_locked=self.memory_locked)

    def open_memory(self) -> MemoryLog:
        """Memory that outlives this process: of the supervisor, of systemd's file descriptor store, or, alone, its own."""
        if handed := os.environ.pop(KEPT_FDS, ""):
            first, second = (int(number) for number in handed.split(","))
            return MemoryLog((first, second))
        names = os.environ.pop("LISTEN_FDNAMES", "").split(":")
        if os.environ.pop("LISTEN_PID", "") == str(os.getpid()) and names[:2] == ["memory-a", "memory-b"]:
            return MemoryLog((_FIRST_LISTEN_FD, _FIRST_LISTEN_FD + 1))
        files = make_memory_files(self.name)
        for name, file in zip(("memory-a", "memory-b"), files, strict=True):
            _notify_systemd(f"FDSTORE=1\nFDNAME={name}".encode(), file)
        return MemoryLog(files)

    def ready(self, address: str) -> None:
        """Publish where this daemon is reached (`host:port` or a socket's path) in `run/NAME.address`, and say READY."""
        try:
            write_atomic(self.config.run / f"{self.name}.address", f"{address}\n".encode())
        except OSError as error:  # a full disk keeps no recorder from its work
            self.log.error("address not published", address=address, why=error.strerror)
        if handle := os.environ.pop(READY_FD, ""):
            os.write(int(handle), b"READY\n")
            os.close(int(handle))
        _notify_systemd(b"READY=1")
        self.log.info("ready")

    def run(self, main: Callable[[], Awaitable[int]]) -> int:
        """Run the daemon's coroutine with SIGTERM and SIGINT turned into `stopping`; returns its exit code."""

        async def with_signals() -> int:
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self.stopping.set)
            return await main()

        code = asyncio.run(with_signals())
        self.log.info("stopped", code=code)
        return code


def start(name: str, config: Config) -> Lifecycle:
    """Begin a daemon: log, no dumps, no swap where allowed, and an end when the supervisor ends."""
    os.umask(0o027 if is_shared(config.run) else 0o077)
    log_writer = set_up_log(name, config.log_level)
    forbid_dumps()
    if READY_FD in os.environ:
        die_with_parent()
    config.run.mkdir(parents=True, exist_ok=True, mode=0o700)
    lifecycle = Lifecycle(name, config, log_writer)
    lifecycle.memory_locked = lock_memory()
    return lifecycle


def _notify_systemd(state: bytes, *files: int) -> None:
    """sd_notify(3), and with a file sd_pid_notify_with_fds(3)."""
    target = os.environ.get("NOTIFY_SOCKET", "")
    if not target:
        return
    address = "\0" + target[1:] if target.startswith("@") else target
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notifier:
        notifier.connect(address)  # socket.send_fds leaves its own address out
        if files:
            socket.send_fds(notifier, [state], list(files))
        else:
            notifier.send(state)
