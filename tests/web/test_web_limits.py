"""Attempts are counted for each asker, and a full table fails closed."""

import pytest

from callseal.errors import LimitExceeded
from callseal.web.limits import WINDOW_SECONDS, Attempts


def test_an_asker_is_refused_beyond_the_limit_and_others_are_not() -> None:
    attempts = Attempts(per_window=3)
    for at in range(3):
        attempts.count("a", float(at))
    with pytest.raises(LimitExceeded):
        attempts.count("a", 3.0)
    attempts.count("b", 3.0)


def test_an_asker_may_try_again_when_the_minute_has_passed() -> None:
    attempts = Attempts(per_window=2)
    attempts.count("a", 0.0)
    attempts.count("a", 30.0)
    with pytest.raises(LimitExceeded):
        attempts.count("a", WINDOW_SECONDS - 0.1)
    attempts.count("a", WINDOW_SECONDS)
    with pytest.raises(LimitExceeded):
        attempts.count("a", WINDOW_SECONDS + 0.1)


def test_a_full_table_refuses_strangers_until_somebody_is_forgotten() -> None:
    attempts = Attempts(askers=2)
    attempts.count("a", 0.0)
    attempts.count("b", 50.0)
    with pytest.raises(LimitExceeded):
        attempts.count("c", 51.0)
    attempts.count("b", 52.0)
    attempts.count("c", WINDOW_SECONDS)
