"""Two speakers whose clocks differ stay together, whatever the network does; the two hours are an assurance."""

from dataclasses import replace

import numpy as np
import pytest

from tests.assurance import timeline
from tests.assurance.timeline import APART_MS, Sent, Speaker, compare, listen, place

FAST = Speaker(skew_ppm=200.0, jitter_ms=30)
SLOW = replace(FAST, skew_ppm=-200.0)
TRIALS = {
    "clocks that agree": (Speaker(jitter_ms=2), Speaker(jitter_ms=2)),
    "clocks 400 ppm apart": (FAST, SLOW),
    "the same, the other way": (SLOW, FAST),
    "jitter on one side only": (replace(FAST, jitter_ms=2), replace(SLOW, jitter_ms=40)),
    "bursts of 150 ms and a twentieth lost": (replace(FAST, bursts_ms=150, loss=0.05), replace(SLOW, bursts_ms=150, loss=0.05)),
    "silence suppression": (replace(FAST, turns=True), replace(SLOW, turns=True)),
    "a pause of four minutes": (replace(FAST, silent=((60, 300),)), replace(SLOW, silent=((60, 300),))),
    "a pause of one side": (replace(FAST, silent=((60, 200),)), SLOW),
    "a late joiner": (FAST, replace(SLOW, joins_s=90.3)),
    "new sources": (replace(FAST, new_sources=(100.1, 210.7)), replace(SLOW, new_sources=(150.5,))),
    "new timestamps": (replace(FAST, new_bases=(100.1, 210.7)), SLOW),
    "packets of 10 and 60 ms": (replace(FAST, frame_ms=10), replace(SLOW, frame_ms=60)),
    "packets of 30 ms": (replace(FAST, frame_ms=30), replace(SLOW, frame_ms=30)),
    "a clock of 48 kHz": (replace(FAST, clock_hz=48_000), SLOW),
}


@pytest.mark.parametrize("name", TRIALS)
def test_tracks_stay_together_and_loss_stays_loss_and_pause_pause(name: str) -> None:
    apart = compare(TRIALS[name], hours=0.1, seed=11)
    assert apart.stated_ms <= APART_MS
    assert apart.heard_ms <= APART_MS


def test_where_clocks_agree_no_frame_is_moved() -> None:
    assert compare(TRIALS["clocks that agree"], hours=0.2, seed=5).steps == 0


def test_without_following_the_clock_they_part_and_this_sees_it() -> None:
    assert compare((FAST, SLOW), hours=0.2, seed=11, follow=False).stated_ms > 200


def test_a_shortened_hole_a_lost_frame_and_a_frame_that_is_not_heard_are_seen() -> None:
    chance = np.random.default_rng(3)
    sent = Sent(replace(FAST, loss=0.2), 0.02, chance)
    (found,) = place([sent], 0.02, chance)
    timeline._check(sent, found)
    listen(sent, found)
    hole = next(number for number in found if number > 1000 and number - 1 not in found and number - 2 in found)
    with pytest.raises(AssertionError, match="became one of"):
        timeline._check(sent, {number: at - 20 * (number >= hole) for number, at in found.items()})
    with pytest.raises(AssertionError, match="overtook"):
        timeline._check(sent, found | {hole: found[hole - 2] - 1})
    with pytest.raises(AssertionError, match="not heard"):
        listen(sent, found | {hole: found[hole - 2]})
