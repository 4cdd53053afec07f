"""The object of a part: the same frames give the same bytes, damage costs what it hit, and every change is found."""

import hashlib
import itertools
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callseal.errors import NotFound, TamperedError
from callseal.vault.header import HEADER_LENGTH
from callseal.vault.message import Kind, split_message
from callseal.vault.object import ROW_LENGTH, TRAILER_LENGTH, ObjectReader, State, assemble, inspect
from callseal.vault.spool import Frame, iter_frames
from tests.vault.sealed_rig import END, PLAIN, seal_part

PART = seal_part()
MADE = PART.assembled()
CONTENT = MADE.content


def reforge(content: bytes) -> bytes:
    """With a fresh checksum, as anybody could make it."""
    body = content[:-TRAILER_LENGTH]
    state, count, _checksum, magic = struct.unpack(">BI32s4s", content[-TRAILER_LENGTH:])
    return body + struct.pack(">BI32s4s", state, count, hashlib.sha256(body).digest(), magic)


def test_an_object_holds_its_part() -> None:
    reader = inspect(CONTENT)
    assert reader.header == PART.header and reader.core == MADE.core and reader.state is State.ENDED
    assert [reader.message(row.number) for row in reader.rows] == [message for _at, message in PART.messages]
    assert [row.at_ms for row in reader.rows] == [at for at, _message in PART.messages]
    assert reader.rows == MADE.rows and reader.missing == ()
    assert MADE.digest == hashlib.sha256(CONTENT).digest()


@given(st.permutations(PART.messages), st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_the_same_messages_give_the_same_bytes_in_any_order_and_as_often_as_read(messages: list[tuple[int, bytes]], again: int) -> None:
    assert assemble(PART.header, [*messages, *messages[:again]]).content == CONTENT


def test_an_object_opens_by_range_reads_of_what_is_asked_for() -> None:
    asked: list[tuple[int, int]] = []

    def read_at(offset: int, length: int) -> bytes:
        asked.append((offset, length))
        return CONTENT[offset : offset + length]

    reader = ObjectReader(read_at, len(CONTENT))
    row = reader.rows[3]
    assert not any(offset <= row.offset < offset + length for offset, length in asked)
    message = reader.message(3)
    assert asked[3:] == [(row.offset - 4, row.length + 4)]
    assert PART.opener().open(message, reader.previous_commitment(3)).plaintext == PLAIN[3][2]


def test_a_part_without_its_end_is_interrupted_and_opens() -> None:
    part = seal_part(end=False)
    reader = inspect(part.assembled().content)
    assert reader.state is State.INTERRUPTED
    opener = part.opener()
    assert [opener.open(reader.message(n), reader.previous_commitment(n)).plaintext for n in range(6)] == [text for _, _, text in PLAIN]


def test_a_header_alone_makes_an_object() -> None:
    reader = inspect(assemble(PART.header, []).content)
    assert reader.state is State.INTERRUPTED and reader.rows == () and reader.missing == ()


@pytest.mark.parametrize("lost", [(1,), (0,), (2, 3), (0, 5)])
def test_lost_messages_cost_no_other_and_are_named(lost: tuple[int, ...]) -> None:
    reader = inspect(assemble(PART.header, [message for n, message in enumerate(PART.messages) if n not in lost]).content)
    assert reader.missing == lost and reader.state is State.ENDED
    opener = PART.opener()
    for row in reader.rows:
        kind, _at, text = [*PLAIN, END][row.number]
        assert opener.open(reader.message(row.number), reader.previous_commitment(row.number)) == (row.number, kind, text)
    with pytest.raises(NotFound):
        reader.message(lost[0])


def test_a_spool_damaged_in_the_middle_still_gives_the_rest() -> None:
    data = bytearray(PART.spool())
    data[len(PART.header) + 36 + 200] ^= 0xFF
    frames = [item for item in iter_frames(bytes(data)) if isinstance(item, Frame)]
    reader = inspect(assemble(frames[0].payload, [(frame.at_ms, frame.payload) for frame in frames[1:]]).content)
    assert len(reader.missing) == 1
    opener = PART.opener()
    opened = [opener.open(reader.message(row.number), reader.previous_commitment(row.number)) for row in reader.rows]
    assert len(opened) == len(PLAIN)


def test_two_messages_of_one_number_are_refused() -> None:
    with pytest.raises(TamperedError, match="expected it once"):
        assemble(PART.header, [*PART.messages, seal_part().messages[2]])


def test_what_follows_an_end_is_left_out() -> None:
    ended_early = PART.messages[2][1][:4] + bytes([Kind.END]) + PART.messages[2][1][5:]
    assert len(assemble(PART.header, [*PART.messages[:2], (0, ended_early), *PART.messages[3:]]).rows) == 3


@given(st.integers(0, len(CONTENT) - 1), st.integers(1, 255))
@settings(max_examples=200, deadline=None)
def test_any_changed_byte_of_an_object_is_found(place: int, change: int) -> None:
    data = bytearray(CONTENT)
    data[place] ^= change
    with pytest.raises(TamperedError):
        inspect(bytes(data))
    assert hashlib.sha256(data).digest() != MADE.digest


@given(st.integers(HEADER_LENGTH, len(CONTENT) - 1), st.integers(1, 255))
@settings(max_examples=200, deadline=None)
def test_a_change_made_good_in_the_checksum_is_found_by_structure_or_at_opening(place: int, change: int) -> None:
    """All but the plain moments of the index, which only the log's digest vouches for."""
    data = bytearray(CONTENT)
    data[place] ^= change
    index = len(CONTENT) - TRAILER_LENGTH - ROW_LENGTH * len(MADE.rows)
    is_moment = index <= place < len(CONTENT) - TRAILER_LENGTH and 17 <= (place - index) % ROW_LENGTH < 21
    is_checksum = len(CONTENT) - 36 <= place < len(CONTENT) - 4
    forged = reforge(bytes(data))
    found = False
    try:
        reader = inspect(forged)
        opener = PART.opener()
        for row in reader.rows:
            opener.open(reader.message(row.number), reader.previous_commitment(row.number))
    except TamperedError:
        found = True
    assert found != (is_moment or is_checksum)
    assert is_checksum or hashlib.sha256(forged).digest() != MADE.digest


@given(st.integers(0, len(CONTENT) - 1))
@settings(max_examples=100, deadline=None)
def test_every_cut_of_an_object_is_found(length: int) -> None:
    with pytest.raises(TamperedError):
        inspect(CONTENT[:length])
    with pytest.raises(TamperedError):
        inspect(CONTENT[CONTENT[:length].count(0) + 1 :])


def test_messages_cut_out_with_a_fresh_index_leave_a_hole_or_another_digest() -> None:
    middle = assemble(PART.header, [*PART.messages[:3], *PART.messages[4:]])
    assert inspect(middle.content).missing == (3,)
    tail = assemble(PART.header, PART.messages[:4])
    assert inspect(tail.content).state is State.INTERRUPTED and tail.digest != MADE.digest


def test_parts_spliced_with_a_fresh_index_break_the_chain() -> None:
    other = seal_part()
    spliced = assemble(PART.header, [*PART.messages[:3], *other.messages[3:]])
    with pytest.raises(TamperedError, match="predecessor"):
        inspect(spliced.content)
    with pytest.raises(TamperedError):
        PART.opener().open(other.messages[3][1])


def test_messages_under_another_header_are_refused() -> None:
    foreign = assemble(seal_part(part=1).header, PART.messages)
    with pytest.raises(TamperedError, match="predecessor"):
        inspect(foreign.content)


@pytest.mark.parametrize(("first", "second"), [*itertools.combinations(range(2, 6), 2)])
def test_messages_swapped_with_a_fresh_index_are_refused(first: int, second: int) -> None:
    swapped = list(PART.messages)
    one, other = swapped[first][1], swapped[second][1]
    swapped[first], swapped[second] = (0, one[:5] + other[5:]), (0, other[:5] + one[5:])
    with pytest.raises(TamperedError):
        inspect(assemble(PART.header, swapped).content)


def test_the_chain_in_the_clear_is_that_of_the_commitments() -> None:
    for before, after in itertools.pairwise(message for _at, message in PART.messages):
        assert split_message(after).previous == split_message(before).commitment


def test_a_store_that_gives_too_few_bytes_is_found() -> None:
    with pytest.raises(TamperedError):
        ObjectReader(lambda offset, length: CONTENT[offset : offset + length - 1], len(CONTENT))
