"""The erasable cell as a file: E_n in `custodian/cell/<n>`, overwritten and removed when it is destroyed.

Keys-and-recordings section 3. Implements `model.custody.ErasableCell`. Best effort, and called so on every certificate: a
file system or a flash medium may keep blocks that were overwritten. A key store in hardware or OpenBao does better.
"""

import os
from pathlib import Path

from callseal.custodian.durable import erase, make_folder, write_whole
from callseal.errors import Conflict, NotFound, TamperedError, Unavailable

KEY_BYTES = 32


class FileCell:
    """Cells in one folder."""

    driver = "file"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        make_folder(folder)

    def numbers(self) -> list[int]:
        """The numbers of the keys that stand, ascending."""
        return sorted(int(path.name) for path in self._folder.iterdir() if path.name.isdecimal())

    def create(self, number: int) -> bytes:
        """Draw and keep E_n durably. Raises Conflict where it stands already, Unavailable."""
        path = self._folder / str(number)
        if path.exists():
            raise Conflict(f"cell {number}: expected none, got one")
        key = os.urandom(KEY_BYTES)
        try:
            write_whole(path, key)
        except OSError as error:
            raise Unavailable(f"cell {number}: expected a durable write, got {error.strerror}") from error
        return key

    def read(self, number: int) -> bytes:
        """E_n. Raises NotFound, TamperedError where it is not a key, Unavailable."""
        try:
            key = (self._folder / str(number)).read_bytes()
        except FileNotFoundError as error:
            raise NotFound(f"cell {number}: expected a key, got none") from error
        except OSError as error:
            raise Unavailable(f"cell {number}: expected to read it, got {error.strerror}") from error
        if len(key) != KEY_BYTES:
            raise TamperedError(f"cell {number}: expected {KEY_BYTES} bytes, got {len(key)}")
        return key

    def destroy(self, number: int) -> None:
        """Erase E_n; where it is gone already, nothing is to be done. Raises Unavailable."""
        path = self._folder / str(number)
        try:
            if path.exists():
                erase(path)
        except OSError as error:
            raise Unavailable(f"cell {number}: expected to erase it, got {error.strerror}") from error
