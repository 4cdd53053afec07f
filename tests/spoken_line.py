"""A whole line on a disk of its own, spoken over while each of its processes is killed; and the search for what was spoken.

Shared by tests/attacks/test_plaintext_on_disk.py and `make assure-disk`.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from callseal.phone.marks import read_marks
from tests.certificates import Authority
from tests.conftest import Stack
from tests.own_disk import OwnDisk, writable_mounts
from tests.plaintext_search import PlaintextSearch, forms_for
from tests.unsealed_recorder import UnsealedRecorder

MEMORY = Path("/dev/shm")
"""Where marks belong: they hold what was spoken, and are kept off the disk."""
DAEMONS = ("web", "watcher", "custodian", "media-0", "sip")
SECONDS = 12


class Speaker:
    """Keeps a call up: places another where the last has ended. Each call leaves its marks in a file of the folder `marks`."""

    def __init__(self, stack: Stack, marks: Path) -> None:
        self._stack, self._marks = stack, marks
        self.calls: list[subprocess.Popen[bytes]] = []

    def speak(self, seconds: int = SECONDS) -> subprocess.Popen[bytes]:
        """A call of which something is sealed already."""
        if self.calls and self.calls[-1].poll() is None:
            return self.calls[-1]
        before = len(self._stack.events("PartStarted"))
        marks = self._marks / f"call-{len(list(self._marks.iterdir()))}"
        program = [sys.executable, "-m", "callseal.cli.main", "call", "--synthetic", "--seconds", str(seconds), "--marks", str(marks)]
        self.calls.append(
            subprocess.Popen(program, env=self._stack.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        )
        started = self._stack.wait_event("PartStarted", timeout=60, after=before)
        self._stack.wait_event("Sealed", recording=started["recording"])
        return self.calls[-1]

    def hang_up(self) -> None:
        """End every call that is still up, without a word."""
        for call in self.calls:
            call.kill()
            call.wait()


def build_detector(marks: Path) -> PlaintextSearch:
    """A search for every payload of every track of every call so far."""
    by_track: dict[tuple[str, int, str], list[bytes]] = {}
    for path in marks.iterdir():
        for mark in read_marks(path):
            by_track.setdefault((path.name, mark.call, mark.label), []).extend(mark.payloads)
    assert by_track, "nothing was spoken"
    return PlaintextSearch([b"".join(payloads) for payloads in by_track.values()], forms_for("PCMA"))


def speak_and_kill(disk: OwnDisk, marks: Path, look: Callable[[str], None], rounds: int = 1) -> int:
    """Run the line on its disk, kill each process in mid-call, `look` at each stage; returns how many calls were placed."""
    stack = Stack(disk.root, surroundings=disk.environment, shut_in=disk.shut_in)
    stack.start()
    speaker = Speaker(stack, marks)
    try:
        speaker.speak()
        look("during a call")
        for name in DAEMONS * rounds:
            assert writable_mounts(stack.pid(name)) == {disk.root}, f"{name} can write elsewhere"
            speaker.speak()
            killed = stack.pid(name)
            os.kill(killed, signal.SIGKILL)
            look(f"right after {name} was killed")
            stack.wait_started_again(name, killed)
        speaker.hang_up()
        assert speaker.speak(2).wait(60) == 0
        stack.wait_call("sealed")
        look("after a call")
    finally:
        speaker.hang_up()
        stack.stop()
    look("after everything was stopped")
    return len(speaker.calls)


def record_unsealed(folder: Path, marks: Path, environment: dict[str, str]) -> Path:
    """The control: a call to a recorder that does not seal, which keeps what it hears in a file of `folder`; returns that file."""
    keep = folder / "kept"
    (folder / "authority").mkdir()
    authority = Authority(folder / "authority")
    kept_marks = marks / f"call-{len(list(marks.iterdir()))}"

    async def record() -> None:
        async with UnsealedRecorder(authority.issue("server"), authority.file, keep) as recorder:
            phone = authority.issue("phone")
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "callseal.cli.main", "call", "--synthetic", "--seconds", "2", "--marks", str(kept_marks),
                "--to", f"localhost:{recorder.port}", "--ca", str(authority.file),
                "--cert", str(phone.certificate), "--key", str(phone.key), env=dict(os.environ, **environment),
            )  # fmt: skip
            assert await process.wait() == 0

    asyncio.run(record())
    return keep
