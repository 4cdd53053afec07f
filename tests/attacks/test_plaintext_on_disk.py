"""Nothing that was spoken reaches the disk: not during a call, not after it, not when any process is killed in the middle.

The positive control is a recorder that does not seal: the same search finds what it kept.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

import pytest

from callseal.phone.marks import read_marks
from tests.certificates import Authority
from tests.conftest import Stack
from tests.plaintext_search import Hit, PlaintextSearch, forms_for
from tests.unsealed_recorder import UnsealedRecorder

pytestmark = pytest.mark.real

SECONDS = 4
KILLED = (None, "media", "sip", "watcher", "custodian", "web")
MEMORY = Path("/dev/shm")  # the marks hold what was spoken: they are kept off the disk


@pytest.fixture
def marks() -> Iterator[Path]:
    with TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder) / "marks.jsonl"


def _places(stack: Stack) -> list[Path]:
    """Where a process of this stack can write: its data folder, temporary folders, its user's home."""
    home = [Path.home() / name for name in (".cache", ".local", ".config")]
    return [stack.data, Path(gettempdir()), Path("/var/tmp"), Path("/var/lib/systemd/coredump"), *home]


def _speak(stack: Stack, marks: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "callseal.cli.main", "call", "--synthetic", "--seconds", str(SECONDS), "--marks", str(marks)],
        env=stack.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def _detector(marks: Path) -> PlaintextSearch:
    by_track: dict[tuple[int, str], list[bytes]] = {}
    for mark in read_marks(marks):
        by_track.setdefault((mark.call, mark.label), []).extend(mark.payloads)
    assert len(by_track) == 2
    return PlaintextSearch([b"".join(payloads) for payloads in by_track.values()], forms_for("PCMA"))


def _search(detector: PlaintextSearch, stack: Stack) -> list[Hit]:
    hits = detector.search(_places(stack))
    hidden = [path for path in detector.unreadable if path.exists() and path.is_relative_to(stack.data)]
    assert not hidden, f"could not be searched: {hidden}"
    return hits


@pytest.mark.timeout(180)
@pytest.mark.parametrize("victim", KILLED)
def test_no_spoken_byte_reaches_the_disk(new_stack: Stack, marks: Path, victim: str | None) -> None:
    new_stack.start()
    speaking = _speak(new_stack, marks)
    started = new_stack.wait_event("Sealed", timeout=40)
    detector = _detector(marks)
    assert not _search(detector, new_stack), "speech on the disk during the call"
    if victim is not None:
        os.kill(new_stack.pid(victim), signal.SIGKILL)
        assert not _search(detector, new_stack), f"speech on the disk right after {victim} was killed"
    speaking.wait(60)
    if victim is None:
        new_stack.wait_call("sealed", recording=started["recording"])
    new_stack.stop()
    assert not _search(detector, new_stack), "speech on the disk after the call"
    assert detector.searched_bytes > 100_000


def test_the_same_search_finds_what_an_unsealed_recorder_keeps(new_stack: Stack, marks: Path) -> None:
    with TemporaryDirectory(prefix="cs-", dir=gettempdir()) as name:
        folder = Path(name)
        (folder / "authority").mkdir()
        authority = Authority(folder / "authority")
        keep = folder / "kept"

        async def record() -> None:
            async with UnsealedRecorder(authority.issue("server"), authority.file, keep) as recorder:
                phone = authority.issue("phone")
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "callseal.cli.main", "call", "--synthetic", "--seconds", "2", "--marks", str(marks),
                    "--to", f"localhost:{recorder.port}", "--ca", str(authority.file),
                    "--cert", str(phone.certificate), "--key", str(phone.key), env=new_stack.environment,
                )  # fmt: skip
                assert await process.wait() == 0

        asyncio.run(record())
        hits = _detector(marks).search([Path(gettempdir())])
        assert hits, "the search is blind"
        assert {hit.path for hit in hits} == {keep}
