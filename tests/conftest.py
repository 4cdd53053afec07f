"""What all tests share: the whole stack as one fixture, and the count of published vectors."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import settings

from callseal.cli.calls import write_json
from callseal.config.settings import Config, load_config
from callseal.store.calls import list_calls
from callseal.store.database import Database
from callseal.store.events import read_events

ROOT = Path(__file__).resolve().parent.parent
VECTORS = ROOT.parent / "shared" / "vectors"
settings.register_profile("any machine", deadline=None)  # a slow moment of the machine is no fault of a rule
settings.load_profile("any machine")


def _named(event: dict[str, Any]) -> list[str]:
    """The recordings that an event is about."""
    return [event["recording"]] if event["recording"] else [row[0] for row in event["data"].get("parts", [])]


class Stack:
    """`callseal up` with a data folder of its own, real processes and free ports.

    `surroundings` is added to its environment, `shut_in` is called in `callseal up` before its program begins.
    """

    def __init__(
        self, folder: Path, settings: str = "", surroundings: dict[str, str] | None = None, shut_in: Callable[[], None] | None = None
    ) -> None:
        self.surroundings, self.shut_in = surroundings or {}, shut_in
        self.file = folder / "callseal.toml"
        self.file.write_text(
            f'data = "{folder / "data"}"\n[sip]\nport = 0\n[web]\nport = 0\n[media]\n{settings}', encoding="utf-8"
        )
        self.config: Config = load_config(self.file)
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "callseal.cli.main", "up", "--config", str(self.file)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self.environment, start_new_session=True,
            preexec_fn=self.shut_in,
        )  # fmt: skip
        assert self.process.stdout is not None
        said = ""
        for line in self.process.stdout:
            said += line
            if "Console at" in line:
                return
        raise AssertionError(f"callseal up ended: {said}\n{self.logs()}")

    @property
    def environment(self) -> dict[str, str]:
        return dict(os.environ, CALLSEAL_CONFIG=str(self.file), PYTHONDONTWRITEBYTECODE="1", **self.surroundings)

    @property
    def data(self) -> Path:
        return self.config.data

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(40)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise
        finally:
            assert self.process.stdout is not None
            self.process.stdout.close()

    def pid(self, name: str) -> int:
        """The process id of a daemon, as the supervisor publishes it."""
        return int(json.loads((self.config.run / "supervisor.json").read_text())[name]["pid"])

    def wait_started_again(self, name: str, before: int, timeout: float = 30) -> None:
        """Wait until a daemon whose process `before` was killed is ready again."""
        end = time.monotonic() + timeout
        state = self.config.run / "supervisor.json"
        while (child := json.loads(state.read_text())[name])["pid"] in (None, before) or not child["ready"]:
            assert time.monotonic() < end, f"{name} was not started again\n{self.logs()}"
            time.sleep(0.05)

    def address(self, name: str) -> str:
        return (self.config.run / f"{name}.address").read_text().strip()

    def console(self) -> str:
        return f"http://localhost:{self.address('web').rpartition(':')[2]}"

    def invites(self) -> dict[str, str]:
        """First-run tokens by role."""
        path = self.data / "custodian" / "first-run.json"
        return {invite["role"]: invite["token"] for invite in json.loads(path.read_text())}

    def cli(self, arguments: list[str], timeout: float = 120, **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "callseal.cli.main", *arguments],
            capture_output=True, text=True, timeout=timeout, env=self.environment, check=False, **options,
        )  # fmt: skip

    def events(self, kind: str | None = None, recording: str | None = None) -> list[dict[str, Any]]:
        found = []
        for source in ("sip", *self.config.media_names, "web", "watcher", "custodian"):
            folder = self.data / "events" / source
            if folder.is_dir():
                found += read_events(self.data / "events", source, 0, 1_000_000)
        return [
            event for event in found
            if (kind is None or event["type"] == kind) and (recording is None or recording in _named(event))
        ]  # fmt: skip

    def wait_event(self, kind: str, recording: str | None = None, timeout: float = 30, after: int = 0) -> dict[str, Any]:
        """The first event of a kind (beyond `after` of them), as soon as it is written."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            found = self.events(kind, recording)
            if len(found) > after:
                return found[after]
            time.sleep(0.05)
        raise AssertionError(f"no {kind} within {timeout} s; seen: {[e['type'] for e in self.events()]}\n{self.logs()}")

    def calls(self) -> list[dict[str, Any]]:
        """The calls as `callseal calls --json` shows them, without starting it: newest first."""
        database = Database(self.config.database_url)
        try:
            with database.read() as connection:
                return list(json.loads(write_json(list_calls(connection))))
        finally:
            database.close()

    def wait_call(self, state: str, recording: str | None = None, timeout: float = 60) -> dict[str, Any]:
        """A call (where none is named: the one that started last), as soon as it has this state."""
        end = time.monotonic() + timeout
        shown: list[dict[str, Any]] = []
        while time.monotonic() < end:
            shown = self.calls()
            wanted = recording or next((event["recording"] for event in reversed(self.events("CallStarted"))), None)
            for call in shown:
                if call["state"] == state and call["recording"] == wanted:
                    return call
            time.sleep(0.05)
        raise AssertionError(f"no call {state} within {timeout} s; shown: {shown}\n{self.logs()}")

    def logs(self) -> str:
        return "\n".join(
            f"--- {path.name}\n{path.read_text(errors='replace')[-3000:]}" for path in sorted((self.data / "logs").glob("*.log"))
        )


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """The whole line, running; one for each test file."""
    with TemporaryDirectory(prefix="cs-", dir="/tmp") as folder:
        running = Stack(Path(folder))
        running.start()
        try:
            yield running
        finally:
            running.stop()


@pytest.fixture
def new_stack() -> Iterator[Stack]:
    """A stack of one test's own, not yet started; for tests that kill or change it."""
    with TemporaryDirectory(prefix="cs-", dir="/tmp") as folder:
        own = Stack(Path(folder))
        yield own
        if own.process is not None and own.process.poll() is None:
            own.stop()


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder with a path short enough for Unix sockets."""
    with TemporaryDirectory(prefix="cs-", dir="/tmp") as folder:
        yield Path(folder)


_PUBLISHED = "published_vectors"
PUBLISHED_FLOOR = 1700
"""What ../shared/vectors holds for what is built; `make test` fails where fewer ran."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--every-promise", action="store_true", help="a full run: fail where published vectors were left out")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" and report.passed:
        for name, value in report.user_properties:
            if name == _PUBLISHED:
                _SEEN[report.nodeid] = int(str(value))


_SEEN: dict[str, int] = {}


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if _SEEN:
        terminalreporter.write_line(f"published vectors run: {sum(_SEEN.values())} in {len(_SEEN)} tests")


def allowed_skips() -> list[re.Pattern[str]]:
    lines = (ROOT / "tests" / "allowed_skips.txt").read_text().splitlines()
    return [re.compile(line) for line in lines if line.strip() and not line.startswith("#")]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that start real processes go first: they mostly wait, and the short ones fill the gaps to the end."""
    real = {item.path for item in items if item.get_closest_marker("real") or item.get_closest_marker("browser")}
    items.sort(key=lambda item: item.path not in real)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A full run fails where published vectors were left out; with CI=true, so does a skip that is not allowed."""
    if hasattr(session.config, "workerinput"):
        return
    ran = sum(_SEEN.values())
    if session.config.getoption("--every-promise") and VECTORS.exists() and ran < PUBLISHED_FLOOR:
        print(f"\npublished vectors: expected at least {PUBLISHED_FLOOR}, ran {ran}")
        session.exitstatus = 1
    if os.environ.get("CI") != "true":
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    patterns = allowed_skips()
    unexpected = [report.nodeid for report in skipped if not any(pattern.search(report.nodeid) for pattern in patterns)]
    if unexpected:
        print("\nskips that tests/allowed_skips.txt does not allow:\n  " + "\n  ".join(unexpected))
        session.exitstatus = 1
