"""The process log never carries a telephone or card number, whatever a caller passes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callseal.daemons.log import mask_digits


@pytest.mark.parametrize("number", ["+44 20 7946 0958", "02079460958", "4111 1111 1111 1111", "(020) 7946-0958", "07700.900123"])
def test_a_number_in_any_field_is_masked(number: str) -> None:
    event = mask_digits(None, "info", {"event": f"call from {number}", "why": number})
    assert not any(sum(character.isdigit() for character in str(value)) >= 4 for value in event.values())


def test_ids_and_times_are_kept() -> None:
    kept = {"recording": "0123456789abcdef0123456789abcdef", "timestamp": "2026-11-24T07:03:00.000Z", "pid": 1234567}
    assert mask_digits(None, "info", dict(kept)) == kept


@given(st.text(alphabet="0123456789 -.()+abc", min_size=0, max_size=40))
def test_no_run_of_seven_digits_survives(text: str) -> None:
    masked = str(mask_digits(None, "info", {"event": f" {text} "})["event"])
    assert not __import__("re").search(r"(?<![0-9A-Fa-f])\d{7,}(?![0-9A-Fa-f])", masked)
