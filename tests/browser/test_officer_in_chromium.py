"""What an officer does beside listening, with the true custodian and a real Chromium.

The real command waits at a terminal, its link is opened, and a passkey's touch brings the keys there; copies are listed and
confirmed as gone; calls are held, released and destroyed, by one person and by two.
"""

import hashlib
import io
import json
import re
import signal
import subprocess
import sys
import threading
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import CHROMIUM, with_authenticator
from tests.browser.test_whole_line_in_chromium import enrol, find, sent
from tests.conftest import Stack

pytestmark = [
    pytest.mark.browser,
    pytest.mark.real,
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="Debian's chromium is not installed"),
]

WORDS = "They dispute what was agreed"


def take_interrupts() -> None:
    """As at a terminal; a shell that runs its tests in the background has them ignored by all its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Waiting:
    """A `callseal` command at a terminal, answered at once; what it says is read while it runs."""

    def __init__(self, stack: Stack, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "callseal.cli.main", *arguments], env=stack.environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=take_interrupts,
        )  # fmt: skip
        assert self.process.stdin is not None
        self.process.stdin.write(f"4\n{WORDS}\nC-77\n")
        self.process.stdin.flush()
        self.said = ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said += line

    def wait_for(self, pattern: str, seconds: float = 30) -> str:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            match = re.search(pattern, self.said)
            if match:
                return match.group(1)
            time.sleep(0.02)
        raise AssertionError(f"{pattern}: not said\n{self.said}")

    def link(self) -> str:
        return self.wait_for(r"(http://localhost:\d+/terminal#\S+)")

    def end(self) -> int:
        code = self.process.wait(30)
        self._reader.join(10)
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


@pytest.fixture
def terminals() -> Iterator[list[Waiting]]:
    """Commands that a test started, ended with it."""
    started: list[Waiting] = []
    yield started
    for waiting in started:
        waiting.close()


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """A line of which one recording a day may be destroyed early by one person alone."""
    with TemporaryDirectory(prefix="cs-", dir="/tmp") as folder:
        running = Stack(Path(folder), "[custody]\nmax_early_destructions = 1\n")
        running.start()
        try:
            yield running
        finally:
            running.stop()


@pytest.fixture(scope="module")
def officer(chromium: Browser, stack: Stack) -> Iterator[Page]:
    """The compliance officer's browser; the first-run link works once, so one for all tests."""
    context = chromium.new_context(viewport={"width": 1440, "height": 1000})
    page = with_authenticator(context)
    enrol(page, stack, "compliance_officer")
    yield page
    context.close()


@pytest.fixture(scope="module")
def recordings(stack: Stack) -> list[str]:
    """Four sealed calls; each test takes its own."""
    placed = stack.cli(["call", "--synthetic", "--seconds", "5", "--count", "4", "--json"])
    assert placed.returncode == 0, placed.stdout + placed.stderr
    end = time.monotonic() + 60
    while time.monotonic() < end:
        shown = json.loads(stack.cli(["calls", "--json"]).stdout)
        if len(shown) == 4 and all(call["state"] == "sealed" for call in shown):
            return [str(call["recording"]) for call in shown]
        time.sleep(0.2)
    raise AssertionError(f"not sealed: {shown}\n{stack.logs()}")


def look(page: Page, name: str) -> None:
    """No violation, and no sideways scroll, wide and narrow."""
    for width in (1440, 320):
        page.set_viewport_size({"width": width, "height": 900})
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{name}: {wide} px wide at {width} px"
    found = Axe().run(page)
    assert found.violations_count == 0, f"{name}: {found.generate_report()}"
    page.set_viewport_size({"width": 1440, "height": 1000})


def test_a_terminal_exports_by_a_touch_in_the_browser_and_the_copy_is_listed_until_it_is_confirmed_as_gone(
    officer: Page, page: Page, stack: Stack, recordings: list[str], terminals: list[Waiting], tmp_path: Path
) -> None:
    recording, output = recordings[0], tmp_path / "call.wav"
    exporting = Waiting(stack, "export", recording, "-o", str(output))
    terminals.append(exporting)
    link = exporting.link()
    page.goto(link)
    page.wait_for_url("**/signin?next=**")
    assert page.evaluate("fetch('/api/terminal', {method: 'POST'}).then((answer) => answer.status)") == 401
    officer.goto(link)
    expect(officer.get_by_role("heading", name="What you would sign")).to_be_visible()
    for words in ("A terminal on the machine", "Take a copy out", recording, "A dispute", WORDS, "C-77", "0:00 to 0:0"):
        expect(officer.locator("#lines")).to_contain_text(words)
    expect(officer.locator("#lines")).to_contain_text(exporting.wait_for(r"terminal: ([0-9A-F ]{14})"))
    assert "#" not in officer.url
    exporting.wait_for("(Opened by .*)")
    look(officer, "terminal")
    second = officer.context.new_page()
    second.goto(link)
    expect(second.locator("#message")).to_contain_text("nobody has used")
    second.close()
    officer.get_by_role("button", name="Allow it with a passkey touch").click()
    expect(officer.locator("#message")).to_contain_text("The terminal goes on")
    assert exporting.end() == 0, exporting.said
    index = int(exporting.wait_for(r"Entry (\d+) of the log"))
    assert officer.locator("#message").inner_text().startswith(f"Allowed: entry {index} of the log")
    with wave.open(io.BytesIO(output.read_bytes())) as read:
        heard = np.frombuffer(read.readframes(read.getnframes()), "<i2").reshape(-1, 2)
    for channel, voice in enumerate(sent()):
        assert find(heard[:, channel], voice) != -1, "the file is the call"
        assert find(heard[:, 1 - channel], voice) == -1, "the control: the other channel is not this voice"
    digest = hashlib.sha256(output.read_bytes()).hexdigest()
    assert output.stat().st_mode & 0o777 == 0o600 and digest in exporting.said

    officer.goto(f"{stack.console()}/exports")
    copy = officer.locator("#outstanding li").filter(has_text=digest)
    expect(copy).to_contain_text("compliance officer")
    look(officer, "exports")
    copy.get_by_label("How do you know that it is gone?").select_option("seen-deleted")
    copy.get_by_role("button").click()
    expect(officer.locator("#message")).to_contain_text("Confirmed, by entry")
    expect(officer.locator("#gone li").filter(has_text=digest)).to_contain_text("I have seen that it is deleted")
    look(officer, "exports, confirmed")
    officer.goto(f"{stack.console()}/calls/{recording}")
    expect(officer.locator("#exports")).to_contain_text("Gone. I have seen that it is deleted")
    officer.goto(f"{stack.console()}/log")
    expect(officer.locator("#entries tbody")).to_contain_text("A copy was exported")
    expect(officer.locator("#entries tbody")).to_contain_text("confirmed as gone")
    assert stack.cli(["verify"]).returncode == 0
    logs = stack.logs()
    assert link.rpartition("#")[2] not in logs and WORDS not in logs


def test_a_terminal_is_refused_gives_up_and_plays(
    officer: Page, stack: Stack, recordings: list[str], terminals: list[Waiting]
) -> None:
    def begin() -> Waiting:
        playing = Waiting(stack, "play", recordings[1])
        terminals.append(playing)
        officer.goto(playing.link())
        expect(officer.locator("#lines")).to_contain_text("Hear it at the terminal")
        return playing

    playing = begin()
    officer.get_by_role("button", name="Refuse").click()
    expect(officer.locator("#message")).to_contain_text("the terminal has been told")
    assert playing.end() == 77 and "no-proof" in playing.said
    playing = begin()
    playing.process.send_signal(signal.SIGINT)
    assert playing.end() == 130
    officer.get_by_role("button", name="Allow it with a passkey touch").click()
    expect(officer.locator("#message")).to_contain_text("The terminal has given up")
    playing = begin()
    officer.get_by_role("button", name="Allow it with a passkey touch").click()
    expect(officer.locator("#message")).to_contain_text("The terminal goes on")
    assert playing.end() in (0, 69) and "Opened: entry" in playing.said, "69: there is a player, and no sound device"


def test_an_administrator_who_takes_a_terminals_link_is_refused_on_the_record(
    page: Page, stack: Stack, recordings: list[str], terminals: list[Waiting]
) -> None:
    enrol(page, stack, "administrator")
    playing = Waiting(stack, "play", recordings[1])
    terminals.append(playing)
    page.goto(playing.link())
    page.get_by_role("button", name="Allow it with a passkey touch").click()
    expect(page.locator("#message")).to_contain_text("cannot listen")
    assert playing.end() == 77 and "administrator-never-opens" in playing.said and "Opened: entry" not in playing.said
    page.goto(f"{stack.console()}/holds")
    expect(page.get_by_text("Your role does not allow this")).to_be_visible()


def give_reason(page: Page, form: str, case: str) -> None:
    page.locator(form).get_by_label("Why?").select_option("subject_request")
    page.locator(form).get_by_label("The reason in words").fill(WORDS)
    page.locator(form).get_by_label("The case").fill(case)


def ask_to_destroy(page: Page, stack: Stack, recording: str) -> None:
    page.goto(f"{stack.console()}/calls/{recording}")
    page.get_by_text("Destroy this recording before its day").click()
    give_reason(page, "#erase-form", "SAR-9")
    page.get_by_label("Destroy it for good").check()
    page.get_by_role("button", name="Destroy it with a passkey touch").click()


@pytest.mark.timeout(300)
def test_a_call_is_held_released_and_destroyed_by_one_person_and_the_next_by_two(
    officer: Page, chromium: Browser, stack: Stack, recordings: list[str]
) -> None:
    held, other = recordings[2], recordings[3]
    officer.goto(f"{stack.console()}/calls/{held}")
    officer.get_by_text("Hold this call for a case").click()
    officer.get_by_text("Destroy this recording before its day").click()
    look(officer, "holding and destroying")
    give_reason(officer, "#hold-form", "Claim 41")
    officer.get_by_role("button", name="Hold it with a passkey touch").click()
    expect(officer.locator("#keep-message")).to_contain_text("Held: entry")
    ask_to_destroy(officer, stack, held)
    expect(officer.locator("#keep-message")).to_contain_text("Release its hold first")
    officer.goto(f"{stack.console()}/holds")
    hold = officer.locator("#holds li.card").filter(has_text="Case: Claim 41")
    expect(hold.get_by_role("link")).to_have_attribute("href", f"/calls/{held}")
    hold.get_by_text("Release this hold").click()
    look(officer, "holds")
    hold.get_by_label("Why?").select_option("dispute")
    hold.get_by_label("The reason in words").fill("The claim was settled last week")
    hold.get_by_role("button", name="Release with a passkey touch").click()
    expect(officer.locator("#message")).to_contain_text("Released, by entry")
    expect(officer.get_by_text("Nothing is held.")).to_be_visible()

    ask_to_destroy(officer, stack, held)
    expect(officer.locator("#keep-message")).to_contain_text("Its key is gone")
    expect(officer.locator("#own-certificate")).to_contain_text("pending until")
    officer.reload()
    expect(officer.get_by_role("heading", name="Certificate of its destruction")).to_be_visible()
    expect(officer.get_by_text("Nothing opens it again")).to_be_visible()
    look(officer, "destroyed")

    ask_to_destroy(officer, stack, other)
    expect(officer.locator("#second-box")).to_be_visible()
    link = officer.locator("#second-link").inner_text()
    officer.goto(link)
    expect(officer.locator("#message")).to_contain_text("You have signed this already")
    dpo = invite(officer, chromium, stack, "dpo", "Dee")
    dpo.goto(link)
    for words in ("Destroy this recording now", other, WORDS, "SAR-9", "Asked and signed by", "Dee"):
        expect(dpo.locator("#lines")).to_contain_text(words)
    look(dpo, "second person")
    dpo.get_by_role("button", name="Allow it with a passkey touch").click()
    expect(dpo.locator("#message")).to_contain_text("Destroyed, by entry")
    dpo.goto(f"{stack.console()}/holds")
    expect(dpo.locator("#certificates li.card")).to_have_count(2)
    look(dpo, "certificates")
    dpo.context.close()
    for recording in (held, other):
        wait_gone(stack.data / "objects" / recording[:2] / recording / "0.csr")
    assert stack.cli(["verify"]).returncode == 0


def wait_gone(path: Path) -> None:
    """Until the watcher has deleted an object whose key is gone."""
    end = time.monotonic() + 100
    while path.exists():
        assert time.monotonic() < end, "the object is still there"
        time.sleep(0.2)


def invite(officer: Page, chromium: Browser, stack: Stack, role: str, name: str) -> Page:
    """Somebody else, with a browser and a passkey of their own."""
    officer.goto(f"{stack.console()}/people")
    officer.get_by_label("Name").fill(name)
    officer.get_by_label("Role").select_option(role)
    officer.get_by_role("button", name="Make a link").click()
    expect(officer.locator("#link")).to_contain_text("/enrol#")
    page = with_authenticator(chromium.new_context(viewport={"width": 1440, "height": 1000}))
    page.goto(officer.locator("#link").inner_text())
    page.get_by_role("button", name="Make a passkey").click()
    page.get_by_role("link", name="Sign in").click()
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.wait_for_url("**/calls")
    return page
