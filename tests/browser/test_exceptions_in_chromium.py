"""Exceptions in a real Chromium: asked for by one person, approved by another's touch; readable at 320 px, and amber on a call."""

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import CHROMIUM
from tests.browser.private_stage import authenticator
from tests.browser.test_console_in_chromium import enrol
from tests.console.running import RunningConsole

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="Debian's chromium is not installed"),
]

LABEL = "clear, by exception until 20 Dec 2026"
WIDTHS = (1440, 320)


def look(page: Page, name: str, folder: Path) -> None:
    """No violation of accessibility and no sideways scroll, wide and narrow."""
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 1000})
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        page.screenshot(path=folder / f"{name}-{width}.png", full_page=True)
    page.set_viewport_size({"width": WIDTHS[0], "height": 1000})


def test_one_asks_another_touches_and_it_stands(page: Page, chromium: Browser, console: RunningConsole, tmp_path: Path) -> None:
    enrol(page, console, "administrator", "Ada Adams")
    page.get_by_role("link", name="Exceptions").click()
    expect(page.get_by_text("Every call without encryption is refused.")).to_be_visible()
    page.get_by_label("Phone system").fill("old-pbx")
    page.get_by_label("Network it sends voice from").fill("10.9.0.0/24")
    page.get_by_label("Interface on this machine").fill("wg0")
    page.get_by_label("For how many days").fill("7")
    page.get_by_label("Why, and what will end it").fill("It has no SRTP until it is replaced in March.")
    page.get_by_role("button", name="Ask").click()
    expect(page.locator("#message")).to_contain_text("A compliance officer must approve it")
    expect(page.locator("#exceptions li")).to_contain_text("waits for a compliance officer")
    expect(page.get_by_role("button", name="Approve")).to_be_hidden()
    look(page, "asked", tmp_path)
    with chromium.new_context() as others:
        other = others.new_page()
        authenticator(other)
        enrol(other, console, "compliance_officer", "Ann Archer")
        other.goto(f"{console.url}/exceptions")
        other.get_by_role("button", name="Approve").focus()
        other.keyboard.press("Enter")
        expect(other.locator("#message")).to_contain_text("stands")
        expect(other.locator("#exceptions li")).to_contain_text("Asked by Ada Adams")
        expect(other.locator("#exceptions li")).to_contain_text("Approved by Ann Archer")
        look(other, "stands", tmp_path)
        other.get_by_role("button", name="End it").click()
        expect(other.locator("#none")).to_be_visible()


def test_a_call_in_the_clear_is_amber_and_says_until_when(page: Page, console: RunningConsole, tmp_path: Path) -> None:
    legs = [
        {"number": number, "label": str(number), "party": party, "codec": "PCMA", "suite": "", "protection": LABEL, "detail": ""}
        for number, party in ((1, "customer"), (2, "staff"))
    ]
    recording = console.add_call(legs=legs)
    enrol(page, console)
    expect(page.locator(".call .notes").first).to_contain_text(LABEL)
    look(page, "list", tmp_path)
    page.goto(f"{console.url}/calls/{recording}")
    expect(page.locator(".tag.warn", has_text=LABEL)).to_be_visible()
    expect(page.get_by_text("Not encrypted on its way to Callseal").first).to_be_visible()
    look(page, "call", tmp_path)
