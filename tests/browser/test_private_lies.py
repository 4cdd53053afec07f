"""A server that lies in the middle of real calls, to staff and to customers, at their start and as they speak: both ends hear of it,
within two seconds, and no voice goes on. All of them by `make assure-private`; some stand in test_private_calls as well.
"""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

from callseal.webrtc.turn import make_credential
from tests.browser.private_lying import AS_THEY_SPEAK, AT_THE_START, HOLD, RESTART, lie_as_they_speak, lie_at_the_start, tell
from tests.browser.private_modules import serving_modules
from tests.browser.private_stage import CUSTOMER_HERTZ, EARS, NEEDS, STAFF_HERTZ, Stage, heard, set_stage

pytestmark = [*NEEDS, pytest.mark.long]


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


@pytest.mark.parametrize("name", AT_THE_START)
def test_a_lie_at_the_start_ends_the_call_at_both_ends_before_a_word_is_sent(stage: Stage, name: str) -> None:
    lie_at_the_start(stage, name)


@pytest.mark.parametrize("name", AS_THEY_SPEAK)
def test_a_lie_as_they_speak_ends_the_call_at_both_ends(stage: Stage, name: str) -> None:
    lie_as_they_speak(stage, name)


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


def test_a_browser_makes_its_next_key_in_time_and_a_revoked_one_answers_no_more(stage: Stage) -> None:
    staff = stage.staff
    staff.reload()
    expect(staff.locator("#line")).to_contain_text("Ready")
    expect(staff.locator("#renew")).to_be_hidden()
    before = staff.locator("#device-list li").first.inner_text()
    staff.evaluate("document.querySelector('#renew').hidden = false")  # as three days before its end
    staff.get_by_role("button", name="Make the next one").click()
    expect(staff.locator("#renewing")).to_be_visible()
    expect(staff.locator("#device-list li")).to_have_count(2)
    customer = stage.customer(stage.invite())
    stage.talk(customer)
    customer.get_by_role("button", name="Hang up").click()
    stage.over(staff)
    stage.publish()
    staff.reload()
    expect(staff.locator("#line")).to_contain_text("Ready", timeout=30_000)
    expect(staff.locator("#renewing")).to_be_hidden()
    old = before.partition("key ")[2][:8]
    staff.get_by_role("button", name=f"Revoke the browser with the key {old}").click()
    expect(staff.locator("#message")).to_contain_text("Revoked")
    stage.publish()
    customer = stage.customer(stage.invite())
    stage.talk(customer)
    customer.get_by_role("button", name="Hang up").click()
    stage.over(staff)
    new = staff.locator("#device-list li").first.inner_text().partition("key ")[2][:8]
    staff.get_by_role("button", name=f"Revoke the browser with the key {new}").click()
    expect(staff.locator("#message")).to_contain_text("Revoked")
    stage.publish()
    staff.reload()
    expect(staff.get_by_role("heading", name="Let this browser answer")).to_be_visible(timeout=30_000)
    expect(staff.locator("#message")).to_contain_text("device-revoked")
    stage.enrol()
    stage.complaints[:] = [text for text in stage.complaints if "503" not in text]  # while the witness had not seen a new list
