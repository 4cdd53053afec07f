"""Memory that outlives its writer: what was put is there for a successor, what was replaced or torn is not."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callseal.errors import InternalError, LimitExceeded
from callseal.store import memory_log
from callseal.store.memory_log import MemoryLog, make_memory_files

A, B = b"a" * 16, b"b" * 16


@pytest.fixture
def files():
    made = make_memory_files("test")
    yield made
    for file in made:
        os.close(file)


def whole(files: tuple[int, int]) -> bytes:
    return b"".join(os.pread(file, os.fstat(file).st_size, 0) for file in files)


def test_a_successor_finds_what_was_put_last(files):
    first = MemoryLog(files)
    first.put(A, b"old")
    first.put(A, b"new")
    first.put(B, b"")
    successor = MemoryLog(files)
    assert successor.items() == {A: b"new", B: b""}
    assert [successor.get(key) for key in (A, B, b"c" * 16)] == [b"new", b"", None]


def test_what_was_replaced_or_removed_is_overwritten_at_once(files):
    kept = MemoryLog(files)
    kept.put(A, b"first-secret")
    kept.put(A, b"second-secret")
    assert b"first-secret" not in whole(files) and b"second-secret" in whole(files)
    kept.remove(A)
    assert b"secret" not in whole(files) and MemoryLog(files).items() == {}


@pytest.mark.parametrize("cut", range(1, 36))
def test_a_value_torn_by_a_kill_is_none_and_the_one_before_it_stands(files, cut):
    kept = MemoryLog(files)
    kept.put(A, b"whole")
    kept.put(B, b"torn-")
    os.ftruncate(files[0], os.fstat(files[0]).st_size - min(cut, 33))
    successor = MemoryLog(files)
    assert successor.items() == {A: b"whole"}
    successor.put(B, b"again")
    assert MemoryLog(files).items() == {A: b"whole", B: b"again"}


def test_a_kill_between_the_new_value_and_the_end_of_the_old_leaves_the_new_one(files, monkeypatch):
    kept = MemoryLog(files)
    kept.put(A, b"old")
    monkeypatch.setattr(kept, "_wipe", lambda _place: None)
    kept.put(A, b"new")
    assert MemoryLog(files).items() == {A: b"new"}
    assert b"old" not in whole(files)


def test_more_than_the_limit_is_refused_and_nothing_is_lost(files):
    kept = MemoryLog(files, limit=10)
    kept.put(A, b"12345678")
    with pytest.raises(LimitExceeded):
        kept.put(B, b"123")
    with pytest.raises(InternalError):
        kept.put(b"short", b"")
    kept.put(A, b"1234567890")
    assert kept.items() == {A: b"1234567890"}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([A, B, b"c" * 16]), st.one_of(st.none(), st.binary(max_size=400))), max_size=60))
def test_files_written_anew_hold_the_same(steps):
    files, before = make_memory_files("test"), memory_log.COMPACT_BYTES
    memory_log.COMPACT_BYTES = 600
    try:
        kept, expected = MemoryLog(files), {}
        for key, value in steps:
            if value is None:
                kept.remove(key)
                expected.pop(key, None)
            else:
                kept.put(key, value)
                expected[key] = value
            assert kept.items() == expected == MemoryLog(files).items()
    finally:
        memory_log.COMPACT_BYTES = before
        for file in files:
            os.close(file)
