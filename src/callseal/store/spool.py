"""The one append-only spool of a worker's life: sealed frames of all live calls, one fdatasync for all that wait.

docs/architecture.md "Data folder"; docs/spec/sealed-recording.md section 4. `<instance>-<seq>.spool`, with `<instance>.lock` held
(flock) while this process lives, so that the watcher knows the dead. Write and fdatasync have a thread of their own.
Invariants: `done` is called for a ticket only after fdatasync returned for all of its bytes; frames stand in the order of
submission; a failed write is cut off and tried again, never skipped; what waits is limited.
"""

import fcntl
import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from callseal.config.folders import file_mode
from callseal.errors import Unavailable
from callseal.store.files import make_folder, sync_folder, write_all

QUEUE_BYTES = 64 << 20
RESERVE_BYTES = 16 << 20
"""Kept for the ends of parts that are open when the disk takes no more."""
RETRY_SECONDS = 0.5


class SpoolWriter:
    """Owns the spool of one instance; `start` begins its thread (after confinement)."""

    def __init__(self, folder: Path, instance: str, segment_bytes: int, done: Callable[[int], None]) -> None:
        """`folder` is `spool/<worker>`. `done` is called on the thread with the newest durable ticket. Raises OSError."""
        make_folder(folder)
        self._folder, self._instance, self._segment_bytes, self._done = folder, instance, segment_bytes, done
        self._lock = os.open(folder / f"{instance}.lock", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, file_mode(folder))
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._sequence = 0
        self._file = self._open_segment()
        self._size = 0
        self._queue: deque[tuple[int, bytes]] = deque()
        self._queued_bytes = 0
        self._ticket = 0
        self._wake = threading.Condition()
        self._stopping = False
        self.failing = False
        """The disk refused the last write; it is being tried again."""
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    @property
    def has_room(self) -> bool:
        """Whether more may be submitted. Where not, nothing may be sealed: a message left out would end its part."""
        return self._queued_bytes < QUEUE_BYTES - RESERVE_BYTES

    @property
    def waiting_bytes(self) -> int:
        """What was submitted and is not yet durable; at most `QUEUE_BYTES` and one submission more."""
        return self._queued_bytes

    def submit(self, frames: bytes) -> int:
        """Queue whole frames; returns the ticket that `done` will name. Raises Unavailable when too much waits."""
        with self._wake:
            if self._queued_bytes >= QUEUE_BYTES:
                raise Unavailable(f"spool: expected the disk to keep up, and {QUEUE_BYTES} bytes wait")
            self._ticket += 1
            self._queue.append((self._ticket, frames))
            self._queued_bytes += len(frames)
            self._wake.notify()
            return self._ticket

    def close(self, timeout_seconds: float = 5.0) -> None:
        """Write what waits, make it durable, let go of file and lock."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join(timeout_seconds)
        os.close(self._file)
        os.close(self._lock)

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._queue and not self._stopping:
                    self._wake.wait()
                if not self._queue:
                    return
                batch = list(self._queue)
                self._queue.clear()
            content = b"".join(frames for _ticket, frames in batch)
            while not self._write(content):
                with self._wake:
                    if self._stopping:
                        return
                    self._wake.wait(RETRY_SECONDS)
            with self._wake:
                self._queued_bytes -= len(content)
            self._done(batch[-1][0])

    def _write(self, content: bytes) -> bool:
        try:
            if self._size and self._size + len(content) > self._segment_bytes:
                self._roll()
            write_all(self._file, content)
            os.fdatasync(self._file)
        except OSError:
            self.failing = True
            with suppress(OSError):
                os.ftruncate(self._file, self._size)
            return False
        self._size += len(content)
        self.failing = False
        return True

    def _roll(self) -> None:
        self._sequence += 1
        old, self._file, self._size = self._file, self._open_segment(), 0
        os.close(old)

    def _open_segment(self) -> int:
        path = self._folder / f"{self._instance}-{self._sequence}.spool"
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, file_mode(self._folder))
        sync_folder(self._folder)
        return descriptor
