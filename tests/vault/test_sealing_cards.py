"""Sealing cards: one form, verified before it is believed, and never no card."""

from dataclasses import replace
from datetime import timedelta

import pytest

from callseal.audit.note import Signer, open_note, sign_note
from callseal.errors import ConfigError, TamperedError
from callseal.vault.card import choose_card, decode_card, encode_card
from tests.vault.sealed_rig import NOT_AFTER, card

SIGNER = Signer.from_seed("callseal.example/2026", bytes(32))
OTHER = Signer.from_seed("callseal.example/2026", bytes([1]) * 32)


def sign(text: str) -> str:
    return sign_note(text, SIGNER).decode()


def verify(note: str) -> str:
    return open_note(note.encode(), [SIGNER.verifier]).text


CARD = card()
NOTE = encode_card(CARD, sign)


def test_a_card_is_read_as_it_was_written() -> None:
    assert decode_card(NOTE, verify) == CARD


def test_a_card_signed_by_another_key_is_refused() -> None:
    with pytest.raises(TamperedError):
        decode_card(encode_card(CARD, lambda text: sign_note(text, OTHER).decode()), verify)


def test_any_changed_character_of_a_card_is_found() -> None:
    text = NOTE.partition("\n\n")[0]
    for place in [*range(30), *range(30, len(text), 97), *range(len(text) - 30, len(text))]:
        changed = NOTE[:place] + chr(ord(NOTE[place]) ^ 1) + NOTE[place + 1 :]
        with pytest.raises(TamperedError):
            decode_card(changed, verify)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (0, "callseal/v2/card"), (1, "07"), (1, "+7"), (1, "7_0"), (1, " 7"), (1, str(1 << 32)), (1, "-1"),
        (2, "X25519, HKDF-SHA256, AES-256-GCM"), (3, ""), (3, "AAAA"), (4, "2026-12-01"), (4, "2026-12-01T00:00:00Z"),
        (4, "2026-12-01T01:00:00.000+01:00"), (5, "x"), (5, "-1"), (5, "3\n4"),
    ],
)  # fmt: skip
def test_a_card_well_signed_in_any_other_form_is_refused(line: int, value: str) -> None:
    lines = verify(NOTE).split("\n")
    lines[line] = value
    with pytest.raises(TamperedError):
        decode_card(sign("\n".join(lines)), verify)


def test_the_newest_valid_card_is_chosen_and_the_last_one_when_none_is_valid() -> None:
    newer = replace(CARD, epoch=9, not_after=NOT_AFTER + timedelta(days=1))
    stale = replace(CARD, epoch=11, not_after=NOT_AFTER - timedelta(days=1))
    assert choose_card([CARD, newer, stale], NOT_AFTER) == (newer, True)
    assert choose_card([CARD, newer, stale], NOT_AFTER + timedelta(days=9)) == (stale, False)


def test_without_a_card_nothing_is_recorded() -> None:
    with pytest.raises(ConfigError):
        choose_card([], NOT_AFTER)
