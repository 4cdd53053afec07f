"""Lies of a server in the middle of real calls: what is changed is what came over the real socket, just before the page reads it."""

import time

from playwright.sync_api import Page

from tests.browser.private_stage import CUSTOMER_HERTZ, SLACK, Stage, heard

WITHIN_SECONDS = 2.0 * SLACK
OTHER_PRINT = ":".join(["A1"] * 32)
SWAPPED = f"(frame) => ({{ ...frame, sdp: frame.sdp.replace(/(a=fingerprint:sha-256) .*/, '$1 {OTHER_PRINT}\\r') }})"

AT_THE_START = {
    "the offer's fingerprint swapped on its way to staff": ("staff", "m1", SWAPPED, "sdp-changed"),
    "the answer's fingerprint swapped on its way to the customer": ("customer", "m2", SWAPPED, "sdp-changed"),
    "the offer twice": ("staff", "m1", "(frame) => [frame, frame]", "replayed"),
    "another's proof": (
        "staff", "m3", "(frame) => ({ ...frame, message: frame.message.replace(/\"nc\":\"..../, '\"nc\":\"AAAA') })", "commitment"),
    "a proof of another secret": (
        "staff", "m3", "(frame) => ({ ...frame, message: frame.message.replace(/\"mac\":\"..../, '\"mac\":\"AAAA') })", "mac"),
}  # fmt: skip

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


def lie_at_the_start(stage: Stage, name: str) -> None:
    """The call ends at both ends before a word is sent."""
    who, kind, change, reason = AT_THE_START[name]
    customer = stage.customer(stage.invite())
    liar = stage.staff if who == "staff" else customer
    tell(liar, kind, change)
    began = time.monotonic()
    customer.get_by_role("button", name="Call", exact=True).click()
    stage.staff.get_by_role("button", name="Answer").click()
    assert both_over(stage, customer, liar) == ("identity", reason)
    assert stage.relay.way.voice(began) == []
    assert customer.evaluate("players.every((one) => one.srcObject === null)"), "nothing was played"


def lie_as_they_speak(stage: Stage, name: str) -> None:
    """The call ends at both ends, and no voice goes on."""
    who, act, change, reason = AS_THEY_SPEAK[name]
    customer = stage.customer(stage.invite())
    stage.talk(customer)
    heard(stage.staff, CUSTOMER_HERTZ)
    liar = stage.staff if who == "staff" else customer
    tell(liar, "later", change)
    customer.evaluate(act)
    assert both_over(stage, customer, liar) == ("identity", reason)
    ended = time.monotonic()
    customer.wait_for_timeout(600)
    assert stage.relay.way.voice(ended + 0.1 * SLACK) == [], "no voice goes on"
