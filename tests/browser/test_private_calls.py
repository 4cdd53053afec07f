"""A private call as people have it: two Chromiums, coturn, the whole line. Each hears the other, and the wire says nothing more.

`make test` runs the first of these; `make assure-private` runs all.
"""

import base64
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.browser.private_blind import DECOY_HERTZ, gateway, observe, speak_to_gateway, spellings, tones
from tests.browser.private_lying import lie_as_they_speak, lie_at_the_start
from tests.browser.private_relay import OPUS
from tests.browser.private_stage import CUSTOMER_HERTZ, NEEDS, PHONE, ROLE, SLACK, STAFF_HERTZ, Stage, heard, set_stage
from tests.files import contents

pytestmark = NEEDS


@pytest.fixture(scope="module")
def running() -> Iterator[Stage]:
    with sync_playwright() as playwright, set_stage(playwright) as stage:
        yield stage


@pytest.fixture
def stage(running: Stage) -> Iterator[Stage]:
    yield running
    running.staff.evaluate("lie = null")
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


@pytest.mark.long
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
    while time.monotonic() < cut + 6 * SLACK and len(seen) < 2:
        for item in stage.relay.way.voice(cut):
            if item.client not in stage.relay.way.weather.cut:
                seen.setdefault(item.client, item.at)
        customer.wait_for_timeout(50)
    assert len(seen) >= 2, "both speak over new ways"
    expect(customer.locator("#talk-words")).to_have_text("You are speaking.")
    back = time.monotonic() - cut
    heard(customer, STAFF_HERTZ)
    heard(stage.staff, CUSTOMER_HERTZ)
    assert back < 3.0 * SLACK and max(seen.values()) - cut < 3.0 * SLACK
    assert customer.evaluate("connections[0].remoteDescription.sdp.match(/a=fingerprint:.*/)[0]") == print_before
    customer.get_by_role("button", name="Hang up").click()
    assert stage.over(stage.staff) == ("completed", "bye")


@pytest.mark.long
def test_a_lost_signalling_socket_comes_again_and_nothing_of_the_line_is_missing(stage: Stage) -> None:
    customer = stage.customer(stage.invite())
    stage.talk(customer)
    for page, other in ((customer, stage.staff), (stage.staff, customer)):
        page.evaluate("sockets.at(-1).close()")
        page.get_by_role("button", name="Hold").click()
        expect(other.locator("#talk-words")).to_contain_text("put you on hold", timeout=15_000)
        page.get_by_role("button", name="Hold").click()
        expect(other.locator("#talk-words")).to_have_text("You are speaking.", timeout=15_000)
        assert page.evaluate("sockets.filter((one) => one.readyState === 1).length") == 1 < page.evaluate("sockets.length")
    heard(stage.staff, CUSTOMER_HERTZ)
    heard(customer, STAFF_HERTZ)
    customer.get_by_role("button", name="Hang up").click()
    assert stage.over(stage.staff) == ("completed", "bye")


@pytest.mark.long
def test_the_telephone_is_the_way_out_of_a_call_that_nobody_takes(stage: Stage) -> None:
    customer = stage.customer(stage.invite())
    customer.get_by_role("button", name="Call", exact=True).click()
    stage.staff.get_by_role("button", name="Decline").click()
    assert stage.over(customer) == ("declined", "declined")
    assert customer.get_by_role("link", name=PHONE).get_attribute("href") == f"tel:{PHONE.replace(' ', '')}"


def forms(secret: str) -> list[bytes]:
    """A secret in each spelling it might lie in."""
    raw = base64.urlsafe_b64decode(secret + "=" * (-len(secret) % 4))
    spelled = [secret, base64.b64encode(raw).decode(), base64.b64encode(raw).decode().rstrip("="), raw.hex(), raw.hex().upper()]
    return [raw, *(text.encode() for text in spelled)]


def test_the_secret_of_a_link_is_in_no_request_referer_log_or_storage(stage: Stage) -> None:
    link = stage.invite()
    kid, psk, call = link.partition("#i.")[2].split(".")
    asked: list[str] = []
    customer = stage.customer()
    for page in (customer, stage.staff):
        page.on("request", lambda request: asked.append(json.dumps([request.url, request.all_headers(), request.post_data])))
        page.on("websocket", lambda line: line.on("framesent", lambda text: asked.append(str(text))))
    customer.goto(link)
    began = time.monotonic()
    expect(customer.get_by_role("heading", name="Test Surgery")).to_be_visible()
    assert customer.url == f"{stage.page_origin}/" and time.monotonic() - began < 1.0 * SLACK
    stage.talk(customer)
    heard(customer, STAFF_HERTZ)
    customer.get_by_role("button", name="Hang up").click()
    assert stage.over(stage.staff) == ("completed", "bye")
    customer.wait_for_timeout(100)
    assert len(asked) > 8 and not [item for item in asked if any(form in item.encode() for form in forms(psk))]
    assert not [item for item in asked if kid in item and f"{stage.page_origin}/" in item.split('"')[1]], "nor the key's hash"
    assert not [item for item in asked if '"referer"' in item.lower() and stage.page_origin in item]
    kept = customer.evaluate(
        """async () => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, await indexedDB.databases(),
             await caches.keys(), history.state, performance.getEntriesByType("resource").map((one) => one.name), document.documentElement.outerHTML])"""
    )
    assert not any(form in kept.encode() for form in forms(psk)) and json.loads(kept)[:5] == [{}, {}, "", [], []]
    found = [path for path, content in contents(stage.stack.data) if any(form in content for form in forms(psk))]
    assert found == [] and psk not in stage.stack.logs()
    stored = stage.staff.evaluate(KEPT_BY_STAFF)
    assert not any(form in stored.encode() for form in forms(psk)), "the staff's browser makes it anew, and keeps it nowhere"
    assert call in stored, "the control: this is where it would be"


KEPT_BY_STAFF = """async () => {
  const database = await new Promise((resolve) => { const asked = indexedDB.open("callseal-private"); asked.onsuccess = () => resolve(asked.result); });
  const all = {};
  for (const name of database.objectStoreNames) {
    const asked = database.transaction(name).objectStore(name).getAll();
    all[name] = await new Promise((resolve) => (asked.onsuccess = () => resolve(asked.result)));
  }
  const keys = [];
  for (const value of all.keys.flatMap((one) => (one instanceof CryptoKey ? [one] : Object.values(one).filter((item) => item instanceof CryptoKey)))) {
    const formats = value.type === "secret" ? ["raw", "jwk"] : ["pkcs8", "jwk"];
    for (const format of formats) keys.push(await crypto.subtle.exportKey(format, value).then(() => "given out", (error) => error.name));
  }
  database.close();
  return JSON.stringify([all, keys, { ...localStorage }, { ...sessionStorage }]);
}"""


@pytest.mark.long
def test_no_script_can_take_the_keys_of_the_staffs_browser(stage: Stage) -> None:
    stage.invite()
    _, keys, local, session = json.loads(stage.staff.evaluate(KEPT_BY_STAFF))
    assert len(keys) == 4 and set(keys) == {"InvalidAccessError"} and local == session == {}


@pytest.mark.long
def test_a_link_works_once(stage: Stage) -> None:
    link = stage.invite()
    customer = stage.customer(link)
    stage.start(customer)
    customer.get_by_role("button", name="Decline").click()
    assert stage.over(customer) == stage.over(stage.staff) == ("declined", "declined")
    again = stage.customer(link)
    again.get_by_role("button", name="Call", exact=True).click()
    assert stage.over(again) == ("expired", "used")
    expect(again.locator("section:visible")).to_contain_text("Ask for a new one")


@pytest.mark.long
def test_a_link_that_is_not_whole_or_names_another_business_is_explained(stage: Stage) -> None:
    link = stage.invite()
    bare = stage.customer(link.partition("#")[0])
    expect(bare.get_by_role("heading", name="This link is not whole")).to_be_focused()
    cut = stage.customer(link[:-5])
    assert stage.over(cut) == ("expired", "link-damaged")
    head, _, tail = link.partition("#i.")
    other = stage.customer(f"{head}#i.{'A' * 43}{tail[43:]}")
    assert stage.over(other) == ("identity", "root-unknown")


@pytest.mark.long
def test_the_secret_of_another_link_proves_nobody(stage: Stage) -> None:
    one, two = stage.invite(), stage.invite()
    head, kid, _, call = re.match(r"(.*#i)\.([^.]*)\.([^.]*)\.([^.]*)$", one).groups()  # type: ignore[union-attr]
    began = time.monotonic()
    customer = stage.customer(f"{head}.{kid}.{two.split('.')[-2]}.{call}")
    customer.get_by_role("button", name="Call", exact=True).click()
    stage.staff.get_by_role("button", name="Answer").click()
    assert stage.over(customer) == ("identity", "mac") and stage.over(stage.staff) == ("identity", "mac")
    assert stage.relay.way.voice(began) == []


@pytest.mark.long
def test_whoever_comes_by_the_public_link_compares_four_signs(stage: Stage) -> None:
    kid = stage.invite().partition("#i.")[2].split(".")[0]
    customer = stage.customer(f"{stage.page_origin}/#p.{kid}")
    stage.talk(customer)
    shown = [page.locator(".sas:visible").inner_text() for page in (customer, stage.staff)]
    assert shown[0] == shown[1] and re.fullmatch("[0-9A-HJKMNP-TV-Z]{4}", shown[0])
    customer.get_by_role("button", name="Hang up").click()
    assert stage.over(stage.staff) == ("completed", "bye")


def test_a_swapped_offer_ends_the_call_at_both_ends(stage: Stage) -> None:
    lie_at_the_start(stage, "the offer's fingerprint swapped on its way to staff")


def test_another_fingerprint_as_they_speak_ends_the_call_at_both_ends(stage: Stage) -> None:
    lie_as_they_speak(stage, "another fingerprint in the answer to it")


@pytest.mark.long
def test_no_server_has_heard_the_call_and_the_same_search_finds_a_gateway_that_has(stage: Stage) -> None:
    seen = observe(stage)
    assert len(seen.packets) > 100 and len(seen.frames) > 15 and {"web", "custodian", "coturn"} <= set(seen.memory)
    for name, content in seen.everything.items():
        assert tones(content, CUSTOMER_HERTZ, STAFF_HERTZ) == [], name
        for what, secret in seen.secrets.items():
            assert not any(form in content for form in spellings(secret)), f"{name}: {what}"
    with gateway() as process:
        memory, _ = speak_to_gateway(stage.browser, stage.relay, Path(stage.stack.config.turn_secret).read_text(), process)
    assert len(tones(memory, CUSTOMER_HERTZ)) > 20, "the control: the gateway's memory holds the tone"
    assert tones(memory, DECOY_HERTZ) == [], "and no other"
