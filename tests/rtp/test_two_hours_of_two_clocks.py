"""Two speakers whose clocks differ stay together, through jitter, loss, reordering and duplicates; the two hours are an assurance."""

import pytest

from tests.assurance.timeline import APART_MS, apart_ms


@pytest.mark.parametrize("skews", [(100.0, -100.0), (0.0, 0.0)])
def test_tracks_stay_together_however_their_clocks_run(skews: tuple[float, float]) -> None:
    assert apart_ms(skews, hours=0.2, jitter_ms=30, seed=11) <= APART_MS


def test_a_pause_of_minutes_does_not_part_them() -> None:
    assert apart_ms((100.0, -100.0), hours=0.25, jitter_ms=30, seed=5, pause_s=(300, 600)) <= APART_MS


def test_without_following_the_clock_they_part_and_this_sees_it() -> None:
    assert apart_ms((100.0, -100.0), hours=0.2, jitter_ms=30, seed=11, follow=False) > 100
