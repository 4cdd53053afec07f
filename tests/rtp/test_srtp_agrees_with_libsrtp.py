"""A seeded sample of the agreement with libsrtp; the million: `make assure-srtp`."""

import pytest

from tests import srtp_agreement
from tests.srtp_agreement import SUITES, compare

PACKETS = 30_000
"""For each suite."""


@pytest.mark.parametrize("suite", SUITES)
def test_the_same_packets_are_accepted_with_the_same_payloads(suite: str) -> None:
    counts = compare(suite, PACKETS, f"callseal {suite}")
    assert counts["disagreements"] == 0
    assert PACKETS * 0.9 < counts["accepted"] < counts["arrived"] and counts["packets"] == PACKETS
    assert counts["failed"] > 1000 and counts["replayed"] > 1000 and counts["reports"] > 30


def test_a_receiver_that_takes_one_packet_too_many_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    true = srtp_agreement.payloads_of
    monkeypatch.setattr(srtp_agreement, "payloads_of", lambda frames: [*true(frames), b"planted"][: len(frames) + (len(frames) == 5)])
    assert compare(SUITES[0], 2000, "planted")["disagreements"] > 0
