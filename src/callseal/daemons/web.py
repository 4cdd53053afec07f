"""The web daemon: the console on one socket, the customers' page of private calls on another, shut in without any key.

1. Bind the sockets, bring the database to this version. 2. Shut the process in. 3. Wire the console's parts.
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
from callseal.daemons.private_line import make_private
from callseal.daemons.turn import prepare_turn_secret
from callseal.errors import ConfigError
from callseal.keyring.client import Keyring
from callseal.store.database import Database
from callseal.store.events import EventWriter
from callseal.store.files import make_folder, write_atomic
from callseal.store.objects import ObjectStore
from callseal.web.line import FRAME_LIMIT_BYTES

BACKLOG = 256
CONNECTIONS = 1000
GRACE_SECONDS = 3


def run(config: Config) -> int:
    """Serve the console until stopped; returns the exit code. Raises ConfigError where the port is taken."""
    lifecycle = start("web", config)
    listeners = [_bind("web", config.web.host, config.web.port)]  # 1
    if config.private.enabled:
        listeners.append(_bind("private", config.private.host, config.private.port))
    database = Database(config.database_url)
    database.migrate()
    data = config.data
    shown = [data / name for name in ("objects", "log", "witness", "records")]
    secret = prepare_turn_secret(config) if config.private.enabled else ""
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
            return await _serve(lifecycle, config, listeners, database, note, secret)

        return lifecycle.run(main)


class _Server(uvicorn.Server):
    """Uvicorn without its own signal handlers, for the lifecycle has them; `when_started` is called when it listens."""

    when_started: Callable[[], None] = staticmethod(lambda: None)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.when_started()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _serve(
    lifecycle: Lifecycle, config: Config, listeners: list[socket.socket], database: Database, note: Any, secret: str
) -> int:
    keyring = Keyring(config.custodian_socket)
    objects = ObjectStore(config.data / "objects")
    private = make_private(config, keyring, database, secret) if len(listeners) > 1 else None
    parts = make_parts(  # 3
        config, keyring, database, objects, note, time.monotonic, lambda: datetime.now(UTC), private.desk if private else None
    )
    servers = [_server(make_app(parts))]
    if private is not None:
        servers.append(_server(private.portal))
        _publish(config, "private", listeners[1])
    host, port = listeners[0].getsockname()[:2]
    servers[-1].when_started = lambda: lifecycle.ready(f"{host}:{port}")
    note("WorkerStarted", None, {"instance": f"web-{os.getpid()}", "pid": os.getpid()})
    ticking = asyncio.create_task(private.tick()) if private is not None else None
    serving = {asyncio.create_task(server.serve([listener])) for server, listener in zip(servers, listeners, strict=True)}  # 4
    stopped = asyncio.create_task(lifecycle.stopping.wait())
    await asyncio.wait({*serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
    parts.live.stop()
    if private is not None and ticking is not None:
        ticking.cancel()
        await private.stop()
    for server in servers:
        server.should_exit = True
    await asyncio.gather(*serving)
    stopped.cancel()
    note("WorkerStopped", None, {"instance": f"web-{os.getpid()}", "pid": os.getpid()})
    database.close()
    return 0 if lifecycle.stopping.is_set() else 70


def _server(app: Any) -> "_Server":
    return _Server(
        uvicorn.Config(
            app, log_config=None, access_log=False, server_header=False, proxy_headers=False, ws="websockets-sansio",
            ws_max_size=FRAME_LIMIT_BYTES, ws_per_message_deflate=False, limit_concurrency=CONNECTIONS, backlog=BACKLOG,
            timeout_keep_alive=30, timeout_graceful_shutdown=GRACE_SECONDS,
        )
    )  # fmt: skip


def _publish(config: Config, name: str, listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    write_atomic(config.run / f"{name}.address", f"{host}:{port}\n".encode())


def _bind(name: str, host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        raise ConfigError(f"{name}: cannot listen on {host}:{port}: {error.strerror}") from error
    return listener
