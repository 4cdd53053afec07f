"""The growing log: whatever a kill leaves on disk is a log that verifies, as long as its checkpoint says."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callseal.audit import merkle
from callseal.audit.checkpoint import open_checkpoint
from callseal.audit.log import MAX_APPEND, LogState, Write, is_ahead
from callseal.audit.note import Signer
from callseal.audit.tile import Tile, TileTree, tiles_of
from callseal.errors import LimitExceeded, RequestError, TamperedError

ORIGIN = "callseal.example/2026"
SIGNER = Signer.from_seed(ORIGIN, b"\x07" * 32)
GROUPS = st.lists(st.sampled_from([1, 2, 3, 7, 100, 255, 256, 257, 513]), min_size=1, max_size=5)


def _entries(start: int, count: int, made: str = "") -> list[bytes]:
    return [f"{made}{index}".encode() for index in range(start, start + count)]


def _write(disk: dict[str, bytes], writes: list[Write]) -> None:
    disk.update((write.path, write.data) for write in writes)


def _reload(disk: dict[str, bytes]) -> LogState:
    """What the custodian does at its start."""
    note = disk.get("checkpoint")
    size = open_checkpoint(note, [SIGNER.verifier], ORIGIN).size if note else 0
    for path in [path for path in disk if is_ahead(path, size)]:
        del disk[path]
    return LogState.reload(ORIGIN, note, SIGNER.verifier, disk.get)


def _grow(disk: dict[str, bytes], state: LogState, entries: list[bytes], tidy: bool = True) -> LogState:
    grown, writes = state.append(entries)
    _write(disk, [*writes, grown.checkpoint(SIGNER)])
    if tidy:
        for folder in grown.superseded(state):
            for path in [path for path in disk if path.startswith(folder + "/")]:
                del disk[path]
    return grown


@settings(max_examples=25)
@given(groups=GROUPS, tidy=st.booleans())
def test_every_size_has_the_root_that_rfc_6962_gives_it_and_reloads(groups, tidy):
    disk: dict[str, bytes] = {}
    state, leaves = LogState(ORIGIN), []
    for count in groups:
        entries = _entries(len(leaves), count)
        leaves += [merkle.leaf_hash(entry) for entry in entries]
        state = _grow(disk, state, entries, tidy)
        assert state.root() == merkle.root_hash(leaves) == TileTree(state.size, disk.get).root()
        assert _reload(dict(disk)) == state
    if tidy:
        wanted = {tile.path() for tile in tiles_of(state.size)} | {t.bundle_path() for t in tiles_of(state.size) if t.level == 0}
        assert wanted <= set(disk)


@settings(max_examples=10, deadline=None)
@given(first=st.sampled_from([0, 1, 255, 256, 300, 511]), second=st.sampled_from([1, 2, 257, 600]), tidy=st.booleans())
def test_a_kill_between_any_two_writes_leaves_a_log_that_verifies_and_goes_on(first, second, tidy):
    before: dict[str, bytes] = {}
    state = _grow(before, LogState(ORIGIN), _entries(0, first), tidy) if first else LogState(ORIGIN)
    grown, writes = state.append(_entries(first, second, "lost-"))
    writes.append(grown.checkpoint(SIGNER))
    for cut in range(len(writes) + 1):
        disk = dict(before)
        _write(disk, writes[:cut])
        back = _reload(disk)
        assert back == (grown if cut == len(writes) else state), f"after {cut} of {len(writes)} writes"
        again = _grow(disk, back, _entries(back.size, 3, "after-"), tidy)
        assert TileTree(again.size, disk.get).root() == again.root() == _reload(disk).root()
        assert list(TileTree(again.size, disk.get).entries(back.size, again.size)) == _entries(back.size, 3, "after-")


def test_no_file_that_a_checkpoint_needs_is_written_a_second_time():
    disk: dict[str, bytes] = {}
    state = LogState(ORIGIN)
    for count in [1, 1, 253, 1, 1, 300]:
        needed = {tile.path() for tile in tiles_of(state.size)}
        grown, writes = state.append(_entries(state.size, count))
        assert not needed & {write.path for write in writes}
        assert not set(disk) & {write.path for write in writes}
        _write(disk, writes)
        state = grown


def test_one_head_has_one_checkpoint_however_often_it_is_signed():
    state, _ = LogState(ORIGIN).append(_entries(0, 5))
    assert state.checkpoint(SIGNER) == state.checkpoint(SIGNER)


@pytest.mark.parametrize("path", ["tile/0/001.p/44", "tile/entries/001.p/44", "tile/1/000.p/1"])
@pytest.mark.parametrize("damage", [lambda d: d[:-1] + bytes([d[-1] ^ 1]), lambda d: d[:-1], lambda d: d + b"\x00", lambda d: None])
def test_a_damaged_or_missing_edge_is_not_continued(path, damage):
    disk: dict[str, bytes] = {}
    _grow(disk, LogState(ORIGIN), _entries(0, 300))
    changed = damage(disk.pop(path))
    if changed is not None:
        disk[path] = changed
    with pytest.raises(TamperedError):
        _reload(disk)


def test_limits_are_kept():
    state = LogState(ORIGIN)
    for bad in (b"", b"x" * 4097):
        with pytest.raises(RequestError):
            state.append([bad])
    with pytest.raises(LimitExceeded):
        state.append([b"x"] * (MAX_APPEND + 1))


@pytest.mark.parametrize(
    ("path", "size", "ahead"),
    [
        ("tile/0/000.p/5", 5, False), ("tile/0/000.p/6", 5, True), ("tile/0/000", 255, True), ("tile/0/000", 256, False),
        ("tile/1/000.p/1", 255, True), ("tile/1/000.p/1", 256, False), ("tile/entries/x001/234.p/1", 1234 * 256, True),
        ("tile/entries/x001/234.p/1", 1234 * 256 + 1, False), ("checkpoint", 0, False), ("log.vkey", 0, False), ("tile/0/abc", 0, False),
    ],
)  # fmt: skip
def test_what_lies_ahead_of_a_checkpoint_is_known_by_its_path(path, size, ahead):
    assert is_ahead(path, size) is ahead


def test_paths_are_those_of_the_specification(record_property):
    # c2sp.org/tlog-tiles: the example index, and the tiles of a tree of 70,000 and of 256 entries.
    assert Tile(0, 1234067, 256).path() == "tile/0/x001/x234/067"
    tiles = list(tiles_of(70000))
    assert len([t for t in tiles if t.level == 0]) == 274
    assert [t for t in tiles if t.width < 256] == [Tile(0, 273, 112), Tile(1, 1, 17), Tile(2, 0, 1)]
    assert list(tiles_of(256)) == [Tile(0, 0, 256), Tile(1, 0, 1)]
    record_property("published_vectors", 3)
