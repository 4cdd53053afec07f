"""A seeded sample of `make assure-kills`."""

import pytest

from tests.assurance.kills import run

pytestmark = pytest.mark.real


def test_what_was_sent_two_seconds_before_a_kill_opens_and_the_loss_is_named() -> None:
    counts = run(kills=6, seed=20261124)
    assert counts["kills"] == 6
    assert counts["calls"] == 24
    assert counts["lost_before_2s"] == 0, counts
    assert counts["sealed_through_lied"] == 0, counts
    assert counts["loss_not_named"] == 0, counts
    assert counts["not_resumed"] == 0, counts
    assert counts["packets_opened"] + counts["packets_lost"] == counts["packets"]
    assert counts["packets_lost"] > 0, "a kill that loses nothing at all was none"
