"""A real Chromium: enrol, list, reason, touch, play, history; by keyboard, at 320 px, without a violation of anything."""

import base64
import io
import re
import time
import wave
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import CHROMIUM
from tests.console.accounts import give_account
from tests.console.recording import add_recording, sent
from tests.console.running import RunningConsole
from tests.console.test_reconciliation_page import add_record

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="Debian's chromium is not installed"),
]

WORDS = "A complaint about the price that was named"


def wait_until(page: Page, condition: str) -> None:
    """Wait for a condition in the page; our content policy forbids Playwright's own way, which evaluates text as code."""
    end = time.monotonic() + 20
    while not page.evaluate(condition):
        assert time.monotonic() < end, condition
        page.wait_for_timeout(30)


def enrol(page: Page, console: RunningConsole, role: str = "compliance_officer", name: str = "Ann Archer") -> None:
    console.custodian.invites["one-time-token"] = (role, name)
    page.goto(f"{console.url}/enrol#one-time-token")
    page.get_by_role("button", name="Make a passkey").click()
    expect(page.get_by_role("heading", name="You are enrolled")).to_be_visible()
    page.get_by_role("link", name="Sign in").click()
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.wait_for_url("**/calls")


def open_call(page: Page, console: RunningConsole, recording: str) -> None:
    page.goto(f"{console.url}/calls/{recording}")
    page.get_by_label("Why do you open this call?").select_option("complaint")
    page.get_by_label("In your own words").fill(WORDS)
    page.get_by_role("button", name="Open with a passkey touch").click()
    expect(page.locator("#player")).to_be_visible()


def test_enrol_list_reason_touch_play_and_history_and_the_audio_heard_is_the_audio_sent(
    page: Page, console: RunningConsole
) -> None:
    recording = add_recording(console, seconds=6)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    enrol(page, console)
    page.locator(".call a").first.click()
    open_call(page, console, recording)
    expect(page.locator("#speakers")).to_contain_text("+442079460123")
    page.get_by_role("button", name="Play").click()
    wait_until(page, "document.querySelector('audio').currentTime > 0.3")
    page.get_by_role("button", name="Pause").click()
    fetched = page.evaluate(
        """async () => {
            const bytes = new Uint8Array(await (await fetch(document.querySelector("audio").src)).arrayBuffer());
            let text = ""; for (const byte of bytes) text += String.fromCharCode(byte);
            return btoa(text);
        }"""
    )
    with wave.open(io.BytesIO(base64.b64decode(fetched))) as read:
        sound = np.frombuffer(read.readframes(read.getnframes()), "<i2").reshape(-1, 2)
    assert np.array_equal(sound[:, 0], sent(6, 1)) and np.array_equal(sound[:, 1], sent(6, 2))
    row = page.locator("#history tbody tr").first
    expect(row).to_contain_text("Ann Archer")
    expect(row).to_contain_text(WORDS)
    assert not [url for url in asked if "one-time-token" in url or not url.startswith(console.url)]


def test_a_seek_and_the_choice_of_one_track_keep_their_place(page: Page, console: RunningConsole) -> None:
    recording = add_recording(console, seconds=6)
    enrol(page, console)
    open_call(page, console, recording)
    wait_until(page, "document.querySelector('audio').readyState >= 2")
    page.locator("#seek").fill("4000")
    wait_until(page, "Math.abs(document.querySelector('audio').currentTime - 4) < 0.05")
    page.get_by_role("radio", name="Staff").check()
    wait_until(page, "document.querySelector('audio').src.endsWith('track=2')")
    wait_until(page, "Math.abs(document.querySelector('audio').currentTime - 4) < 0.05")


def test_everything_can_be_done_by_keyboard_alone(page: Page, console: RunningConsole) -> None:
    recording = add_recording(console, seconds=4)
    enrol(page, console)
    page.goto(f"{console.url}/calls/{recording}")

    def go_to(name: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement?.name || document.activeElement?.id") == name:
                assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none", (
                    f"{name}: no visible focus"
                )
                return
        raise AssertionError(f"{name}: not reached by Tab")

    go_to("reason_class")
    page.keyboard.type("A comp")
    go_to("reason")
    page.keyboard.type(WORDS)
    go_to("open-passkey")
    page.keyboard.press("Enter")
    expect(page.locator("#player")).to_be_visible()
    wait_until(page, "document.querySelector('audio').readyState >= 2")
    page.locator("#seek").focus()
    page.keyboard.press("End")
    wait_until(page, "document.querySelector('audio').currentTime > 3.9")
    page.keyboard.press("Home")
    wait_until(page, "document.querySelector('audio').currentTime < 0.1")
    go_to("play")
    page.keyboard.press("Space")
    wait_until(page, "document.querySelector('audio').currentTime > 0.2")
    page.keyboard.press("Space")
    wait_until(page, "document.querySelector('audio').paused")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_an_accessibility_violation_a_policy_violation_or_a_sideways_scroll(
    page: Page, console: RunningConsole, scheme: str
) -> None:
    recording = add_recording(console, seconds=4, gap=(1, 2))
    give_account(console.config.run, "media-0", [(console.add_call(state="live", minutes_ago=1), 0, 54_000, 6000)])
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]

    def check(name: str) -> None:
        page.wait_for_load_state("domcontentloaded")
        page.wait_for_timeout(300)
        for width in (1440, 320):
            page.set_viewport_size({"width": width, "height": 900})
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{name}: {wide} px wide at {width} px"
        assert complaints == [], f"{name}: {complaints}"  # before axe, which writes to the page
        found = Axe().run(page)
        assert found.violations_count == 0, f"{name}: {found.generate_report()}"
        complaints.clear()
        page.set_viewport_size({"width": 1440, "height": 1000})

    page.goto(f"{console.url}/enrol#nothing")
    check("enrol")
    page.goto(f"{console.url}/signin")
    check("signin")
    enrol(page, console)
    record = add_record(console, "unsealed", why="no-voice", recording=recording, skew_ms=-7_200_000)
    add_record(console, recording=recording)
    for path in (
        "/calls", "/holds", "/exports", "/log", "/odd", "/health", "/people", "/terminal", "/second", "/reconciliation",
        f"/reconciliation/{record}", f"/calls/{recording}",
    ):  # fmt: skip
        page.goto(console.url + path)
        check(path)
    open_call(page, console, recording)
    check("player")


def test_the_list_follows_calls_as_they_happen(page: Page, console: RunningConsole) -> None:
    enrol(page, console)
    expect(page.get_by_text("No calls yet")).to_be_visible()
    recording = console.add_call(state="live", peer="branch-pbx")
    expect(page.locator(f"[data-recording='{recording}']")).to_contain_text("live now")
    expect(page.locator(f"[data-recording='{recording}']")).to_contain_text("not observed; feed measured")


def test_the_health_page_says_how_far_each_live_call_is_sealed_and_what_each_worker_costs(
    page: Page, console: RunningConsole
) -> None:
    late, well = console.add_call(state="live", peer="branch-pbx"), console.add_call(state="live")
    enrol(page, console)
    page.clock.install()
    give_account(console.config.run, "media-0", [(late, 0, 54_000, 12_000), (well, 0, 65_000, 900)])
    page.goto(f"{console.url}/health")
    workers, calls = page.locator("#workers tbody tr"), page.locator("#live-calls tbody tr")
    expect(workers).to_have_count(1)
    expect(workers.first).to_contain_text("90.0 MiB")
    expect(page.locator("#recording-words")).to_have_text(re.compile("Calls of media-0 are sealed late"))
    expect(calls.nth(0)).to_contain_text("branch-pbx")
    expect(calls.nth(0).locator("td").first).to_have_text(re.compile("^1[2-9] s ago: behind$"))
    expect(calls.nth(0).locator("td").first).to_have_attribute("data-tone", "bad")
    calls.nth(1).locator("a").focus()
    later = {"cpu_seconds": 13.5, "packets": 1900, "lost": 100}
    give_account(console.config.run, "media-0", [(late, 0, 66_000, 900), (well, 0, 66_000, 900)], age_seconds=-1, **later)
    page.clock.run_for(5000)
    expect(page.locator("#recording-words")).to_have_text("2 calls on 1 worker, all sealed to within 3 seconds.")
    expect(workers.first).to_contain_text("10.00 % (100)")
    expect(workers.first.locator("td").first).to_have_attribute("data-tone", "good")
    assert page.evaluate("document.activeElement.getAttribute('href')") == f"/calls/{well}", "a redraw takes no focus away"


def test_an_administrator_reads_why_there_is_no_sound_for_them(page: Page, console: RunningConsole) -> None:
    recording = add_recording(console, seconds=2)
    enrol(page, console, "administrator", "Ravi")
    page.goto(f"{console.url}/calls/{recording}")
    expect(page.get_by_text("Your role runs the system and cannot listen")).to_be_visible()
    assert page.locator("audio").count() == 0


def test_a_bare_address_says_why_passkeys_cannot_work_there(page: Page, console: RunningConsole) -> None:
    page.goto(console.url.replace("localhost", "127.0.0.1") + "/signin")
    expect(page.get_by_role("heading", name="Why no passkey here?")).to_be_visible()
    expect(page.get_by_label("Password", exact=True)).to_be_visible()


def test_the_control_a_script_that_is_not_ours_is_stopped_and_seen(page: Page, console: RunningConsole) -> None:
    page.goto(f"{console.url}/signin")
    with page.expect_console_message(lambda message: "Content Security Policy" in message.text):
        page.evaluate("const s = document.createElement('img'); s.src = 'https://elsewhere.example/x.png'; document.body.append(s)")
