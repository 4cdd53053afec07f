"""The one append-only spool of a worker's life: sealed frames of all live calls, one fdatasync for all that wait.

docs/architecture.md "Data folder"; docs/spec/sealed-recording.md section 4. `<instance>-<seq>.spool`, with `<instance>.lock` held
(flock) while this process lives, so that the watcher knows the dead. Write and fdatasync have a thread of their own.
What is written is read once, by another process, some time later: so it goes past the page cache (O_DIRECT, open(2)), in whole
blocks, which a padding frame fills up. That spares the voice path a copy and the machine the memory; where the file system
cannot, the same bytes go the usual way.
Invariants: `done` is called for a ticket only after fdatasync returned for all of its bytes; frames stand in the order of
submission; a failed write is cut off and tried again, never skipped; what waits is limited.
"""

import errno
import fcntl
import mmap
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from callseal.config.folders import file_mode
from callseal.errors import Unavailable
from callseal.store.files import make_folder, sync_folder
from callseal.vault.expand import Buffer
from callseal.vault.spool import FRAME_OVERHEAD, encode_padding

QUEUE_BYTES = 64 << 20
RESERVE_BYTES = 16 << 20
"""Kept for the ends of parts that are open when the disk takes no more."""
RETRY_SECONDS = 0.5
BLOCK_BYTES = 4096
BUFFER_BYTES = 4 << 20
"""Written at once."""


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
        self._queue: deque[tuple[int, Sequence[Buffer]]] = deque()
        self._buffer = mmap.mmap(-1, BUFFER_BYTES)
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

    def submit(self, frames: Sequence[Buffer]) -> int:
        """Queue whole frames; returns the ticket that `done` will name. Raises Unavailable when too much waits."""
        with self._wake:
            if self._queued_bytes >= QUEUE_BYTES:
                raise Unavailable(f"spool: expected the disk to keep up, and {QUEUE_BYTES} bytes wait")
            self._ticket += 1
            self._queue.append((self._ticket, frames))
            self._queued_bytes += sum(map(len, frames))
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
        if not self._thread.is_alive():
            self._buffer.close()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._queue and not self._stopping:
                    self._wake.wait()
                if not self._queue:
                    return
                batch = list(self._queue)
                self._queue.clear()
            frames = [frame for _ticket, submitted in batch for frame in submitted]
            length = sum(map(len, frames))
            while not self._write(frames, length):
                with self._wake:
                    if self._stopping:
                        return
                    self._wake.wait(RETRY_SECONDS)
            with self._wake:
                self._queued_bytes -= length
            self._done(batch[-1][0])

    def _write(self, frames: list[Buffer], length: int) -> bool:
        padding = -length % BLOCK_BYTES
        if 0 < padding < FRAME_OVERHEAD:
            padding += BLOCK_BYTES
        try:
            if self._size and self._size + length + padding > self._segment_bytes:
                self._roll()
            self._write_blocks([*frames, encode_padding(padding)] if padding else frames)
            os.fdatasync(self._file)
        except OSError:
            self.failing = True
            with suppress(OSError):
                os.ftruncate(self._file, self._size)
            return False
        self._size += length + padding
        self.failing = False
        return True

    def _write_blocks(self, frames: Iterable[Buffer]) -> None:
        """Write frames, in all a multiple of `BLOCK_BYTES`, through the one aligned buffer that O_DIRECT needs."""
        at = 0
        for frame in frames:
            rest = memoryview(frame)
            while rest:
                taken = min(len(rest), BUFFER_BYTES - at)
                self._buffer[at : at + taken] = rest[:taken]
                at, rest = at + taken, rest[taken:]
                if at == BUFFER_BYTES:
                    self._write_buffer(at)
                    at = 0
        if at:
            self._write_buffer(at)

    def _write_buffer(self, length: int) -> None:
        with memoryview(self._buffer) as view:
            if os.write(self._file, view[:length]) != length:
                raise OSError(errno.ENOSPC, "expected the whole of a write to be taken")

    def _roll(self) -> None:
        self._sequence += 1
        old, self._file, self._size = self._file, self._open_segment(), 0
        os.close(old)

    def _open_segment(self) -> int:
        path = self._folder / f"{self._instance}-{self._sequence}.spool"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            descriptor = os.open(path, flags | os.O_DIRECT, file_mode(self._folder))
        except OSError as error:
            if error.errno != errno.EINVAL:  # what a file system says that has no O_DIRECT
                raise
            path.unlink(missing_ok=True)
            descriptor = os.open(path, flags, file_mode(self._folder))
        sync_folder(self._folder)
        return descriptor
