"""In the middle of a real call, a dump of the recorder's whole memory opens nothing that it sealed.

The positive control: the same dump does open what is sealed after it, because the keys to come must be there.
"""

import os
import subprocess
import sys
import time

import pytest

from callseal.vault.message import split_message
from callseal.vault.object import ObjectReader
from callseal.vault.spool import Frame, iter_frames
from tests.conftest import Stack
from tests.memory_search import find_keys, known_windows, read_memory
from tests.stopped import stopped

pytestmark = pytest.mark.real


def _spooled(stack: Stack, recording: str) -> tuple[bytes, dict[int, bytes]]:
    header, messages = b"", {}
    for path in sorted((stack.data / "spool" / "media-0").glob("*.spool")):
        for frame in iter_frames(path.read_bytes()):
            if isinstance(frame, Frame) and frame.recording.hex() == recording:
                if frame.is_header:
                    header = frame.payload
                else:
                    messages[split_message(frame.payload).number] = frame.payload
    return header, messages


@pytest.mark.timeout(180)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may read another process's memory")
def test_a_dump_of_the_recorder_in_mid_call_opens_nothing_sealed_and_only_what_comes(stack: Stack) -> None:
    with stopped(stack.pid("media-0")) as pid:
        known = known_windows(read_memory(pid))
    speaking = subprocess.Popen(
        [sys.executable, "-m", "callseal.cli.main", "call", "--synthetic", "--seconds", "8"],
        env=stack.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        recording = str(stack.wait_event("PartStarted")["recording"])
        end = time.monotonic() + 30
        while len(_spooled(stack, recording)[1]) < 4:
            assert time.monotonic() < end, stack.logs()
            time.sleep(0.05)
        with stopped(stack.pid("media-0")) as pid:
            memory = read_memory(pid)
            header, sealed = _spooled(stack, recording)
        assert speaking.wait(60) == 0
    finally:
        speaking.kill()
        speaking.wait()
    stack.wait_event("PartEnded", recording)
    stack.wait_call("sealed", recording=recording)
    row = stack.data / "objects" / recording[:2] / recording / "0.csr"
    reader = ObjectReader.from_bytes(row.read_bytes())
    later = {number: reader.message(number) for number in range(len(sealed), len(sealed) + 1)}
    found = find_keys(memory, header, {**sealed, **later}, known)
    assert sum(len(region.content) for region in memory) > 20_000_000, "too little memory to be the recorder's"
    opened = {hit.number for hit in found}
    assert not [hit for hit in found if hit.number in sealed], "a key of a sealed second is still in memory"
    assert opened & set(later), "the search found not even the next second's key: it is blind"
