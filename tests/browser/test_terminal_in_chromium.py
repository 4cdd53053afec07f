"""The real command waits at a terminal, a real Chromium opens its link, and a passkey's touch brings the keys to the terminal."""

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

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import CHROMIUM
from tests.browser.test_whole_line_in_chromium import enrol, find, sent
from tests.conftest import Stack

pytestmark = [
    pytest.mark.browser,
    pytest.mark.real,
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="Debian's chromium is not installed"),
]

WORDS = "They dispute what was agreed"


class Waiting:
    """A `callseal` command at a terminal, answered at once; what it says is read while it runs."""

    def __init__(self, stack: Stack, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "callseal.cli.main", *arguments], env=stack.environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
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
def recording(stack: Stack) -> str:
    placed = stack.cli(["call", "--synthetic", "--seconds", "5", "--json"])
    assert placed.returncode == 0, placed.stdout + placed.stderr
    return str(stack.wait_call("sealed")["recording"])


def look(page: Page, name: str) -> None:
    """No violation, and no sideways scroll, wide and narrow."""
    for width in (1440, 320):
        page.set_viewport_size({"width": width, "height": 900})
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{name}: {wide} px wide at {width} px"
    found = Axe().run(page)
    assert found.violations_count == 0, f"{name}: {found.generate_report()}"
    page.set_viewport_size({"width": 1440, "height": 1000})


def test_an_officer_exports_at_a_terminal_by_a_touch_in_the_browser_and_plays_and_refuses(
    page: Page, stack: Stack, recording: str, terminals: list[Waiting], tmp_path: Path
) -> None:
    output = tmp_path / "call.wav"
    exporting = Waiting(stack, "export", recording, "-o", str(output))
    terminals.append(exporting)
    link = exporting.link()
    page.goto(link)
    page.wait_for_url("**/signin?next=**")
    assert page.evaluate("fetch('/api/terminal', {method: 'POST'}).then((answer) => answer.status)") == 401
    enrol(page, stack, "compliance_officer")
    page.goto(link)
    expect(page.get_by_role("heading", name="What you would sign")).to_be_visible()
    shown = page.locator("#lines")
    for words in ("A terminal on the machine", "Take a copy out", recording, "A dispute", WORDS, "C-77", "0:00 to 0:0"):
        expect(shown).to_contain_text(words)
    assert page.locator("#sign").inner_text() == exporting.wait_for(r"terminal: ([0-9A-F ]{14})")
    assert "#" not in page.url
    exporting.wait_for("(Opened by .*)")
    look(page, "terminal")
    second = page.context.new_page()
    second.goto(link)
    expect(second.locator("#message")).to_contain_text("nobody has used")
    second.close()
    page.get_by_role("button", name="Allow it with a passkey touch").click()
    expect(page.locator("#message")).to_contain_text("The terminal goes on")
    assert exporting.end() == 0, exporting.said
    index = int(exporting.wait_for(r"Entry (\d+) of the log"))
    assert page.locator("#message").inner_text().startswith(f"Allowed: entry {index} of the log")
    with wave.open(io.BytesIO(output.read_bytes())) as read:
        heard = np.frombuffer(read.readframes(read.getnframes()), "<i2").reshape(-1, 2)
    for channel, voice in enumerate(sent()):
        assert 0 <= find(heard[:, channel], voice) < 8000, "the file is the call"
    assert output.stat().st_mode & 0o777 == 0o600
    assert hashlib.sha256(output.read_bytes()).hexdigest() in exporting.said

    playing = Waiting(stack, "play", recording)
    terminals.append(playing)
    page.goto(playing.link())
    page.get_by_role("button", name="Refuse").click()
    expect(page.locator("#message")).to_contain_text("the terminal has been told")
    assert playing.end() == 77 and "no-proof" in playing.said

    given_up = Waiting(stack, "play", recording)
    terminals.append(given_up)
    page.goto(given_up.link())
    expect(page.locator("#sign")).to_be_visible()
    given_up.process.send_signal(signal.SIGINT)
    assert given_up.end() == 130
    page.get_by_role("button", name="Allow it with a passkey touch").click()
    expect(page.locator("#message")).to_contain_text("The terminal has given up")

    playing = Waiting(stack, "play", recording)
    terminals.append(playing)
    page.goto(playing.link())
    page.get_by_role("button", name="Allow it with a passkey touch").click()
    expect(page.locator("#message")).to_contain_text("The terminal goes on")
    assert playing.end() in (0, 69) and "Opened: entry" in playing.said, "69: there is a player, and no sound device"

    page.goto(f"{stack.console()}/exports")
    copy = page.locator("#outstanding li")
    expect(copy).to_contain_text(hashlib.sha256(output.read_bytes()).hexdigest())
    expect(page.locator("#count")).to_have_text("1")
    look(page, "exports")
    copy.get_by_label("How do you know that it is gone?").select_option("seen-deleted")
    copy.get_by_role("button").click()
    expect(page.locator("#message")).to_contain_text("Confirmed, by entry")
    expect(page.locator("#gone li")).to_contain_text("I have seen that it is deleted")
    expect(page.get_by_text("No copy is outstanding")).to_be_visible()
    look(page, "exports, confirmed")
    page.goto(f"{stack.console()}/calls/{recording}")
    expect(page.locator("#exports")).to_contain_text("Gone. I have seen that it is deleted")
    page.goto(f"{stack.console()}/log")
    expect(page.locator("#entries tbody")).to_contain_text("A copy was exported")
    assert stack.cli(["verify"]).returncode == 0
    expect(page.locator("#entries tbody")).to_contain_text("confirmed as gone")
    logs = stack.logs()
    assert link.rpartition("#")[2] not in logs and WORDS not in logs


def test_an_administrator_who_takes_a_terminals_link_is_refused_on_the_record(
    page: Page, stack: Stack, recording: str, terminals: list[Waiting]
) -> None:
    enrol(page, stack, "administrator")
    playing = Waiting(stack, "play", recording)
    terminals.append(playing)
    page.goto(playing.link())
    page.get_by_role("button", name="Allow it with a passkey touch").click()
    expect(page.locator("#message")).to_contain_text("cannot listen")
    assert playing.end() == 77 and "administrator-never-opens" in playing.said
    assert "Opened: entry" not in playing.said and json.dumps("grants") not in playing.said
