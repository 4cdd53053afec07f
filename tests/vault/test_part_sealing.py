"""Sealing and opening a part: it opens where it should, and every change, move and splice is found."""

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callseal.errors import Destroyed, InternalError, LimitExceeded, TamperedError
from callseal.model.ids import RecordingId
from callseal.vault import cobblestone
from callseal.vault.header import CORE_LENGTH, HEADER_LENGTH, PartCore, split_header
from callseal.vault.message import MESSAGE_LIMIT, MESSAGES_LIMIT, PLAINTEXT_LIMIT, PREFIX_LENGTH, Kind, split_message
from callseal.vault.seal import PartSealer
from callseal.vault.tree import KeyTree
from callseal.vault.unseal import PartOpener, open_header
from tests.vault.sealed_rig import END, PLAIN, RECORDING, card, keys, seal_part

PART = seal_part()
OPENER = PART.opener()
MESSAGES = [message for _at, message in PART.messages]


def test_every_message_opens_with_its_number_and_kind() -> None:
    previous = None
    for number, (message, (kind, _at, text)) in enumerate(zip(MESSAGES, [*PLAIN, END], strict=True)):
        assert OPENER.open(message, previous) == (number, kind, text)
        previous = split_message(message).commitment


def test_a_message_opens_alone_after_a_seek() -> None:
    assert OPENER.open(MESSAGES[4]).plaintext == PLAIN[4][2]


def test_the_granted_seconds_open_and_no_others() -> None:
    core, dek = open_header(PART.header, keys(7)[0])
    opener = PartOpener(core, KeyTree.from_seed(dek).cover(2, 3))
    assert [opener.open(MESSAGES[n]).number for n in (2, 3)] == [2, 3]
    for n in (0, 1, 4, 5):
        with pytest.raises(Destroyed):
            opener.open(MESSAGES[n])


@given(st.integers(0, len(MESSAGES) - 1), st.data())
@settings(max_examples=150, deadline=None)
def test_any_changed_bit_of_a_message_is_found(number: int, data: st.DataObject) -> None:
    message = bytearray(MESSAGES[number])
    place = data.draw(st.integers(0, min(len(message) - 1, 200)) | st.integers(0, len(message) - 1))
    message[place] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises((TamperedError, Destroyed)):
        OPENER.open(bytes(message))


@pytest.mark.parametrize("length", [0, 1, PREFIX_LENGTH, PREFIX_LENGTH + 72, -17, -16, -1])
def test_a_message_that_was_cut_is_refused(length: int) -> None:
    with pytest.raises(TamperedError):
        OPENER.open(MESSAGES[3][:length])


@pytest.mark.parametrize("place", [*range(0, CORE_LENGTH, 3), CORE_LENGTH, CORE_LENGTH + 1100, CORE_LENGTH + 1120, HEADER_LENGTH - 1])
def test_any_changed_byte_of_the_header_is_found(place: int) -> None:
    header = bytearray(PART.header)
    header[place] ^= 1
    with pytest.raises(TamperedError):
        open_header(bytes(header), keys(7)[0])


def test_a_header_of_another_length_is_refused() -> None:
    for bad in (PART.header[:-1], PART.header + b"\x00", b""):
        with pytest.raises(TamperedError):
            open_header(bad, keys(7)[0])


def test_a_header_does_not_open_with_the_key_of_another_epoch() -> None:
    with pytest.raises(TamperedError):
        open_header(PART.header, keys(8)[0])
    with pytest.raises(TamperedError):
        open_header(PART.header, keys(7)[0][:-1])


def test_a_sealed_key_moved_to_another_recording_does_not_open() -> None:
    other = seal_part(RecordingId(os.urandom(16)))
    with pytest.raises(TamperedError):
        open_header(other.header[:CORE_LENGTH] + PART.header[CORE_LENGTH:], keys(7)[0])


@pytest.mark.parametrize(("recording", "part"), [(RecordingId(bytes(16)), 0), (RECORDING, 1), (RECORDING, 0)])
def test_a_message_spliced_from_another_part_is_refused(recording: RecordingId, part: int) -> None:
    other = seal_part(recording, part)
    with pytest.raises(TamperedError):
        OPENER.open(other.messages[2][1])


def test_messages_swapped_or_cut_out_break_the_chain() -> None:
    swapped = MESSAGES[3][:4] + MESSAGES[2][4:]
    with pytest.raises(TamperedError):
        OPENER.open(swapped)
    with pytest.raises(TamperedError, match="predecessor"):
        OPENER.open(MESSAGES[4], split_message(MESSAGES[2]).commitment)
    with pytest.raises(TamperedError, match="predecessor"):
        OPENER.open(MESSAGES[3][:5] + bytes(32) + MESSAGES[3][37:], split_message(MESSAGES[2]).commitment)


def test_a_chain_begun_again_in_mid_part_is_refused() -> None:
    restarted = MESSAGES[3][:5] + split_header(PART.header)[0].digest() + MESSAGES[3][37:]
    with pytest.raises(TamperedError):
        OPENER.open(restarted)


def test_two_parts_of_the_same_recording_share_no_key_and_no_ciphertext() -> None:
    again = seal_part()
    assert again.header[:CORE_LENGTH] == PART.header[:CORE_LENGTH]
    assert again.header[CORE_LENGTH:] != PART.header[CORE_LENGTH:]
    assert open_header(again.header, keys(7)[0])[1] != open_header(PART.header, keys(7)[0])[1]


def test_the_same_plaintext_seals_differently_each_time() -> None:
    with PartSealer(RECORDING, 0, card()) as sealer:
        assert sealer.seal(Kind.MEDIA, b"x" * 100)[37:] != sealer.seal(Kind.MEDIA, b"x" * 100)[37:]


@pytest.mark.parametrize("length", [0, 1, 16383, 16384, 16385, 32768, PLAINTEXT_LIMIT])
def test_messages_of_every_length_around_a_chunk_open(length: int) -> None:
    with PartSealer(RECORDING, 0, card()) as sealer:
        message = sealer.seal(Kind.MEDIA, b"\xaa" * length)
        core, dek = open_header(sealer.header, keys(7)[0])
    assert len(message) == PREFIX_LENGTH + cobblestone.sealed_length(length) <= MESSAGE_LIMIT
    assert PartOpener(core, KeyTree.from_seed(dek).nodes).open(message).plaintext == b"\xaa" * length


def test_an_array_is_sealed_by_its_bytes() -> None:
    samples = np.arange(1000, dtype=np.int16)
    with PartSealer(RECORDING, 0, card()) as sealer:
        message = sealer.seal(Kind.PEAKS, samples.data)
        core, dek = open_header(sealer.header, keys(7)[0])
    assert PartOpener(core, KeyTree.from_seed(dek).nodes).open(message).plaintext == samples.tobytes()


def test_too_long_a_message_is_refused_and_costs_no_number() -> None:
    with PartSealer(RECORDING, 0, card()) as sealer:
        with pytest.raises(LimitExceeded):
            sealer.seal(Kind.MEDIA, bytes(PLAINTEXT_LIMIT + 1))
        assert split_message(sealer.seal(Kind.MEDIA, b"")).number == 0


def test_a_sealer_that_was_closed_seals_nothing_and_holds_no_key() -> None:
    sealer = PartSealer(RECORDING, 0, card())
    sealer.seal(Kind.MEDIA, b"x")
    sealer.close()
    with pytest.raises(LimitExceeded):
        sealer.seal(Kind.MEDIA, b"x")
    assert not any(sealer._leaf) and not any(sealer._tree._held)


def test_a_seal_that_fails_ends_the_part(monkeypatch: pytest.MonkeyPatch) -> None:
    sealer = PartSealer(RECORDING, 0, card())

    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(cobblestone, "encrypt_into", fail)
    with pytest.raises(MemoryError):
        sealer.seal(Kind.MEDIA, b"x")
    monkeypatch.undo()
    with pytest.raises(LimitExceeded):
        sealer.seal(Kind.MEDIA, b"x")
    assert sealer.count == 0 and not any(sealer._leaf)


def test_a_number_or_kind_that_no_message_has_is_refused() -> None:
    too_high = MESSAGES_LIMIT.to_bytes(4) + MESSAGES[0][4:]
    for bad in (too_high, MESSAGES[0][:4] + b"\x00" + MESSAGES[0][5:], MESSAGES[0][:4] + b"\x05" + MESSAGES[0][5:]):
        with pytest.raises(TamperedError):
            split_message(bad)


def test_a_core_out_of_bounds_is_refused() -> None:
    for fields in ((bytes(15), 0, 0, bytes(32)), (bytes(16), 1 << 32, 0, bytes(32)), (bytes(16), 0, 0, bytes(31))):
        with pytest.raises(InternalError):
            PartCore(RecordingId(fields[0]), *fields[1:])


def test_an_error_never_shows_a_key_or_what_was_said() -> None:
    _core, dek = open_header(PART.header, keys(7)[0])
    for text in (repr(OPENER), repr(KeyTree.from_seed(dek).nodes), repr(KeyTree.from_seed(dek))):
        assert dek.hex() not in text and repr(bytes(dek)) not in text
