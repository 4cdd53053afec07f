"""The keystore: one small sealed file that is the authority on every key, and the rotation that makes forgetting final.

Keys-and-recordings section 3; docs/spec/open-call.md section 6. `keystore.<n>` = C256(E_n, "keystore" ‖ u64 n, contents), in two
folders.
Invariants: written whole or not at all; the newest number that opens is the truth; after `rotate` no older file can be opened
by anyone; after a failed write nothing more is served until a new start (fail closed).
"""

import struct
from collections.abc import Sequence
from pathlib import Path

from callseal.custodian.durable import make_folder, sync_folder, write_whole
from callseal.custodian.state import State, decode_state, encode_state
from callseal.errors import NotFound, TamperedError, Unavailable
from callseal.model.custody import ErasableCell
from callseal.vault.cobblestone import decrypt, encrypt

_NUMBER = struct.Struct(">Q")


class Keystore:
    """The contents in memory, and their copies on disk."""

    def __init__(self, folders: Sequence[Path], cell: ErasableCell, state: State) -> None:
        self._folders = tuple(folders)
        self._cell = cell
        self._key = cell.read(state.cell)
        self._broken = False
        self.state = state

    @classmethod
    def create(cls, folders: Sequence[Path], cell: ErasableCell, origin: str, log_seed: bytes) -> "Keystore":
        """The first keystore of an installation. Cells or files from before are none of its business: see `exists`."""
        for folder in folders:
            make_folder(folder)
        cell.create(1)
        keystore = cls(folders, cell, State(origin=origin, cell=1, log_seed=log_seed))
        keystore.save()
        return keystore

    @staticmethod
    def exists(folders: Sequence[Path]) -> bool:
        """Whether there is any keystore file."""
        return any(_files(folder) for folder in folders)

    @classmethod
    def open(cls, folders: Sequence[Path], cell: ErasableCell) -> "Keystore":
        """The newest keystore that opens; finishes what a kill interrupted: other cells destroyed, replicas equal.

        Raises TamperedError where a keystore stands and none opens.
        """
        for folder in folders:
            make_folder(folder)
        for number in reversed(cell.numbers()):
            state = _read_newest(folders, cell, number)
            if state is not None:
                keystore = cls(folders, cell, state)
                keystore.save()
                keystore._destroy_others()
                return keystore
        raise TamperedError("keystore: expected one that opens with a cell that stands, got none")

    @property
    def driver(self) -> str:
        """The erasable cell's driver."""
        return self._cell.driver

    def check(self) -> None:
        """Raises Unavailable after a failed write: what is in memory may not be what is on disk."""
        if self._broken:
            raise Unavailable("keystore: a write failed; it is served again after a new start")

    def save(self) -> None:
        """Write the contents under the present cell, to every folder. Raises Unavailable, and then for good."""
        self.check()
        sealed = encrypt(self._key, _context(self.state.cell), encode_state(self.state))
        try:
            for folder in self._folders:
                write_whole(folder / f"keystore.{self.state.cell}", sealed)
        except OSError as error:
            self._broken = True
            raise Unavailable(f"keystore: expected a durable write, got {error.strerror}") from error

    def rotate(self) -> None:
        """Make E_{n+1}, write keystore_{n+1}, destroy E_n: what the contents no longer hold is gone. Raises Unavailable."""
        self.check()
        self._broken = True
        try:
            number = self.state.cell + 1
            self._cell.destroy(number)
            self._key = self._cell.create(number)
            self.state.cell = number
            self._broken = False
            self.save()
            self._broken = True
            self._destroy_others()
        except OSError as error:
            raise Unavailable(f"keystore: expected a durable write, got {error.strerror}") from error
        self._broken = False

    def _destroy_others(self) -> None:
        for number in self._cell.numbers():
            if number != self.state.cell:
                self._cell.destroy(number)
        for folder in self._folders:
            for number, path in _files(folder):
                if number != self.state.cell:
                    path.unlink()
            sync_folder(folder)


def _context(number: int) -> bytes:
    return b"keystore" + _NUMBER.pack(number)


def _files(folder: Path) -> list[tuple[int, Path]]:
    if not folder.is_dir():
        return []
    named = [(path.name.removeprefix("keystore."), path) for path in folder.glob("keystore.*")]
    return sorted((int(name), path) for name, path in named if name.isdecimal())


def _read_newest(folders: Sequence[Path], cell: ErasableCell, number: int) -> State | None:
    """The first copy of keystore_n that opens; None where none does. The folders are written in order, so the first is newest."""
    for folder in folders:
        try:
            sealed = (folder / f"keystore.{number}").read_bytes()
            state = decode_state(decrypt(cell.read(number), _context(number), sealed))
        except (FileNotFoundError, TamperedError, NotFound):
            continue
        if state.cell == number:
            return state
    return None
