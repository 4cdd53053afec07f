"""A server that lies in the middle of real calls, to staff and to customers, at their start and as they speak: both ends hear of it,
within two seconds, and no voice goes on. What is changed is what came over the real socket, just before the page reads it.
"""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from callseal.webrtc.turn import make_credential
from tests.browser.conftest import CHROMIUM
from tests.browser.private_modules import serving_modules
from tests.browser.private_relay import TURNSERVER
from tests.browser.private_stage import CUSTOMER_HERTZ, EARS, STAFF_HERTZ, Stage, heard, set_stage

pytestmark = [
    pytest.mark.browser,
    pytest.mark.real,
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="Debian's chromium is not installed"),
    pytest.mark.skipif(not TURNSERVER.exists(), reason="Debian's coturn is not installed"),
]

WITHIN_SECONDS = 2.0
OTHER_PRINT = ":".join(["A1"] * 32)
SWAPPED = f"(frame) => ({{ ...frame, sdp: frame.sdp.replace(/(a=fingerprint:sha-256) .*/, '$1 {OTHER_PRINT}\\r') }})"


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


def tell(page: Page, kind: str, change: str) -> None:
    """From now on each frame of this kind comes as `change` makes of it: a JavaScript function of a frame, to a frame or to several."""
    page.evaluate(
        f"""() => {{ const change = {change};
            lie = (frame) => {{ if (frame.type !== {kind!r}) return [frame];
              if (!globalThis.liedAt) globalThis.liedAt = Date.now();
              return [change(frame)].flat(); }}; globalThis.liedAt = 0; }}"""
    )


def both_over(stage: Stage, customer: Page, liar: Page) -> tuple[str, str]:
    """Outcome and reason at both ends, soon after the lie."""
    ends = {stage.over(page) for page in (customer, stage.staff)}
    late = time.time() - liar.evaluate("liedAt") / 1000
    assert late < WITHIN_SECONDS, f"{late:.1f} s"
    assert len(ends) == 1, ends
    return ends.pop()


def call_and_answer(stage: Stage, customer: Page) -> None:
    customer.get_by_role("button", name="Call", exact=True).click()
    stage.staff.get_by_role("button", name="Answer").click()


AT_THE_START = {
    "the offer's fingerprint swapped on its way to staff": ("staff", "m1", SWAPPED, "sdp-changed"),
    "the answer's fingerprint swapped on its way to the customer": ("customer", "m2", SWAPPED, "sdp-changed"),
    "the offer twice": ("staff", "m1", "(frame) => [frame, frame]", "replayed"),
    "another's proof": (
        "staff", "m3", "(frame) => ({ ...frame, message: frame.message.replace(/\"nc\":\"..../, '\"nc\":\"AAAA') })", "commitment"),
    "a proof of another secret": (
        "staff", "m3", "(frame) => ({ ...frame, message: frame.message.replace(/\"mac\":\"..../, '\"mac\":\"AAAA') })", "mac"),
}  # fmt: skip


@pytest.mark.parametrize("name", AT_THE_START)
def test_a_lie_at_the_start_ends_the_call_at_both_ends_before_a_word_is_sent(stage: Stage, name: str) -> None:
    who, kind, change, reason = AT_THE_START[name]
    customer = stage.customer(stage.invite())
    liar = stage.staff if who == "staff" else customer
    tell(liar, kind, change)
    began = time.monotonic()
    call_and_answer(stage, customer)
    assert both_over(stage, customer, liar) == ("identity", reason)
    assert stage.relay.way.voice(began) == []
    assert customer.evaluate("players.every((one) => one.srcObject === null)"), "nothing was played"


RESTART = "dispatchEvent(new Event('online'))"
HOLD = "document.querySelector('[data-do=hold]').click()"
FORGED = "(frame) => ({ ...frame, mac: 'A'.repeat(43) })"
WEAKER = "(frame) => ({ ...frame, message: frame.message.replace('\"relay\":true', '\"relay\":false') })"
RECORDED = "(frame) => ({ ...frame, message: frame.message.replace('\"rec\":\"none\"', '\"rec\":\"on\"') })"

AS_THEY_SPEAK = {
    "another fingerprint as the network changes": ("staff", RESTART, SWAPPED, "sdp-changed"),
    "another fingerprint in the answer to it": ("customer", RESTART, SWAPPED, "sdp-changed"),
    "a weaker policy as the network changes": ("staff", RESTART, WEAKER, "mac"),
    "recorded from now on, as they hold": ("staff", HOLD, RECORDED, "mac"),
    "a hold that nobody asked for": ("staff", HOLD, FORGED, "mac"),
    "a hold twice": ("staff", HOLD, "(frame) => [frame, frame]", "replayed"),
}  # fmt: skip


@pytest.mark.parametrize("name", AS_THEY_SPEAK)
def test_a_lie_as_they_speak_ends_the_call_at_both_ends(stage: Stage, name: str) -> None:
    who, act, change, reason = AS_THEY_SPEAK[name]
    customer = stage.customer(stage.invite())
    stage.talk(customer)
    heard(stage.staff, CUSTOMER_HERTZ)
    liar = stage.staff if who == "staff" else customer
    tell(liar, "later", change)
    customer.evaluate(act)
    assert both_over(stage, customer, liar) == ("identity", reason)
    ended = time.monotonic()
    customer.wait_for_timeout(300)
    assert stage.relay.way.voice(ended + 0.1) == [], "no voice goes on"


def test_a_server_that_says_the_call_is_on_opens_no_microphone(stage: Stage) -> None:
    customer = stage.customer(stage.invite())
    began = time.monotonic()
    tell(customer, "ringing", "(frame) => [frame, { type: 'talking' }]")
    customer.get_by_role("button", name="Call", exact=True).click()
    assert stage.over(customer) == ("identity", "replayed")
    assert stage.relay.way.voice(began) == []
    expect(stage.staff.locator("#ring")).to_be_hidden()


def test_the_certificate_itself_is_compared_before_any_sound(stage: Stage) -> None:
    """Two of the page's own voices, joined; one is told to expect another certificate than the other has."""
    secret = Path(stage.stack.config.turn_secret).read_text()
    with serving_modules() as origin:
        page = stage.browser.new_context().new_page()
        page.add_init_script(EARS.replace("HERTZ", str(CUSTOMER_HERTZ)))
        page.goto(f"{origin}/able.js")
        began = time.monotonic()
        said = page.evaluate(JOINED, {"ice": ice_of(stage, secret), "wrong": "a1" * 32})
        assert said["refused"] == ["fingerprint", "fingerprint"] and said["sent"] == 0
        assert stage.relay.way.voice(began) == []
        assert page.evaluate("proveAndOpen()") == "open", "the control: with the right one it opens"
        page.wait_for_timeout(500)
        assert len(stage.relay.way.voice(began)) > 5
        page.context.close()


def ice_of(stage: Stage, secret: str) -> dict[str, object]:
    return make_credential(secret, [stage.relay.url], datetime.now(UTC))


JOINED = """async ({ ice, wrong }) => {
  const { Voice } = await import("./voice.js");
  const [one, two] = [await Voice.create(ice), await Voice.create(ice)];
  const answer = await two.answer(await one.offer());
  await one.accept(answer);
  const refusal = (promise) => promise.then(() => "no refusal", (error) => error.reason);
  const refused = [await refusal(one.prove(wrong)), await refusal(one.open(await navigator.mediaDevices.getUserMedia({ audio: true })))];
  const stats = [...(await one.connection.getStats()).values()].find((item) => item.type === "outbound-rtp");
  globalThis.proveAndOpen = async () => {
    await one.prove(two.fingerprint);
    await one.open(await navigator.mediaDevices.getUserMedia({ audio: true }));
    return "open";
  };
  return { refused, sent: stats?.packetsSent ?? 0 };
}"""


def test_the_control_a_call_that_nobody_lies_in_goes_on(stage: Stage) -> None:
    customer = stage.customer(stage.invite())
    for page in (customer, stage.staff):
        tell(page, "later", "(frame) => frame")
    stage.talk(customer)
    customer.evaluate(RESTART)
    customer.evaluate(HOLD)
    expect(stage.staff.locator("#talk-words")).to_contain_text("put you on hold")
    customer.evaluate(HOLD)
    heard(stage.staff, CUSTOMER_HERTZ)
    heard(customer, STAFF_HERTZ)
    customer.get_by_role("button", name="Hang up").click()
    assert stage.over(stage.staff) == ("completed", "bye")
