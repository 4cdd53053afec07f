"""An opening belongs to one session, and its keys are wiped at every way out."""

import pytest

from callseal.errors import LimitExceeded, NotFound
from callseal.web.openings import LONGEST_SECONDS, PER_SESSION, Openings

ANN, BEN = b"a" * 32, b"b" * 32


class Keys:
    """Something that holds keys."""

    wiped = False

    def wipe(self) -> None:
        self.wiped = True


def test_an_opening_is_found_by_its_own_session() -> None:
    openings: Openings[Keys] = Openings()
    keys = Keys()
    name = openings.add(keys, ANN, 0.0)
    assert openings.find(name, ANN, 1.0) is keys


def test_another_sessions_opening_is_not_found_and_stays_open() -> None:
    openings: Openings[Keys] = Openings()
    keys = Keys()
    name = openings.add(keys, ANN, 0.0)
    for attempt in (openings.find, openings.end):
        with pytest.raises(NotFound):
            attempt(name, BEN, 1.0)
    assert openings.find(name, ANN, 1.0) is keys
    assert not keys.wiped


def test_keys_are_wiped_when_an_opening_is_closed() -> None:
    openings: Openings[Keys] = Openings()
    keys = Keys()
    name = openings.add(keys, ANN, 0.0)
    openings.end(name, ANN, 1.0)
    assert keys.wiped
    with pytest.raises(NotFound):
        openings.find(name, ANN, 1.0)


def test_keys_are_wiped_when_their_session_ends() -> None:
    openings: Openings[Keys] = Openings()
    own, other = Keys(), Keys()
    openings.add(own, ANN, 0.0)
    openings.add(other, BEN, 0.0)
    openings.end_session(ANN)
    assert (own.wiped, other.wiped) == (True, False)


def test_keys_are_wiped_after_an_hour_when_asked_for_and_when_not() -> None:
    openings: Openings[Keys] = Openings()
    asked, swept = Keys(), Keys()
    name = openings.add(asked, ANN, 0.0)
    openings.add(swept, BEN, 0.0)
    with pytest.raises(NotFound):
        openings.find(name, ANN, LONGEST_SECONDS)
    openings.sweep(LONGEST_SECONDS)
    assert asked.wiped and swept.wiped


def test_a_sessions_oldest_opening_makes_room() -> None:
    openings: Openings[Keys] = Openings()
    held = [Keys() for _ in range(PER_SESSION + 1)]
    for keys in held:
        openings.add(keys, ANN, 0.0)
    assert [keys.wiped for keys in held] == [True] + [False] * PER_SESSION


def test_a_full_table_refuses_and_wipes_what_it_was_given() -> None:
    openings: Openings[Keys] = Openings(limit=1)
    first, second = Keys(), Keys()
    openings.add(first, ANN, 0.0)
    with pytest.raises(LimitExceeded):
        openings.add(second, BEN, 0.0)
    assert (first.wiped, second.wiped) == (False, True)


def test_all_keys_are_wiped_when_the_console_stops() -> None:
    openings: Openings[Keys] = Openings()
    keys = Keys()
    openings.add(keys, ANN, 0.0)
    openings.end_all()
    assert keys.wiped
