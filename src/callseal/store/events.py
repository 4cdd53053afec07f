"""Numbered events of one producer, one JSON object a line, in `events/<source>/<first number>.jsonl`.

Contract between rooms: docs/architecture.md, "Events". Ids only: no numbers, names, keys or speech.
Invariants: `n` counts from 1 for each source and never goes back; a torn last line is dropped when the writer starts again
and is never read; one writer at a time for each source (flock).
"""

import errno
import fcntl
import json
import math
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from callseal.config.folders import file_mode
from callseal.errors import Conflict, InternalError, LimitExceeded, TamperedError, Unavailable
from callseal.model.clock import format_time
from callseal.store.files import make_folder, sync_folder, write_all

Event = dict[str, Any]

VERSION = 1
EVENT_LIMIT_BYTES = 16 << 10
FILE_LIMIT_BYTES = 4 << 20
DEPTH_LIMIT = 8
READ_BYTES = 256 << 10
_SOURCE = re.compile(r"[a-z][a-z0-9-]{0,31}")


class EventWriter:
    """The only writer of one source's events."""

    def __init__(self, folder: Path, source: str, file_limit_bytes: int = FILE_LIMIT_BYTES) -> None:
        """Continue after the last whole event in `folder/source`. `folder` is the data folder's `events`.

        Raises Conflict where another writer lives, TamperedError where the last file cannot be understood.
        """
        self._folder = _source_folder(folder, source)
        self._source = source
        self._file_limit_bytes = file_limit_bytes
        self._descriptor = -1
        self._is_torn = False
        make_folder(self._folder)
        self._lock = _take_lock(self._folder / "writer.lock")
        try:
            self._last = 0
            files = list_event_files(self._folder)
            if files:
                self._last, self._size = _recover(files[-1])
                self._descriptor = os.open(files[-1], os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            else:
                self._start_file()
        except BaseException:
            self.close()
            raise

    @property
    def last(self) -> int:
        """The number of the last event written; 0 before the first."""
        return self._last

    def write(self, kind: str, recording: str | None, data: dict[str, Any], now: datetime) -> int:
        """Append one event, hand it to the operating system and return its number. Durable after `sync`.

        Raises InternalError where `data` is not plain JSON, LimitExceeded over 16 KiB, Unavailable where the disk refuses;
        then no number is used up.
        """
        _check_plain(data, DEPTH_LIMIT)
        number = self._last + 1
        line = self._encode(number, kind, recording, data, now)
        try:
            if self._size and self._size + len(line) > self._file_limit_bytes:
                self._rotate()
            self._append(line)
        except OSError as error:
            raise Unavailable(f"events of {self._source}: expected a disk that takes them, got {error.strerror}") from error
        self._last = number
        return number

    def check(self, kind: str, data: dict[str, Any]) -> None:
        """Raises what `write` would, but for the disk: InternalError, LimitExceeded."""
        _check_plain(data, DEPTH_LIMIT)
        self._encode(self._last + 1, kind, "0" * 32, data, datetime.min.replace(tzinfo=UTC))

    def read_last(self, limit: int) -> list[Event]:
        """The newest events, at most so many, in order. Raises TamperedError."""
        return EventReader(self._folder.parent, self._source, max(0, self._last - limit)).read(limit)

    def sync(self) -> None:
        """Make all events written so far durable (one fdatasync for all of them). Raises Unavailable."""
        try:
            os.fdatasync(self._open_descriptor())
        except OSError as error:
            raise Unavailable(f"events of {self._source}: expected a durable write, got {error.strerror}") from error

    def close(self) -> None:
        """Let go of the file and of the source."""
        for descriptor in (self._descriptor, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._descriptor = self._lock = -1

    def __enter__(self) -> "EventWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _encode(self, number: int, kind: str, recording: str | None, data: dict[str, Any], now: datetime) -> bytes:
        event = {
            "v": VERSION,
            "source": self._source,
            "n": number,
            "at": format_time(now),
            "type": kind,
            "recording": recording,
            "data": data,
        }
        line = json.dumps(event, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        if len(line) > EVENT_LIMIT_BYTES:
            raise LimitExceeded(f"event {kind}: expected at most {EVENT_LIMIT_BYTES} bytes, got {len(line)}")
        return line

    def _open_descriptor(self) -> int:
        if self._descriptor < 0:
            raise OSError(errno.EBADF, "closed")
        return self._descriptor

    def _append(self, line: bytes) -> None:
        descriptor = self._open_descriptor()
        if self._is_torn:
            os.ftruncate(descriptor, self._size)
            self._is_torn = False
        try:
            write_all(descriptor, line)
        except OSError:
            self._is_torn = True  # cut off before the next, if not now
            os.ftruncate(descriptor, self._size)
            self._is_torn = False
            raise
        self._size += len(line)

    def _rotate(self) -> None:
        os.fdatasync(self._descriptor)
        old = self._descriptor
        self._start_file()
        os.close(old)

    def _start_file(self) -> None:
        path = self._folder / f"{self._last + 1:012d}.jsonl"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(path, flags, file_mode(self._folder))
        self._size = os.fstat(self._descriptor).st_size
        sync_folder(self._folder)


class EventReader:
    """Follows one source's events from a number on, reading each byte once."""

    def __init__(self, folder: Path, source: str, after: int = 0) -> None:
        """`folder` is the data folder's `events`; the first event read is number `after` + 1, or the oldest kept."""
        self._folder = _source_folder(folder, source)
        self._after = after
        self._path: Path | None = None
        self._offset = 0

    def read(self, limit: int) -> list[Event]:
        """Up to `limit` next whole events, in order; an empty list where there are none yet.

        Raises TamperedError at a line that is not an event of this source. A number left out shows in `n`.
        """
        found: list[Event] = []
        while len(found) < limit:
            if self._path is None and not self._find_file():
                break
            if not self._read_lines(found, limit) and not self._next_file():
                break
        return found

    def _find_file(self) -> bool:
        files = list_event_files(self._folder)
        older = [path for path in files if int(path.stem) <= self._after + 1]
        self._path = older[-1] if older else files[0] if files else None
        self._offset = 0
        return self._path is not None

    def _next_file(self) -> bool:
        assert self._path is not None
        newer = [path for path in list_event_files(self._folder) if int(path.stem) > int(self._path.stem)]
        if newer:
            self._path, self._offset = newer[0], 0
        return bool(newer)

    def _read_lines(self, found: list[Event], limit: int) -> bool:
        """Append the next whole lines of this file; False where it holds none (yet)."""
        assert self._path is not None
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                block = file.read(READ_BYTES)
        except FileNotFoundError:
            return False
        moved = False
        for line in block.split(b"\n")[:-1]:
            if len(found) >= limit:
                break
            event = _parse_line(line, self._folder.name)
            self._offset += len(line) + 1
            moved = True
            if event["n"] > self._after:
                self._after = event["n"]
                found.append(event)
        return moved


def read_events(folder: Path, source: str, after: int, limit: int) -> list[Event]:
    """Up to `limit` events of a source with numbers above `after`, in order. Raises TamperedError."""
    return EventReader(folder, source, after).read(limit)


def list_sources(folder: Path) -> list[str]:
    """The sources that have written events, sorted."""
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and _SOURCE.fullmatch(path.name))


def list_event_files(folder: Path) -> list[Path]:
    """One source's files, oldest first."""
    return sorted((path for path in folder.glob("*.jsonl") if path.stem.isdecimal()), key=lambda path: int(path.stem))


def _source_folder(folder: Path, source: str) -> Path:
    if not _SOURCE.fullmatch(source):
        raise InternalError("source: expected lower-case letters, digits and hyphens, at most 32")
    return folder / source


def _take_lock(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise Conflict(f"events of {path.parent.name}: expected one writer, got a second") from error
    return descriptor


def _recover(path: Path) -> tuple[int, int]:
    """Cut a torn last line off a file; returns the last number and the size left."""
    content = path.read_bytes()
    size = content.rfind(b"\n") + 1
    if size < len(content):
        with path.open("r+b") as file:
            file.truncate(size)
            os.fsync(file.fileno())
    if size == 0:
        return int(path.stem) - 1, 0
    last_line = content[content.rfind(b"\n", 0, size - 1) + 1 : size - 1]
    return int(_parse_line(last_line, path.parent.name)["n"]), size


def _parse_line(line: bytes, source: str) -> Event:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        event = None
    fits = (
        isinstance(event, dict)
        and event.get("v") == VERSION
        and event.get("source") == source
        and type(event.get("n")) is int
        and isinstance(event.get("type"), str)
        and isinstance(event.get("data"), dict)
        and isinstance(event.get("at"), str)
        and isinstance(event.get("recording"), str | None)
    )
    if not fits or not isinstance(event, dict):
        raise TamperedError(f"events of {source}: expected a numbered event on each line")
    return event


def _check_plain(value: object, depth: int) -> None:
    if depth == 0:
        raise LimitExceeded(f"event: expected a depth of at most {DEPTH_LIMIT}")
    if value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        for item in value.values():
            _check_plain(item, depth - 1)
    elif isinstance(value, list | tuple):
        for item in value:
            _check_plain(item, depth - 1)
    else:
        raise InternalError(f"event: expected plain JSON, got {type(value).__name__}")
