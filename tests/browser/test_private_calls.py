"""A private call as people have it: two Chromiums, coturn, the whole line. Each hears the other, and the wire says nothing more."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.browser.conftest import CHROMIUM
from tests.browser.private_relay import OPUS, TURNSERVER
from tests.browser.private_stage import CUSTOMER_HERTZ, PHONE, ROLE, STAFF_HERTZ, Stage, heard, set_stage

pytestmark = [
    pytest.mark.browser,
    pytest.mark.real,
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="Debian's chromium is not installed"),
    pytest.mark.skipif(not TURNSERVER.exists(), reason="Debian's coturn is not installed"),
]


@pytest.fixture(scope="module")
def running() -> Iterator[Stage]:
    with sync_playwright() as playwright, set_stage(playwright) as stage:
        yield stage


@pytest.fixture
def stage(running: Stage) -> Iterator[Stage]:
    yield running
    running.tidy()
    assert running.complaints == []


def opus_sizes(payloads: list[bytes]) -> set[int]:
    """Sizes of what RTP carries: without its header, its extension and the 10 bytes of SRTP's tag."""
    sizes = set()
    for packet in payloads:
        at = 12 + 4 * (packet[0] & 15)
        if packet[0] & 16:
            at += 4 + 4 * int.from_bytes(packet[at + 2 : at + 4], "big")
        sizes.add(len(packet) - at - 10)
    return sizes


def extension_ids(payloads: list[bytes]) -> set[int]:
    """Ids of one-byte header extensions (RFC 8285) that stand in RTP packets; their values are in the clear."""
    found = set()
    for packet in payloads:
        at = 12 + 4 * (packet[0] & 15)
        if not packet[0] & 16 or packet[at : at + 2] != b"\xbe\xde":
            continue
        block = packet[at + 4 : at + 4 + 4 * int.from_bytes(packet[at + 2 : at + 4], "big")]
        place = 0
        while place < len(block):
            if block[place] == 0:
                place += 1
                continue
            found.add(block[place] >> 4)
            place += 2 + (block[place] & 15)
    return found


def test_each_hears_the_other_and_the_wire_says_nothing_more(stage: Stage) -> None:
    link = stage.invite()
    customer = stage.customer(link)
    sent: list[str] = []
    customer.on("websocket", lambda line: line.on("framesent", lambda text: sent.append(str(text))))
    began = time.monotonic()
    expect(customer.get_by_role("heading", name="Test Surgery")).to_be_visible()
    assert customer.url == f"{stage.page_origin}/"
    stage.start(customer)
    expect(customer.get_by_role("heading", name=f"{ROLE} at Test Surgery is there")).to_be_visible()
    expect(customer.locator("section:visible")).to_contain_text("Not recorded.")
    assert stage.relay.way.voice(began) == [], "no voice before the customer has answered"
    assert customer.evaluate("players.every((one) => one.srcObject === null)"), "nothing is played before the customer has answered"
    customer.get_by_role("button", name="Answer").click()
    expect(stage.staff.locator("#talk-words")).to_have_text("You are speaking.")
    heard(customer, STAFF_HERTZ)
    heard(stage.staff, CUSTOMER_HERTZ)
    voice = [item.payload for item in stage.relay.way.voice(began)]
    assert len(voice) > 50 and {packet[1] & 127 for packet in voice} == {OPUS}
    assert len(opus_sizes(voice)) == 1, "one size, whatever is said"
    mid = re.search(r"a=extmap:(\d+) urn:ietf:params:rtp-hdrext:sdes:mid", customer.evaluate("connections[0].localDescription.sdp"))
    assert mid and extension_ids(voice) <= {int(mid[1])}, "no audio level"
    for page in (customer, stage.staff):
        used = page.evaluate(
            "connections.at(-1).getStats().then((all) => [...all.values()].filter((one) => one.type === 'local-candidate').map((one) => one.candidateType))"
        )
        assert set(used) == {"relay"}
    message = json.loads(sent[1])
    candidates = re.findall(r"a=candidate:.*? typ (\w+) raddr (\S+) rport (\d+)", message["sdp"])
    assert candidates and set(candidates) == {("relay", "0.0.0.0", "0")}
    customer.get_by_role("button", name="Hang up").click()
    assert stage.over(customer) == stage.over(stage.staff) == ("completed", "bye")
    row = stage.staff.locator("#private-calls tbody tr").first
    expect(row).to_contain_text("The call has ended")
    expect(customer.locator("section:visible")).to_contain_text("Nothing was recorded.")


def test_hold_mute_and_resume_keep_the_packets_at_their_pace(stage: Stage) -> None:
    customer = stage.customer(stage.invite())
    stage.talk(customer)
    heard(stage.staff, CUSTOMER_HERTZ)
    customer.get_by_role("button", name="Hold").click()
    expect(stage.staff.locator("#talk-words")).to_contain_text("put you on hold")
    held = time.monotonic()
    stage.staff.wait_for_timeout(700)
    quiet = stage.staff.evaluate("hear()")
    assert quiet["level"] < -80, "silence, from somebody on hold"
    assert customer.evaluate("hear()") is None, "who has put on hold hears nothing"
    voice = stage.relay.way.voice(held)
    assert len(opus_sizes([item.payload for item in voice])) == 1
    for port in {item.client for item in voice}:
        times = [item.at for item in voice if item.client == port]
        assert 35 < len(times) / (times[-1] - times[0]) < 65, "50 packets a second, on hold as in speech"
    customer.get_by_role("button", name="Hold").click()
    heard(stage.staff, CUSTOMER_HERTZ)
    heard(customer, STAFF_HERTZ)
    stage.staff.get_by_role("button", name="Mute").click()
    stage.staff.wait_for_timeout(500)
    assert customer.evaluate("hear()")["level"] < -80
    stage.staff.get_by_role("button", name="Mute").click()
    heard(customer, STAFF_HERTZ)
    stage.staff.get_by_role("button", name="Hang up").click()
    assert stage.over(customer) == ("completed", "bye")


def test_after_a_change_of_network_both_are_heard_again_within_three_seconds(stage: Stage) -> None:
    customer = stage.customer(stage.invite())
    stage.talk(customer)
    heard(customer, STAFF_HERTZ)
    print_before = customer.evaluate("connections[0].remoteDescription.sdp.match(/a=fingerprint:.*/)[0]")
    stage.relay.way.cut_everybody()
    cut = time.monotonic()
    seen: dict[int, float] = {}
    while time.monotonic() < cut + 6 and len(seen) < 2:
        for item in stage.relay.way.voice(cut):
            if item.client not in stage.relay.way.weather.cut:
                seen.setdefault(item.client, item.at)
        customer.wait_for_timeout(50)
    assert len(seen) >= 2, "both speak over new ways"
    expect(customer.locator("#talk-words")).to_have_text("You are speaking.")
    back = time.monotonic() - cut
    heard(customer, STAFF_HERTZ)
    heard(stage.staff, CUSTOMER_HERTZ)
    assert back < 3.0 and max(seen.values()) - cut < 3.0
    assert customer.evaluate("connections[0].remoteDescription.sdp.match(/a=fingerprint:.*/)[0]") == print_before
    customer.get_by_role("button", name="Hang up").click()
    assert stage.over(stage.staff) == ("completed", "bye")


def test_a_lost_signalling_socket_comes_again_and_nothing_of_the_line_is_missing(stage: Stage) -> None:
    customer = stage.customer(stage.invite())
    stage.talk(customer)
    customer.context.set_offline(True)
    customer.get_by_role("button", name="Hold").click()
    customer.wait_for_timeout(300)
    customer.context.set_offline(False)
    expect(stage.staff.locator("#talk-words")).to_contain_text("put you on hold", timeout=15_000)
    customer.get_by_role("button", name="Hold").click()
    expect(stage.staff.locator("#talk-words")).to_have_text("You are speaking.", timeout=15_000)
    heard(stage.staff, CUSTOMER_HERTZ)
    customer.get_by_role("button", name="Hang up").click()
    assert stage.over(stage.staff) == ("completed", "bye")


def test_the_telephone_is_the_way_out_of_a_call_that_nobody_takes(stage: Stage) -> None:
    customer = stage.customer(stage.invite())
    customer.get_by_role("button", name="Call", exact=True).click()
    stage.staff.get_by_role("button", name="Decline").click()
    assert stage.over(customer) == ("declined", "declined")
    assert customer.get_by_role("link", name=PHONE).get_attribute("href") == f"tel:{PHONE.replace(' ', '')}"
