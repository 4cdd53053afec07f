"""The log's only writer: entries in, durable tiles and a signed checkpoint out, then and only then an answer.

docs/spec/log-entry.md; C2SP tlog-tiles, tlog-checkpoint. Files are written in the order `audit.log` gives, the checkpoint last.
Invariants: what an append returned is on disk and signed; after a failed write nothing more is appended until a new start;
at a start, what lies ahead of the checkpoint is removed, and every entry is read back and must be of the table.
"""

import shutil
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from callseal.audit.entry import make_entry, read_entry
from callseal.audit.log import CHECKPOINT_PATH, LogState, is_ahead
from callseal.audit.note import Signer
from callseal.audit.tile import TileTree
from callseal.custodian.durable import make_folder, write_whole
from callseal.custodian.history import History
from callseal.errors import TamperedError, Unavailable

SOURCE = "log"
_READ_AT_ONCE = 4096


class Ledger:
    """The log in one folder, and the history read from it."""

    def __init__(self, folder: Path, signer: Signer, state: LogState) -> None:
        self._folder = folder
        self._signer = signer
        self._state = state
        self._broken = False
        self.history = History()

    @classmethod
    def open(cls, folder: Path, signer: Signer) -> "Ledger":
        """The log as its checkpoint says; an empty one where there is none. Raises TamperedError, Unavailable."""
        make_folder(folder)
        origin = signer.verifier.name
        try:
            _pin(folder / "origin", f"{origin}\n")
            _pin(folder / "log.vkey", f"{signer.verifier.vkey()}\n")
            checkpoint = _read(folder, CHECKPOINT_PATH)
            state = LogState.reload(origin, checkpoint, signer.verifier, lambda path: _read(folder, path))
            _drop_ahead(folder, state.size)
        except OSError as error:
            raise Unavailable(f"log: expected to read it, got {error.strerror}") from error
        ledger = cls(folder, signer, state)
        tree = TileTree(state.size, lambda path: _read(folder, path))
        for start in range(0, state.size, _READ_AT_ONCE):
            for offset, data in enumerate(tree.entries(start, min(state.size, start + _READ_AT_ONCE))):
                ledger.history.take(start + offset, read_entry(data))
        return ledger

    @property
    def size(self) -> int:
        """How many entries there are."""
        return self._state.size

    @property
    def signer(self) -> Signer:
        """The log's key, which also signs sealing cards."""
        return self._signer

    def next_number(self, source: str = SOURCE) -> int:
        """The running number that the next entry of a source has."""
        return self.history.last.get(source, 0) + 1

    def make(self, kind: str, now: datetime, ahead: int = 0, /, **fields: Any) -> bytes:
        """The bytes of an entry of the custodian's own, `ahead` places after the next. Raises RequestError."""
        return make_entry(kind, now, SOURCE, self.next_number() + ahead, **fields)

    def append(self, entries: Sequence[bytes]) -> int:
        """Append, make durable, sign; returns the number of the first. Raises Unavailable, and then for good."""
        self.check()
        first = self.size
        if not entries:
            return first
        read = [read_entry(entry) for entry in entries]
        state, writes = self._state.append(entries)
        self._broken = True
        try:
            for path, data in [*writes, state.checkpoint(self._signer, self._extensions(read))]:
                target = self._folder / path
                make_folder(target.parent)
                write_whole(target, data)
        except OSError as error:
            raise Unavailable(f"log: expected a durable write, got {error.strerror}") from error
        for folder in state.superseded(self._state):
            shutil.rmtree(self._folder / folder, ignore_errors=True)
        self._state = state
        self._broken = False
        for offset, entry in enumerate(read):
            self.history.take(first + offset, entry)
        return first

    def _extensions(self, ahead: Sequence[dict[str, Any]]) -> tuple[str, ...]:
        """The line that names the newest manifest (docs/spec/private-call.md section 4), once there is one."""
        published = [entry for entry in ahead if entry["type"] == "ManifestPublished"]
        newest = published[-1] if published else self.history.manifest
        return () if newest is None else (f"manifest {newest['sequence']} {newest['manifest']}",)

    def check(self) -> None:
        """Raises Unavailable after a failed write."""
        if self._broken:
            raise Unavailable("log: a write failed; it is written again after a new start")


def _read(folder: Path, path: str) -> bytes | None:
    try:
        return (folder / path).read_bytes()
    except FileNotFoundError:
        return None


def _pin(path: Path, line: str) -> None:
    if not path.exists():
        write_whole(path, line.encode())
    elif path.read_text(encoding="utf-8") != line:
        raise TamperedError(f"{path.name}: expected this installation's own, got another")


def _drop_ahead(folder: Path, size: int) -> None:
    tiles = folder / "tile"
    for path in sorted(tiles.rglob("*")) if tiles.is_dir() else []:
        if path.is_file() and (path.name.endswith(".new") or is_ahead(path.relative_to(folder).as_posix(), size)):
            path.unlink()
