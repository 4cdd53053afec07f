"""The log's growing edge: entries in, files to write out, in an order in which a kill between any two leaves a log that verifies.

C2SP tlog-tiles and tlog-checkpoint. The caller writes each file whole (temporary name, fsync, rename, fsync of the folder),
in the order given, the checkpoint last, and answers nobody before that. Then:

- the checkpoint on disk is the only word on how long the log is; what lies ahead of it was never acknowledged and is discarded;
- every file that the checkpoint on disk needs was durable before it, and is not written again: each width has a path of its own;
- a state only grows, and is kept only once its files are durable: one size never has two checkpoints on disk.

Invariants: a state never changes, `append` returns the next; `size` is at most 2^48.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from callseal.audit.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from callseal.audit.entry import MAX_ENTRY_BYTES
from callseal.audit.merkle import leaf_hash, node_hash, root_hash
from callseal.audit.note import Signer, Verifier
from callseal.audit.tile import HEIGHT, WIDTH, Read, Tile, decode_bundle, decode_tile, encode_bundle
from callseal.errors import LimitExceeded, RequestError, TamperedError

CHECKPOINT_PATH = "checkpoint"
MAX_SIZE = 1 << 48
MAX_APPEND = 4096
_TILE_PATH = re.compile(
    r"tile/(?:entries|(?P<level>[0-9]{1,2}))/(?P<index>(?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/(?P<width>[0-9]{1,3}))?"
)


class Write(NamedTuple):
    """One file to be written whole."""

    path: str
    data: bytes


@dataclass(frozen=True)
class LogState:
    """The log up to `size`: the rightmost, partial tile of each level and the partial bundle of entries."""

    origin: str
    size: int = 0
    levels: tuple[tuple[bytes, ...], ...] = ()
    bundle: tuple[bytes, ...] = ()

    @classmethod
    def reload(cls, origin: str, checkpoint: bytes | None, verifier: Verifier, read: Read) -> "LogState":
        """The state of the checkpoint on disk (None: an empty log), read back from its rightmost tiles.

        Raises TamperedError where a tile is missing, the tiles do not give the checkpoint's root, or the bundle not its hashes.
        """
        if checkpoint is None:
            return cls(origin)
        head = open_checkpoint(checkpoint, [verifier], origin)
        levels = []
        for level in range((head.size.bit_length() + HEIGHT - 1) // HEIGHT):
            index, width = divmod(head.size >> (HEIGHT * level), WIDTH)
            tile = Tile(level, index, width)
            levels.append(tuple(decode_tile(_need(read, tile.path()), width)) if width else ())
        edge = Tile(0, *divmod(head.size, WIDTH))
        bundle = tuple(decode_bundle(_need(read, edge.bundle_path()), edge.width)) if edge.width else ()
        state = cls(origin, head.size, tuple(levels), bundle)
        if state.root() != head.root or [leaf_hash(entry) for entry in bundle] != list(state.levels[0] if levels else ()):
            raise TamperedError("log: expected the checkpoint's root from its tiles, got another")
        return state

    def append(self, entries: Sequence[bytes]) -> tuple["LogState", list[Write]]:
        """The next state, and the files that come before its checkpoint: bundles of entries, then tiles from level 0 up.

        Raises RequestError for an entry that is empty or longer than 4 KiB, LimitExceeded beyond 4,096 entries at once.
        """
        if len(entries) > MAX_APPEND or self.size + len(entries) > MAX_SIZE:
            raise LimitExceeded(f"log: expected at most {MAX_APPEND} entries at once, got {len(entries)}")
        if not all(0 < len(entry) <= MAX_ENTRY_BYTES for entry in entries):
            raise RequestError(f"log entry: expected 1 to {MAX_ENTRY_BYTES} bytes")
        first = self.size // WIDTH
        bundle, writes = _grow_bundle(first, self.bundle, entries)
        levels: list[tuple[bytes, ...]] = []
        fresh = [leaf_hash(entry) for entry in entries]
        while fresh or len(levels) < len(self.levels):
            level = len(levels)
            index = self.size >> (HEIGHT * (level + 1))
            rest, finished, more = _grow_level(level, index, self.levels[level] if level < len(self.levels) else (), fresh)
            levels.append(rest)
            writes += more
            fresh = finished
        state = replace(self, size=self.size + len(entries), levels=tuple(levels), bundle=bundle)
        return state, writes

    def root(self) -> bytes:
        """The root over all entries: the subtrees that each level's partial tile stands for, joined from the right."""
        joined: bytes | None = None
        for hashes in self.levels:
            for peak in _peaks(hashes):
                joined = peak if joined is None else node_hash(peak, joined)
        return root_hash([]) if joined is None else joined

    def head(self, extensions: tuple[str, ...] = ()) -> Checkpoint:
        """Origin, size and root, and the extension lines that the owner of the log adds."""
        return Checkpoint(self.origin, self.size, self.root(), extensions)

    def checkpoint(self, signer: Signer, extensions: tuple[str, ...] = ()) -> Write:
        """The signed checkpoint: to be written last."""
        return Write(CHECKPOINT_PATH, sign_checkpoint(self.head(extensions), signer))

    def superseded(self, since: "LogState") -> list[str]:
        """Folders of partial tiles that are full by now: they may be removed once this state's checkpoint is durable."""
        folders = []
        for level in range(len(self.levels)):
            old, new = since.size >> (HEIGHT * (level + 1)), self.size >> (HEIGHT * (level + 1))
            for index in range(old, new):
                tile = Tile(level, index, WIDTH)
                folders += [f"{tile.path()}.p"] + ([f"{tile.bundle_path()}.p"] if level == 0 else [])
        return folders


def is_ahead(path: str, size: int) -> bool:
    """True for a file of tiles or entries that no log of this size or smaller has: left by a kill, to be discarded at start."""
    match = _TILE_PATH.fullmatch(path)
    if match is None:
        return False
    level = int(match["level"] or 0)
    index = int(match["index"].replace("/", "").replace("x", ""))
    return index * WIDTH + int(match["width"] or WIDTH) > size >> (HEIGHT * level)


def _grow_bundle(index: int, partial: Sequence[bytes], entries: Sequence[bytes]) -> tuple[tuple[bytes, ...], list[Write]]:
    held, writes = [*partial, *entries], []
    while len(held) >= WIDTH:
        writes.append(Write(Tile(0, index, WIDTH).bundle_path(), encode_bundle(held[:WIDTH])))
        held, index = held[WIDTH:], index + 1
    if held and entries:
        writes.append(Write(Tile(0, index, len(held)).bundle_path(), encode_bundle(held)))
    return tuple(held), writes


def _grow_level(
    level: int, index: int, partial: Sequence[bytes], fresh: Sequence[bytes]
) -> tuple[tuple[bytes, ...], list[bytes], list[Write]]:
    """The level's new partial tile, the hashes of tiles that became full (for the level above), and the files."""
    held, finished, writes = [*partial, *fresh], [], []
    while len(held) >= WIDTH:
        writes.append(Write(Tile(level, index, WIDTH).path(), b"".join(held[:WIDTH])))
        finished.append(root_hash(held[:WIDTH]))
        held, index = held[WIDTH:], index + 1
    if held and fresh:
        writes.append(Write(Tile(level, index, len(held)).path(), b"".join(held)))
    return tuple(held), finished, writes


def _peaks(hashes: Sequence[bytes]) -> list[bytes]:
    """The perfect subtrees of a partial tile, smallest (rightmost) first."""
    peaks, end = [], len(hashes)
    while end:
        length = end & -end
        peaks.append(root_hash(hashes[end - length : end]))
        end -= length
    return peaks


def _need(read: Read, path: str) -> bytes:
    data = read(path)
    if data is None:
        raise TamperedError(f"log: expected {path}, got nothing")
    return data
