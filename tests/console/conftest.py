"""The console fixture: uvicorn on a free port over the real database, objects and vault."""

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from callseal.config.settings import Config, Web
from callseal.console.app import make_app, make_parts
from callseal.store.database import Database
from callseal.store.objects import ObjectStore
from tests.console.custodian import TestCustodian
from tests.console.running import RunningConsole


@pytest.fixture
def console(tmp_path: Path) -> Iterator[RunningConsole]:
    """The console over a fresh data folder."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    config = replace(Config(data=tmp_path), business="Test Surgery", web=Web(port=port))
    for name in ("run", "log", "spool", "objects"):
        (tmp_path / name).mkdir()
    database = Database(config.database_url)
    database.migrate()
    url = f"http://localhost:{port}"
    custodian = TestCustodian(url)
    noted: list[tuple[str, str | None, dict[str, Any]]] = []
    offset = [0.0]
    parts = make_parts(
        config, custodian, database, ObjectStore(tmp_path / "objects"), lambda *event: noted.append(event),
        lambda: time.monotonic() + offset[0], lambda: datetime.now(UTC),
    )  # fmt: skip
    app = make_app(parts)
    server = uvicorn.Server(
        uvicorn.Config(app, log_config=None, access_log=False, proxy_headers=False, timeout_graceful_shutdown=2)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    end = time.monotonic() + 20
    while not server.started and time.monotonic() < end and thread.is_alive():
        time.sleep(0.01)
    assert server.started
    try:
        yield RunningConsole(url, config, custodian, parts, noted, offset, app.app)
    finally:
        parts.live.stop()
        server.should_exit = True
        thread.join(15)
        listener.close()
        database.close()
