"""Sealed objects by path, in a local folder or an object store, through `obstore`.

Paths: `<aa>/<recording>/<part>.csr` (the sealed part) and `<part>.row` (its wrapped key), `aa` the recording's first two digits.
Invariants: an object is there whole or not at all; on a local folder `put` returns only when file and folder are on the disk;
every fault of the store reaches callers as `Unavailable`, a missing object as `NotFound`.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, from_url

from callseal.config.folders import file_mode
from callseal.errors import LimitExceeded, NotFound, Unavailable
from callseal.store.files import make_folder, sync_folder

OBJECT_LIMIT_BYTES = 4 << 30
"""No object is longer, written or read whole; a part of three days of two G.711 streams is not."""


def object_path(recording: str, part: int) -> str:
    """Where a sealed part stands."""
    return f"{recording[:2]}/{recording}/{part}.csr"


def row_path(recording: str, part: int) -> str:
    """Where a copy of the part's wrapped key stands, beside it."""
    return f"{recording[:2]}/{recording}/{part}.row"


class ObjectStore:
    """One way to all objects; thread-safe."""

    def __init__(self, place: Path | str, limit_bytes: int = OBJECT_LIMIT_BYTES) -> None:
        """`place` is a folder, made where it is missing, or a URL that obstore knows (`s3://bucket/prefix`)."""
        self._limit_bytes = limit_bytes
        self._folder = place if isinstance(place, Path) else None
        if isinstance(place, Path):
            make_folder(place)
        self._store = LocalStore(place) if isinstance(place, Path) else from_url(place)

    def put(self, path: str, content: bytes) -> None:
        """Write an object durably; one of the same path is replaced. Raises LimitExceeded, Unavailable."""
        self._check_length(len(content))
        with _as_ours(path):
            self._store.put(path, content, use_multipart=False if self._folder else None)
            if self._folder is not None:
                self._sync(self._folder / path, self._folder)

    def get(self, path: str) -> bytes:
        """A whole object. Raises NotFound, Unavailable, LimitExceeded before it is read."""
        self._check_length(self.get_size(path))
        with _as_ours(path):
            return bytes(self._store.get(path).bytes())

    def get_range(self, path: str, start: int, end: int) -> bytes:
        """Bytes `start` to `end` (not included) of an object. Raises NotFound, Unavailable."""
        with _as_ours(path):
            return bytes(self._store.get_range(path, start=start, end=end))

    def get_size(self, path: str) -> int:
        """An object's length in bytes. Raises NotFound, Unavailable."""
        with _as_ours(path):
            return int(self._store.head(path)["size"])

    def delete(self, path: str) -> None:
        """Delete an object; one that is gone already is no error. Raises Unavailable."""
        try:
            with _as_ours(path):
                self._store.delete(path)
                if self._folder is not None:
                    sync_folder((self._folder / path).parent)
        except NotFound:
            return

    def _check_length(self, length: int) -> None:
        if length > self._limit_bytes:
            raise LimitExceeded(f"object: expected at most {self._limit_bytes} bytes, got {length}")

    @staticmethod
    def _sync(file: Path, top: Path) -> None:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fchmod(descriptor, file_mode(file.parent))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        folder = file.parent
        while folder != top:
            sync_folder(folder)
            folder = folder.parent
        sync_folder(top)


@contextmanager
def _as_ours(path: str) -> Iterator[None]:
    try:
        yield
    except (NotFoundError, FileNotFoundError) as error:
        raise NotFound(f"object {path}: expected it in the store") from error
    except (BaseError, OSError) as error:
        raise Unavailable(f"object store: {type(error).__name__} at {path}") from error
