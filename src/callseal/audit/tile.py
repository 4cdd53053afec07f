"""How the log lies on disk: hashes and entries in tiles of 256, at paths that say which.

C2SP tlog-tiles (c2sp.org/tlog-tiles). A full tile is 256 hashes (8,192 bytes); the last of a level may be partial, at a
path of its own for each width. Invariant: what a `TileTree` answers is as true as its tiles: compare its root first.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from callseal.audit.merkle import HASH_BYTES, root_hash, split_point
from callseal.errors import NotFound, TamperedError

WIDTH = 256
HEIGHT = 8
MAX_ENTRY_BYTES = 65535
_LENGTH = struct.Struct(">H")

Read = Callable[[str], bytes | None]
"""The bytes at a path of the log folder, or None where there is nothing."""


@dataclass(frozen=True)
class Tile:
    """Which tile: level 0 holds leaf hashes; `width` below 256 is a partial tile."""

    level: int
    index: int
    width: int

    def path(self) -> str:
        """Where its hashes lie."""
        return f"tile/{self.level}/{_spell(self.index)}{_suffix(self.width)}"

    def bundle_path(self) -> str:
        """Where its entries lie (of level 0)."""
        return f"tile/entries/{_spell(self.index)}{_suffix(self.width)}"


def tiles_of(size: int) -> Iterator[Tile]:
    """Every tile of a log of this size, lowest level first, each level from the left."""
    level = 0
    while size >> (HEIGHT * level):
        full, partial = divmod(size >> (HEIGHT * level), WIDTH)
        yield from (Tile(level, index, WIDTH) for index in range(full))
        if partial:
            yield Tile(level, full, partial)
        level += 1


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Entries, each with its length before it (big-endian uint16)."""
    return b"".join(_LENGTH.pack(len(entry)) + entry for entry in entries)


def decode_bundle(data: bytes, width: int) -> list[bytes]:
    """Exactly `width` entries; raises TamperedError."""
    entries: list[bytes] = []
    offset = 0
    while offset < len(data) and len(entries) < width:
        if len(data) - offset < _LENGTH.size:
            raise TamperedError("entry bundle: expected a length, got the end")
        (length,) = _LENGTH.unpack_from(data, offset)
        offset += _LENGTH.size
        entries.append(data[offset : offset + length])
        if len(entries[-1]) != length:
            raise TamperedError(f"entry bundle: expected {length} bytes, got {len(entries[-1])}")
        offset += length
    if offset != len(data) or len(entries) != width:
        raise TamperedError(f"entry bundle: expected {width} entries and nothing after them")
    return entries


def decode_tile(data: bytes, width: int) -> list[bytes]:
    """The hashes of a tile; raises TamperedError where it is not `width` of them."""
    if len(data) != width * HASH_BYTES:
        raise TamperedError(f"tile: expected {width * HASH_BYTES} bytes, got {len(data)}")
    return [data[i : i + HASH_BYTES] for i in range(0, len(data), HASH_BYTES)]


class TileTree:
    """The tree of a log of `size` entries, read from its tiles when asked."""

    def __init__(self, size: int, read: Read) -> None:
        self.size = size
        self._read = read

    def hash_of(self, start: int, end: int) -> bytes:
        """The Merkle Tree Hash of entries start..end (end excluded), which are a subtree of the log."""
        length = end - start
        if length == 0:
            return root_hash([])
        level = max(0, (length.bit_length() - 1) // HEIGHT)
        span = 1 << (HEIGHT * level)
        if length % span == 0 and length // span <= WIDTH:
            hashes = self._tile(level, start // (span * WIDTH))
            first = start // span % WIDTH
            return root_hash(hashes[first : first + length // span])
        middle = start + split_point(length)
        return _join(self.hash_of(start, middle), self.hash_of(middle, end))

    def root(self) -> bytes:
        """The root of the whole."""
        return self.hash_of(0, self.size)

    def inclusion_proof(self, index: int) -> list[bytes]:
        """The audit path of an entry (RFC 6962 section 2.1.1); raises NotFound beyond the log's size."""
        if not 0 <= index < self.size:
            raise NotFound(f"log entry: expected an index below {self.size}, got {index}")
        path: list[bytes] = []
        start, end = 0, self.size
        while end - start > 1:
            middle = start + split_point(end - start)
            if index < middle:
                path.append(self.hash_of(middle, end))
                end = middle
            else:
                path.append(self.hash_of(start, middle))
                start = middle
        return path[::-1]

    def consistency_proof(self, old_size: int) -> list[bytes]:
        """That this tree begins with the tree of `old_size` (RFC 6962 section 2.1.2); raises NotFound."""
        if not 0 <= old_size <= self.size:
            raise NotFound(f"log: expected a size of at most {self.size}, got {old_size}")
        if old_size in (0, self.size):
            return []
        path: list[bytes] = []
        start, end = 0, self.size
        while end != old_size:
            middle = start + split_point(end - start)
            if old_size <= middle:
                path.append(self.hash_of(middle, end))
                end = middle
            else:
                path.append(self.hash_of(start, middle))
                start = middle
        return ([self.hash_of(start, end)] if start else []) + path[::-1]

    def entries(self, start: int, end: int) -> Iterator[bytes]:
        """The entries start..end (end excluded), as the bundles have them."""
        for index in range(start // WIDTH, (min(end, self.size) + WIDTH - 1) // WIDTH):
            tile = Tile(0, index, min(WIDTH, self.size - index * WIDTH))
            bundle = decode_bundle(self._bytes(tile.bundle_path()), tile.width)
            yield from bundle[max(0, start - index * WIDTH) : end - index * WIDTH]

    def _tile(self, level: int, index: int) -> list[bytes]:
        width = min(WIDTH, (self.size >> (HEIGHT * level)) - index * WIDTH)
        return decode_tile(self._bytes(Tile(level, index, width).path()), width)

    def _bytes(self, path: str) -> bytes:
        data = self._read(path)
        if data is None:
            raise TamperedError(f"log: expected {path}, got nothing")
        return data


def _join(left: bytes, right: bytes) -> bytes:
    return root_hash([left, right])


def _spell(index: int) -> str:
    """1234067 as x001/x234/067."""
    groups = [f"{index % 1000:03d}"]
    while index := index // 1000:
        groups.append(f"x{index % 1000:03d}")
    return "/".join(reversed(groups))


def _suffix(width: int) -> str:
    return f".p/{width}" if width < WIDTH else ""
