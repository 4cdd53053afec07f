"""Objects in a local folder and in memory: the same suite for each backend."""

from pathlib import Path

import pytest
from obstore.store import MemoryStore

from callseal.errors import LimitExceeded, NotFound, Unavailable
from callseal.store.objects import ObjectStore, object_path, row_path

RECORDING = "ab112233445566778899aabbccddeeff"


@pytest.fixture(params=["folder", "memory"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "folder":
        return ObjectStore(tmp_path / "objects")
    store = ObjectStore("memory:///")
    assert isinstance(store._store, MemoryStore)
    return store


def test_paths_spread_over_folders_by_the_first_two_digits() -> None:
    assert object_path(RECORDING, 0) == f"ab/{RECORDING}/0.csr"
    assert row_path(RECORDING, 3) == f"ab/{RECORDING}/3.row"


def test_an_object_is_read_whole_and_in_ranges(objects: ObjectStore) -> None:
    path = object_path(RECORDING, 0)
    objects.put(path, bytes(range(256)) * 100)
    assert objects.get(path) == bytes(range(256)) * 100
    assert objects.get_range(path, 255, 258) == b"\xff\x00\x01"
    assert objects.get_size(path) == 25600


def test_a_second_put_replaces_the_first(objects: ObjectStore) -> None:
    objects.put("aa/x/0.csr", b"first")
    objects.put("aa/x/0.csr", b"second")
    assert objects.get("aa/x/0.csr") == b"second"


def test_a_missing_object_is_not_found_and_its_deletion_is_no_error(objects: ObjectStore) -> None:
    for ask in (objects.get, objects.get_size):
        with pytest.raises(NotFound):
            ask("aa/none/0.csr")
    objects.delete("aa/none/0.csr")
    objects.put("aa/some/0.csr", b"x")
    objects.delete("aa/some/0.csr")
    objects.delete("aa/some/0.csr")
    with pytest.raises(NotFound):
        objects.get("aa/some/0.csr")


def test_a_store_that_is_away_is_unavailable(tmp_path: Path) -> None:
    objects = ObjectStore(tmp_path / "objects")
    (tmp_path / "objects").rmdir()
    (tmp_path / "objects").write_bytes(b"a file where the folder was")
    with pytest.raises(Unavailable):
        objects.put("aa/x/0.csr", b"x")


def test_local_objects_are_for_their_owner_only(tmp_path: Path) -> None:
    objects = ObjectStore(tmp_path / "objects")
    objects.put("aa/x/0.csr", b"x")
    assert (tmp_path / "objects/aa/x/0.csr").stat().st_mode & 0o077 == 0


def test_an_object_beyond_the_limit_is_neither_written_nor_read(tmp_path: Path) -> None:
    limited, free = ObjectStore(tmp_path, limit_bytes=100), ObjectStore(tmp_path)
    limited.put("aa/x/0.csr", bytes(100))
    assert limited.get("aa/x/0.csr") == bytes(100), "the control: the limit itself fits"
    with pytest.raises(LimitExceeded):
        limited.put("aa/x/0.csr", bytes(101))
    assert limited.get_size("aa/x/0.csr") == 100, "what stood there stands"
    free.put("aa/y/0.csr", bytes(101))
    with pytest.raises(LimitExceeded):
        limited.get("aa/y/0.csr")
