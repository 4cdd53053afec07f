"""The web process alone, with all its memory and every file that it may read, opens nothing that nobody opened through it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from callseal.vault.object import ObjectReader
from tests.conftest import Stack
from tests.files import contents
from tests.memory_search import Region, find_keys, known_windows, read_memory
from tests.officer_client import OfficerClient
from tests.stopped import stopped

pytestmark = pytest.mark.real


def export_at_a_terminal(stack: Stack, officer: OfficerClient, recording: str, output: Path) -> None:
    """`callseal export` waits; the officer takes its link up in the console and touches."""
    with subprocess.Popen(
        [sys.executable, "-m", "callseal.cli.main", "export", recording, "-o", str(output)], env=stack.environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    ) as waiting:  # fmt: skip
        assert waiting.stdin is not None and waiting.stderr is not None
        waiting.stdin.write("4\nThey dispute what was agreed\nC-77\n")
        waiting.stdin.flush()
        for line in waiting.stderr:
            match = re.search(r"/terminal#(\S+)", line)
            if match:
                officer.touch("/api/terminal/prove", officer.post("/api/terminal", link=match.group(1)))
        assert waiting.wait(60) == 0


def read_web(stack: Stack) -> list[Region]:
    """The memory of the web process, while it does nothing."""
    with stopped(stack.pid("web")) as pid:
        return read_memory(pid)


@pytest.mark.timeout(300)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may read another process's memory")
def test_its_memory_and_files_hold_no_key_but_of_what_was_opened_in_it(stack: Stack, tmp_path: Path) -> None:
    with OfficerClient(stack) as officer:
        known = known_windows(read_web(stack))
        assert stack.cli(["call", "--synthetic", "--seconds", "2"]).returncode == 0
        recording = str(stack.wait_call("sealed")["recording"])
        reader = ObjectReader.from_bytes((stack.data / "objects" / recording[:2] / recording / "0.csr").read_bytes())
        messages = {row.number: reader.message(row.number) for row in reader.rows[:3]}
        files = [
            Region(0, content, path.name)
            for folder in ("objects", "log", "database", "spool", "cards", "events")
            for path, content in contents(stack.data / folder)
        ]
        assert any(region.name.endswith(".row") for region in files)
        export_at_a_terminal(stack, officer, recording, tmp_path / "call.wav")
        assert (tmp_path / "call.wav").stat().st_size > 32_000, "the terminal has the call"
        memory = read_web(stack)
        assert sum(len(region.content) for region in memory) > 20_000_000
        assert not find_keys([*files, *memory], reader.header, messages, known), "it only carried the proof"
        asked = {"recording": recording, "action": "listen", "reason_class": "quality", "reason": "To see a key where one may be", "case": ""}
        officer.touch("/api/openings", officer.post("/api/openings/begin", **asked))
        assert find_keys(read_web(stack), reader.header, messages, known), "the control: an opening's keys are found"
