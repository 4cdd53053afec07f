"""In the watcher's place, for a bench: keeps the frames of a few recordings and deletes each spool segment that is full."""

import multiprocessing
import os
import time
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.ways import SENDER_CORE
from callseal.vault.spool import Frame, encode_frame, iter_frames

SWEEP_SECONDS = 1.0


class Sweeper:
    """A process that sweeps one worker's spool. What it keeps goes to `kept`."""

    def __init__(self, spool: Path, kept: Path) -> None:
        self._kept = kept
        context = multiprocessing.get_context("spawn")
        self._line, there = context.Pipe()
        self._process = context.Process(target=_sweep, args=(spool, kept, there), daemon=True)
        self._process.start()

    def keep(self, recordings: list[str]) -> None:
        """Keep the frames of these, from now on."""
        self._line.send(recordings)

    def finish(self) -> list[Frame]:
        """Sweep the rest; returns what was kept, in order."""
        self._line.send(None)
        self._process.join()
        return [item for item in iter_frames(self._kept.read_bytes()) if isinstance(item, Frame)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.join()


def _sweep(spool: Path, kept: Path, line: Connection) -> None:
    os.sched_setaffinity(0, {SENDER_CORE})
    os.nice(10)
    recordings: set[str] = set()
    with kept.open("wb") as out:
        done = False
        while not done:
            if line.poll(SWEEP_SECONDS):
                said = line.recv()
                recordings, done = (recordings, True) if said is None else (recordings | set(said), False)
            paths = sorted(spool.glob("*.spool"), key=lambda path: int(path.stem.rpartition("-")[2]))
            for path in paths if done else paths[:-1]:
                for item in iter_frames(path.read_bytes()):
                    if isinstance(item, Frame) and item.recording.hex() in recordings:
                        out.write(encode_frame(*item))
                path.unlink()
                time.sleep(0)
