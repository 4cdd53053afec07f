"""The web daemon: the console on one socket, shut in so that it reads sealed objects and the log, and no key.

1. Bind the socket, bring the database to this version. 2. Shut the process in. 3. Wire the console's parts.
4. Serve until stopped; live pages are let go first.

Invariants: nothing that this process can read opens a recording; keys come from the custodian for one opening, to memory only.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import uvicorn

from callseal.config.settings import Config
from callseal.console.app import make_app, make_parts
from callseal.daemons.lifecycle import Lifecycle, start
from callseal.errors import ConfigError
from callseal.keyring.client import Keyring
from callseal.store.database import Database
from callseal.store.events import EventWriter
from callseal.store.files import make_folder
from callseal.store.objects import ObjectStore

BACKLOG = 256
CONNECTIONS = 1000
GRACE_SECONDS = 3


def run(config: Config) -> int:
    """Serve the console until stopped; returns the exit code. Raises ConfigError where the port is taken."""
    lifecycle = start("web", config)
    listener = _bind(config)  # 1
    database = Database(config.database_url)
    database.migrate()
    data = config.data
    shown = [data / name for name in ("objects", "log")]
    for folder in shown:
        make_folder(folder)
    lifecycle.confine(  # 2
        read=shown,
        write=[config.run, data / "database", data / "events" / "web"],
        listen=True,
    )
    with EventWriter(data / "events", "web") as events:

        def note(kind: str, recording: str | None, facts: dict[str, Any]) -> None:
            events.write(kind, recording, facts, datetime.now(UTC))
            events.sync()

        async def main() -> int:
            return await _serve(lifecycle, config, listener, database, note)

        return lifecycle.run(main)


class _Server(uvicorn.Server):
    """Uvicorn without its own signal handlers, for the lifecycle has them; `when_started` is called when it listens."""

    when_started: Callable[[], None]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.when_started()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _serve(lifecycle: Lifecycle, config: Config, listener: socket.socket, database: Database, note: Any) -> int:
    keyring = Keyring(config.custodian_socket)
    objects = ObjectStore(config.data / "objects")
    parts = make_parts(config, keyring, database, objects, note, time.monotonic, lambda: datetime.now(UTC))  # 3
    server = _Server(
        uvicorn.Config(
            make_app(parts), log_config=None, access_log=False, server_header=False, proxy_headers=False, ws="none",
            limit_concurrency=CONNECTIONS, backlog=BACKLOG, timeout_keep_alive=30, timeout_graceful_shutdown=GRACE_SECONDS,
        )
    )  # fmt: skip
    host, port = listener.getsockname()[:2]
    server.when_started = lambda: lifecycle.ready(f"{host}:{port}")
    note("WorkerStarted", None, {"instance": f"web-{os.getpid()}", "pid": os.getpid()})
    serving = asyncio.create_task(server.serve([listener]))  # 4
    stopped = asyncio.create_task(lifecycle.stopping.wait())
    await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
    parts.live.stop()
    server.should_exit = True
    await serving
    stopped.cancel()
    note("WorkerStopped", None, {"instance": f"web-{os.getpid()}", "pid": os.getpid()})
    database.close()
    return 0 if lifecycle.stopping.is_set() else 70


def _bind(config: Config) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.web.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((config.web.host, config.web.port))
    except OSError as error:
        raise ConfigError(f"web: cannot listen on {config.web.host}:{config.web.port}: {error.strerror}") from error
    return listener
