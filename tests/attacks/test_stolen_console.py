"""The web process alone, with all its memory and every file that it may read, opens nothing that nobody opened through it."""

import os

import pytest

from callseal.vault.object import ObjectReader
from tests.conftest import Stack
from tests.memory_search import Region, find_keys, known_windows, read_memory

pytestmark = pytest.mark.real


@pytest.mark.timeout(180)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may read another process's memory")
def test_neither_its_memory_nor_its_files_hold_a_key_of_a_sealed_call(stack: Stack) -> None:
    known = known_windows(read_memory(stack.pid("web")))
    assert stack.cli(["call", "--synthetic", "--seconds", "2"]).returncode == 0
    recording = str(stack.wait_call("sealed")["recording"])
    reader = ObjectReader.from_bytes((stack.data / "objects" / recording[:2] / recording / "0.csr").read_bytes())
    messages = {row.number: reader.message(row.number) for row in reader.rows[:3]}
    files = [
        Region(0, path.read_bytes(), path.name)
        for folder in ("objects", "log", "database", "spool", "cards", "events")
        for path in (stack.data / folder).rglob("*")
        if path.is_file()
    ]
    assert any(region.name.endswith(".row") for region in files)
    memory = read_memory(stack.pid("web"))
    assert sum(len(region.content) for region in memory) > 20_000_000
    assert not find_keys([*files, *memory], reader.header, messages, known)
