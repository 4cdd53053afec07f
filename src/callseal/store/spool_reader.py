"""Follows the workers' spools: which parts are in them, which have ended, and where their frames stand.

Source: docs/spec/sealed-recording.md section 4; docs/architecture.md "Data folder".
`spool/<worker>/<instance>-<seq>.spool` grows at its end only; `<instance>.lock` is held (flock) while the worker lives.
Invariants: no key is needed and no payload is kept in memory; a torn tail is only given up once nobody can finish it;
a segment is closed when its worker is dead or has begun a newer one.
"""

import fcntl
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from callseal.errors import TamperedError, Unavailable
from callseal.store.files import sync_folder
from callseal.vault.header import split_header
from callseal.vault.message import Kind, split_message
from callseal.vault.spool import FRAME_OVERHEAD, PAYLOAD_LIMIT, Frame, Padding, iter_frames

READ_BYTES = 16 << 20
LOCK_KEPT_SECONDS = 3600
_LONGEST_FRAME = PAYLOAD_LIMIT + FRAME_OVERHEAD
PartKey = tuple[str, int]


class Span(NamedTuple):
    """Where one frame stands, head and payload."""

    path: Path
    offset: int
    length: int


@dataclass
class SpooledPart:
    """One part as far as the spool holds it."""

    recording: str
    part: int
    worker: str
    instance: str
    frames: list[Span] = field(default_factory=list)
    epoch: int | None = None
    """Of the card it was sealed to, by its header; None where that cannot be read."""
    has_end: bool = False
    is_over: bool = False
    """Nothing will be added: its END is there, or its worker is dead."""

    @property
    def key(self) -> PartKey:
        return self.recording, self.part


@dataclass
class _Segment:
    path: Path
    instance: str
    sequence: int
    read_to: int = 0
    damaged_bytes: int = 0
    is_closed: bool = False
    parts: set[PartKey] = field(default_factory=set)


class SpoolReader:
    """All spools of one data folder."""

    def __init__(self, folder: Path) -> None:
        """`folder` is the data folder's `spool`."""
        self._folder = folder
        self._segments: dict[Path, _Segment] = {}
        self.parts: dict[PartKey, SpooledPart] = {}

    def read(self, now: datetime) -> None:
        """Take in all that was written since the last time. Raises OSError where the disk is away."""
        for worker in sorted(self._folder.iterdir()) if self._folder.is_dir() else ():
            if worker.is_dir():
                self._read_worker(worker, now)

    @property
    def damaged_bytes(self) -> int:
        """Bytes that were no frame, torn tails of dead workers among them."""
        return sum(segment.damaged_bytes for segment in self._segments.values())

    def load(self, part: SpooledPart) -> list[Frame]:
        """A part's frames as they were written. Raises Unavailable where the disk does not give them back."""
        frames: list[Frame] = []
        try:
            for path, spans in groupby(part.frames, key=lambda span: span.path):
                with path.open("rb") as file:
                    for span in spans:
                        file.seek(span.offset)
                        frames += [item for item in iter_frames(file.read(span.length)) if isinstance(item, Frame)]
        except OSError as error:
            raise Unavailable(f"spool: expected it to be readable, got {error.strerror}") from error
        if len(frames) != len(part.frames):
            raise Unavailable(f"spool: expected {len(part.frames)} frames of a part again, got {len(frames)}")
        return frames

    def free(self, done: set[PartKey]) -> list[Path]:
        """Delete closed segments of which every part is in `done`; returns them. A dead worker's lock goes with its last."""
        freed: list[Path] = []
        for segment in list(self._segments.values()):
            if segment.is_closed and segment.parts <= done:
                segment.path.unlink(missing_ok=True)
                sync_folder(segment.path.parent)
                del self._segments[segment.path]
                freed.append(segment.path)
        standing = {key for segment in self._segments.values() for key in segment.parts}
        for key in done & self.parts.keys() - standing:
            del self.parts[key]
        return freed

    def oldest_write(self, parts: Iterable[SpooledPart]) -> datetime | None:
        """When the segment was last written in which the oldest of these parts ends; None for no part."""
        last = {part.frames[-1].path for part in parts if part.frames}
        times = [path.stat().st_mtime for path in last if path.exists()]
        return datetime.fromtimestamp(min(times), UTC) if times else None

    def _read_worker(self, folder: Path, now: datetime) -> None:
        dead = {path.stem for path in folder.glob("*.lock") if _is_dead(path)}
        found: dict[str, list[_Segment]] = {}
        for path in folder.glob("*.spool"):
            instance, _, sequence = path.stem.rpartition("-")
            if instance and sequence.isdecimal():
                segment = self._segments.setdefault(path, _Segment(path, instance, int(sequence)))
                found.setdefault(instance, []).append(segment)
        for instance, segments in found.items():
            segments.sort(key=lambda segment: segment.sequence)
            is_dead = instance in dead or not (folder / f"{instance}.lock").exists()
            for segment in segments:
                if not segment.is_closed:
                    final = is_dead or segment is not segments[-1]
                    self._read_segment(segment, folder.name, final)
                    segment.is_closed = final
            if is_dead:
                for part in self.parts.values():
                    part.is_over = part.is_over or (part.instance == instance and part.worker == folder.name)
        for instance in dead - found.keys():
            lock = folder / f"{instance}.lock"
            if now.timestamp() - lock.stat().st_mtime > LOCK_KEPT_SECONDS:  # a worker may be about to take it
                lock.unlink(missing_ok=True)

    def _read_segment(self, segment: _Segment, worker: str, final: bool) -> None:
        with segment.path.open("rb") as file:
            while True:
                file.seek(segment.read_to)
                block = file.read(READ_BYTES)
                taken = self._take(segment, worker, block)
                full = len(block) == READ_BYTES
                if not taken and full:
                    taken = READ_BYTES - _LONGEST_FRAME
                    segment.damaged_bytes += taken
                elif not full and final:
                    segment.damaged_bytes += len(block) - taken
                    taken = len(block)
                segment.read_to += taken
                if not full:
                    return

    def _take(self, segment: _Segment, worker: str, block: bytes) -> int:
        """Note every frame of a block; returns how many bytes are settled."""
        place = 0
        for item in iter_frames(block):
            if isinstance(item, Frame):
                length = FRAME_OVERHEAD + len(item.payload)
                self._note(segment, worker, item, Span(segment.path, segment.read_to + place, length))
                place += length
            elif isinstance(item, Padding):
                place += item.length
            elif not item.is_tail:
                segment.damaged_bytes += item.length
                place += item.length
        return place

    def _note(self, segment: _Segment, worker: str, frame: Frame, span: Span) -> None:
        key = (frame.recording.hex(), frame.part)
        part = self.parts.setdefault(key, SpooledPart(*key, worker, segment.instance))
        segment.parts.add(key)
        try:
            epoch = split_header(frame.payload)[0].epoch if frame.is_header else part.epoch
            is_end = not frame.is_header and split_message(frame.payload).kind is Kind.END
        except TamperedError:
            segment.damaged_bytes += span.length
            return
        if (part.worker, part.instance) != (worker, segment.instance) or part.has_end:
            segment.damaged_bytes += span.length  # a part never outlives its process, and nothing follows its END
            return
        part.frames.append(span)
        part.epoch = epoch
        part.has_end = is_end
        part.is_over = part.is_over or is_end


def _is_dead(lock: Path) -> bool:
    """Whether nobody holds a worker's lock."""
    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
