"""A real tiled log with signed checkpoints, written by transparency-dev/tessera, is read, verified and continued."""

from pathlib import Path

import pytest

from callseal.audit import merkle
from callseal.audit.checkpoint import open_checkpoint
from callseal.audit.log import LogState
from callseal.audit.note import parse_vkey
from callseal.audit.tile import TileTree
from callseal.errors import TamperedError

LOG = Path(__file__).parents[2].parent / "shared" / "vectors" / "tlog" / "tessera"
VKEY = parse_vkey("example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx")
ORIGIN = "example.com/log/testdata"

pytestmark = pytest.mark.skipif(not LOG.is_dir(), reason="the published tessera log is not beside the project")


def _read(path: str) -> bytes | None:
    return (LOG / path).read_bytes() if (LOG / path).is_file() else None


def _head(name: str = "checkpoint"):
    return open_checkpoint((LOG / name).read_bytes(), [VKEY], ORIGIN)


def test_every_signed_checkpoint_is_the_root_of_its_tiles(record_property):
    names = sorted(path.name for path in LOG.glob("checkpoint*"))
    for name in names:
        head = _head(name)
        assert TileTree(head.size, _read).root() == head.root, name
    record_property("published_vectors", len(names))
    assert len(names) >= 10


def test_every_entry_is_included_and_every_checkpoint_extends_the_older():
    newest = _head()
    tree = TileTree(newest.size, _read)
    entries = list(tree.entries(0, newest.size))
    assert len(entries) == newest.size == 15
    for index, entry in enumerate(entries):
        merkle.verify_inclusion(merkle.leaf_hash(entry), index, newest.size, tree.inclusion_proof(index), newest.root)
    for size in range(1, newest.size):
        old = _head(f"checkpoint.{size}") if (LOG / f"checkpoint.{size}").exists() else None
        if old is not None:
            merkle.verify_consistency(old.size, newest.size, old.root, newest.root, tree.consistency_proof(old.size))


def test_the_writer_goes_on_from_a_log_that_others_wrote():
    state = LogState.reload(ORIGIN, (LOG / "checkpoint").read_bytes(), VKEY, _read)
    assert state.root() == _head().root
    rewritten, writes = LogState(ORIGIN).append(list(TileTree(15, _read).entries(0, 15)))
    assert rewritten.root() == state.root()
    assert all(_read(write.path) == write.data for write in writes)
    assert {write.path for write in writes} == {"tile/0/000.p/15", "tile/entries/000.p/15"}


def test_another_origin_or_a_changed_root_is_refused():
    note = (LOG / "checkpoint").read_bytes()
    with pytest.raises(TamperedError):
        open_checkpoint(note, [VKEY], "example.com/log/other")
    with pytest.raises(TamperedError):
        open_checkpoint(note.replace(b"rKbD", b"rKbE"), [VKEY], ORIGIN)
