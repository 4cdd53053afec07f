"""Values by key in memory that outlives the process that writes them, and never lies on a disk.

Source: memfd_create(2). Two memory files, of which one is in use; whoever started the process (the supervisor, or systemd's file
descriptor store) holds them open, reads nothing, and hands them to its successor.
Invariants: a value that was replaced or removed is overwritten at once; a value torn by a kill is not given; what is put has a
limit.
"""

import os
import struct
import zlib
from typing import Final

from callseal.errors import InternalError, LimitExceeded

KEY_BYTES: Final = 16
LIMIT_BYTES: Final = 64 << 20
COMPACT_BYTES: Final = 4 << 20
"""A file is written anew when it is this long and mostly dead."""
_FILE = struct.Struct(">4sI")
_FRAME = struct.Struct(">4sBII16s")
"""Mark, 1 where it is live, length, CRC-32 of key and value, key."""
_FILE_MARK, _FRAME_MARK = b"CSM1", b"CSMf"


def make_memory_files(name: str) -> tuple[int, int]:
    """Two new, empty memory files: their descriptors, closed on exec unless passed on."""
    return os.memfd_create(f"{name}-a", os.MFD_CLOEXEC), os.memfd_create(f"{name}-b", os.MFD_CLOEXEC)


class MemoryLog:
    """The values of one process. Raises InternalError for a key of another length."""

    def __init__(self, files: tuple[int, int], limit: int = LIMIT_BYTES) -> None:
        self._files = files
        self._limit = limit
        generations = [self._generation(file) for file in files]
        self._active = files[0] if generations[0] >= generations[1] else files[1]
        self._count = max(generations)
        self._places: dict[bytes, tuple[int, int]] = {}
        """By key: where its frame begins, and the length of its value."""
        self._live = 0
        if not self._count:
            self._count = 1
            os.pwrite(self._active, _FILE.pack(_FILE_MARK, 1), 0)
        self._end = self._scan()

    def items(self) -> dict[bytes, bytes]:
        """Every value by its key."""
        return {key: self._read(place) for key, place in self._places.items()}

    def get(self, key: bytes) -> bytes | None:
        """One value; None where there is none."""
        place = self._places.get(key)
        return None if place is None else self._read(place)

    def put(self, key: bytes, value: bytes) -> None:
        """Keep a value, in place of the one before. Raises LimitExceeded, and keeps the old one."""
        if len(key) != KEY_BYTES:
            raise InternalError(f"key: expected {KEY_BYTES} bytes, got {len(key)}")
        before = self._places.get(key)
        if self._live - (before[1] if before else 0) + len(value) > self._limit:
            raise LimitExceeded(f"memory: expected at most {self._limit} bytes to outlive this process")
        at = self._end
        self._end = self._write(self._active, at, key, value)
        self._places[key] = at, len(value)
        self._live += len(value)
        if before is not None:
            self._wipe(before)
        if self._end > max(COMPACT_BYTES, 4 * self._live):
            self._compact()

    def remove(self, key: bytes) -> None:
        """Forget a value, if there is one."""
        if (place := self._places.pop(key, None)) is not None:
            self._wipe(place)

    def _read(self, place: tuple[int, int]) -> bytes:
        at, length = place
        return os.pread(self._active, length, at + _FRAME.size)

    def _wipe(self, place: tuple[int, int]) -> None:
        at, length = place
        os.pwrite(self._active, b"\0", at + 4)
        os.pwrite(self._active, bytes(length), at + _FRAME.size)
        self._live -= length

    @staticmethod
    def _write(file: int, at: int, key: bytes, value: bytes) -> int:
        frame = _FRAME.pack(_FRAME_MARK, 1, len(value), zlib.crc32(value, zlib.crc32(key)), key) + value
        os.pwrite(file, frame, at)
        return at + len(frame)

    def _compact(self) -> None:
        """Write what lives into the other file; it counts once its head does; then the old one is given back whole."""
        other = self._files[0] if self._active == self._files[1] else self._files[1]
        os.ftruncate(other, 0)
        end, places = _FILE.size, {}
        for key, value in self.items().items():
            places[key] = end, len(value)
            end = self._write(other, end, key, value)
        self._count += 1
        os.pwrite(other, _FILE.pack(_FILE_MARK, self._count), 0)
        os.ftruncate(self._active, 0)
        self._active, self._places, self._end = other, places, end

    @staticmethod
    def _generation(file: int) -> int:
        head = os.pread(file, _FILE.size, 0)
        if len(head) < _FILE.size:
            return 0
        mark, count = _FILE.unpack(head)
        return count if mark == _FILE_MARK else 0

    def _scan(self) -> int:
        """Find the live frames; returns where the next one goes, over anything torn."""
        at, size = _FILE.size, os.fstat(self._active).st_size
        while at + _FRAME.size <= size:
            mark, is_live, length, checksum, key = _FRAME.unpack(os.pread(self._active, _FRAME.size, at))
            if mark != _FRAME_MARK or at + _FRAME.size + length > size:
                break
            if is_live:
                value = os.pread(self._active, length, at + _FRAME.size)
                if zlib.crc32(value, zlib.crc32(key)) == checksum:
                    before = self._places.get(key)
                    self._places[key] = at, length
                    self._live += length
                    if before is not None:
                        self._wipe(before)
            at += _FRAME.size + length
        return at
