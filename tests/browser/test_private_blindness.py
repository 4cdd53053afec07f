"""Every key that the servers hold, tried on what the relay saw; long, so run by `make assure-private`. The tones: test_private_calls."""

from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from tests.browser.private_blind import gateway, observe, speak_to_gateway
from tests.browser.private_stage import NEEDS, set_stage
from tests.tone_search import find_srtp_keys

pytestmark = [*NEEDS, pytest.mark.long]


@pytest.mark.timeout(1200)
def test_no_key_that_a_server_holds_opens_what_the_relay_saw_and_the_gateways_does() -> None:
    with sync_playwright() as playwright, set_stage(playwright) as stage:
        seen = observe(stage)
        with gateway() as process:
            secret = Path(stage.stack.config.turn_secret).read_text()
            memory, packets = speak_to_gateway(stage.browser, stage.relay, secret, process)
    assert find_srtp_keys([memory], [packets[0]]), "the control"
    early = [seen.packets[0], next(packet for packet in seen.packets if packet[8:12] != seen.packets[0][8:12])]
    for name, content in seen.everything.items():
        assert find_srtp_keys([content], early) == [], name
