"""Lines of the process log: in order, never waited for, never an error, and what found no room is counted."""

import os
import threading
import time
from pathlib import Path

import pytest

from callseal.daemons.log_writer import LIMIT, LogWriter


def test_before_its_thread_lines_are_written_at_once_and_after_it_in_order(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as file:
        writer = LogWriter(file)
        writer.write("first\n")
        assert (tmp_path / "log").read_text() == "first\n"
        writer.start()
        for number in range(100):
            writer.write(f"{number}\n")
        writer._end()
    assert (tmp_path / "log").read_text().splitlines() == ["first", *map(str, range(100))]


def test_nobody_waits_for_a_reader_who_stands_still_and_what_found_no_room_is_counted() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as file:
        writer = LogWriter(file)
        writer.start()
        line = "x" * 999 + "\n"
        began = time.monotonic()
        for _ in range(LIMIT + 500):
            writer.write(line)
        assert time.monotonic() - began < 5, "a pipe takes 64 lines; nobody waited for the rest"
        found: list[str] = []
        with os.fdopen(reading) as answers:
            taker = threading.Thread(target=lambda: found.extend(answers))
            taker.start()
            end = time.monotonic() + 10
            while not (found and writer._lines == type(writer._lines)()):
                assert time.monotonic() < end
                time.sleep(0.01)
            writer.write("afterwards\n")
            writer._end()
            file.close()
            taker.join(10)
    said = [text for text in found if text != line]
    assert said[-1] == "afterwards\n" and "lines of the log found no room" in said[0]
    dropped = int(said[0].split('"')[3].split()[0])
    assert len(found) - 2 + dropped == LIMIT + 500


@pytest.mark.parametrize("is_started", [False, True])
def test_a_disk_that_is_full_is_no_error_of_whoever_logs(is_started: bool) -> None:
    with open("/dev/full", "w", buffering=1) as file:
        writer = LogWriter(file)
        if is_started:
            writer.start()
        writer.write("nobody keeps this\n")
        writer._end() if is_started else None
        with pytest.raises(OSError, match="No space"):
            file.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())
