"""The private call's two pages as pages: every state looked at by axe, at 320 and 1440 pixels, by keyboard alone, in one tab of several.

Long, so run by `make assure-private`.
"""

from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect, sync_playwright

from tests.browser.private_stage import NARROW, NEEDS, ROLE, STAFF_HERTZ, Stage, heard, set_stage, watch

pytestmark = [*NEEDS, pytest.mark.long]


@pytest.fixture(scope="module")
def running() -> Iterator[Stage]:
    with sync_playwright() as playwright, set_stage(playwright) as stage:
        yield stage


@pytest.fixture
def stage(running: Stage) -> Iterator[Stage]:
    yield running
    running.tidy()
    assert running.complaints == []


def look(page: Page, name: str, complaints: list[str]) -> None:
    """No accessibility violation, no sideways scroll, at 320 and 1440 pixels; nothing minded before axe wrote to the page."""
    assert complaints == [], f"{name}: {complaints}"
    before = page.viewport_size
    for width in (1440, 320):
        page.set_viewport_size({"width": width, "height": 900})
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{name}: {wide} px wide at {width} px"
        found = Axe().run(page)
        assert found.violations_count == 0, f"{name} at {width} px: {found.generate_report()}"
    page.set_viewport_size(before)  # type: ignore[arg-type]
    complaints.clear()


def test_no_state_of_either_page_has_a_violation_and_each_says_what_it_is(stage: Stage) -> None:
    customer = stage.customer(color_scheme="dark", reduced_motion="reduce")
    minded: list[str] = stage.complaints

    def at(state: str) -> None:
        heading = customer.locator(f"section[data-state={state}] h1")
        expect(heading).to_be_focused()
        assert heading.inner_text() in customer.title(), "the tab says where one is"
        look(customer, state, minded)

    customer.goto(stage.page_origin)
    at("incomplete")
    customer.goto("about:blank")
    customer.goto(stage.invite())
    look(stage.staff, "link", minded)
    customer.get_by_text("Try your microphone first").click()
    customer.get_by_text("What this page can promise").click()
    customer.get_by_role("button", name="Try the microphone").click()
    expect(customer.locator("#heard")).to_contain_text("it heard you", timeout=10_000)
    customer.locator("section[data-state=welcome] h1").focus()
    at("welcome")
    customer.get_by_role("button", name="Call", exact=True).click()
    expect(stage.staff.get_by_role("heading", name="A customer is calling")).to_be_focused()
    at("ringing")
    assert customer.locator(".pulse").evaluate("(one) => getComputedStyle(one).animationName") == "none", "reduced motion"
    look(stage.staff, "ring", minded)
    stage.staff.get_by_role("button", name="Answer").click()
    expect(customer.locator("section[data-state=answer] h1")).to_be_focused()
    assert customer.locator("#status").inner_text().startswith(f"{ROLE} at Test Surgery is there. Not recorded.")
    at("answer")
    customer.get_by_role("button", name="Answer").click()
    expect(stage.staff.locator("#talk-words")).to_have_text("You are speaking.")
    at("talk")
    look(stage.staff, "talk", minded)
    customer.get_by_role("button", name="Hang up").click()
    at("over")
    stage.over(stage.staff)
    look(stage.staff, "over", minded)


def test_a_whole_call_by_keyboard_alone(stage: Stage) -> None:
    customer = stage.customer(stage.invite())

    def press(page: Page, name: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement?.dataset?.do") == name:
                assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none", f"{name}: no visible focus"
                page.keyboard.press("Enter")
                return
        raise AssertionError(f"{name}: not reached by Tab")

    expect(customer.locator("section[data-state=welcome] h1")).to_be_focused()
    press(customer, "call")
    expect(stage.staff.get_by_role("heading", name="A customer is calling")).to_be_focused()
    press(stage.staff, "answer")
    expect(customer.locator("section[data-state=answer] h1")).to_be_focused()
    press(customer, "answer")
    expect(stage.staff.locator("#talk-words")).to_have_text("You are speaking.")
    expect(customer.locator("#talk-words")).to_have_text("You are speaking.")
    press(customer, "mute")
    expect(customer.get_by_role("button", name="Mute")).to_have_attribute("aria-pressed", "true")
    press(customer, "hang-up")
    assert stage.over(stage.staff) == ("completed", "bye")


def test_one_tab_rings_and_another_may_take_over(stage: Stage) -> None:
    second = stage.staff.context.new_page()
    second.goto(stage.staff.url)
    expect(second.get_by_role("heading", name="Private calls are open in another tab")).to_be_visible()
    second.get_by_role("button", name="Use this tab instead").click()
    expect(second.locator("#line")).to_contain_text("Ready")
    expect(stage.staff.get_by_role("heading", name="Private calls are open in another tab")).to_be_visible()
    second.close()
    stage.staff.get_by_role("button", name="Use this tab instead").click()
    expect(stage.staff.locator("#line")).to_contain_text("Ready")
    customer = stage.customer(stage.invite())
    stage.talk(customer)
    customer.get_by_role("button", name="Hang up").click()
    assert stage.over(stage.staff) == ("completed", "bye")


def test_both_pages_may_use_the_browsers_own_microphone_and_no_other_device(stage: Stage) -> None:
    context = stage.browser.new_context(viewport=NARROW)  # type: ignore[arg-type]
    stage.contexts.append(context)
    customer = watch(context.new_page(), stage.complaints)  # nothing is laid under this page
    customer.goto(stage.invite())
    for page in (customer, stage.staff):
        allowed = page.evaluate("document.featurePolicy.allowedFeatures()")
        assert "microphone" in allowed and not {"camera", "geolocation", "display-capture"} & set(allowed)
    stage.start(customer)
    began = len(stage.relay.way.voice())
    customer.get_by_role("button", name="Answer").click()
    expect(stage.staff.locator("#talk-words")).to_have_text("You are speaking.")
    customer.wait_for_timeout(700)
    assert len(stage.relay.way.voice()) - began > 30
    customer.get_by_role("button", name="Hang up").click()
    assert stage.over(stage.staff) == ("completed", "bye")


def test_mute_pressed_before_anybody_speaks_holds_when_they_do(stage: Stage) -> None:
    customer = stage.customer(stage.invite())
    customer.get_by_role("button", name="Call", exact=True).click()
    stage.staff.get_by_role("button", name="Answer").click()
    stage.staff.get_by_role("button", name="Mute").click()
    customer.get_by_role("button", name="Answer").click()
    expect(customer.locator("#talk-words")).to_have_text("You are speaking.")
    customer.wait_for_timeout(500)
    assert customer.evaluate("hear()")["level"] < -80
    stage.staff.get_by_role("button", name="Mute").click()
    heard(customer, STAFF_HERTZ)
    customer.get_by_role("button", name="Hang up").click()
    assert stage.over(stage.staff) == ("completed", "bye")
