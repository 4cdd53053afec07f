"""The whole line, from the telephone to the ear: a real call, the true custodian, a real Chromium, and the signal compared."""

import base64
import io
import json
import wave
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from callseal.audio import g711
from callseal.phone.codec import CODECS
from callseal.phone.load import make_payloads
from callseal.phone.speech import synthetic_speech
from tests.browser.conftest import CHROMIUM
from tests.conftest import Stack

pytestmark = [
    pytest.mark.browser,
    pytest.mark.real,
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="Debian's chromium is not installed"),
]

SECONDS = 5
WORDS = "A complaint about the price that was named"
FETCH = """async () => {
    const bytes = new Uint8Array(await (await fetch(document.querySelector("audio").src)).arrayBuffer());
    let text = ""; for (const byte of bytes) text += String.fromCharCode(byte);
    return btoa(text);
}"""


def enrol(page: Page, stack: Stack, role: str) -> None:
    page.goto(f"{stack.console()}/enrol#{stack.invites()[role]}")
    page.get_by_role("button", name="Make a passkey").click()
    expect(page.get_by_role("heading", name="You are enrolled")).to_be_visible()
    page.get_by_role("link", name="Sign in").click()
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.wait_for_url("**/calls")


def sent() -> list[np.ndarray]:
    """What the test phone said, as it comes out of the codec: customer, staff."""
    tracks = make_payloads(synthetic_speech("a test"), CODECS["PCMA"], SECONDS, 2, marked=False)
    return [g711.decode("PCMA", b"".join(payloads)) for payloads in tracks]


def find(heard: np.ndarray, voice: np.ndarray) -> int:
    """Where the voice's loudest half second stands in what was heard; -1 where it does not, sample for sample."""
    loud = int(np.argmax(np.convolve(np.abs(voice.astype(np.int64)), np.ones(4000), "valid")))
    piece = voice[loud : loud + 4000]
    places = np.flatnonzero(heard[: len(heard) - 3999] == piece[0])
    return next((int(at) - loud for at in places if np.array_equal(heard[at : at + 4000], piece)), -1)


def share(heard: np.ndarray, voice: np.ndarray, at: int) -> float:
    """How much of the voice, from `at` on, was heard sample for sample, packet after packet; a block that the timeline moved by a
    millisecond or two (docs/architecture.md) is resampled, and those behind it stand there."""
    begins, same = range(0, min(len(voice), len(heard) - at) - 160, 160), 0
    for begin in begins:
        for moved in sorted(range(-80, 81, 8), key=abs):
            place = at + moved + begin
            if place >= 0 and np.array_equal(heard[place : place + 160], voice[begin : begin + 160]):
                at, same = at + moved, same + 1
                break
    return same / len(begins)


def test_the_audio_heard_in_the_browser_is_the_audio_that_the_phone_sent(page: Page, stack: Stack) -> None:
    placed = stack.cli(["call", "--synthetic", "--seconds", str(SECONDS), "--json"])
    assert placed.returncode == 0, placed.stdout + placed.stderr
    call = stack.wait_call("sealed")
    enrol(page, stack, "compliance_officer")
    page.locator(".call a").first.click()
    page.get_by_label("Why do you open this call?").select_option("complaint")
    page.get_by_label("In your own words").fill(WORDS)
    page.get_by_role("button", name="Open with a passkey touch").click()
    expect(page.locator("#player")).to_be_visible()
    with wave.open(io.BytesIO(base64.b64decode(page.evaluate(FETCH)))) as read:
        heard = np.frombuffer(read.readframes(read.getnframes()), "<i2").reshape(-1, 2)
    for channel, voice in enumerate(sent()):
        at = find(heard[:, channel], voice)
        assert 0 <= at < 8000, f"channel {channel}: the voice is not there within the first second"
        length = min(len(voice), len(heard) - at)
        assert length > (SECONDS - 0.5) * 8000
        assert share(heard[:, channel], voice, at) > 0.95
        assert find(heard[:, 1 - channel], voice) == -1, "the control: the other channel is not this voice"
    expect(page.locator("#history tbody tr").first).to_contain_text(WORDS)
    page.get_by_role("button", name="Verify").click()
    expect(page.get_by_text("Unchanged: everything")).to_be_visible(timeout=30_000)
    told = stack.logs() + json.dumps(stack.events())
    assert call["recording"] in told, "the control"
    assert not [word for word in (WORDS, "+441632960001", "member of staff") if word in told]


def test_an_administrator_runs_everything_and_is_refused_the_sound_on_the_record(page: Page, stack: Stack) -> None:
    placed = stack.cli(["call", "--synthetic", "--seconds", "2", "--json"])
    assert placed.returncode == 0
    recording = str(stack.wait_call("sealed")["recording"])
    enrol(page, stack, "administrator")
    page.goto(f"{stack.console()}/calls/{recording}")
    expect(page.get_by_text("Your role runs the system and cannot listen")).to_be_visible()
    answer = page.evaluate(
        """async (recording) => {
            const { post } = await import("/static/api.js");
            const { usePasskey } = await import("/static/passkey.js");
            const body = { recording, action: "listen", reason_class: "quality", reason: "to see whether I can", case: "" };
            try {
                const { nonce, options } = await post("/api/openings/begin", body);
                await post("/api/openings", { nonce, response: await usePasskey(options) });
                return "opened";
            } catch (refusal) { return [refusal.status, refusal.message]; }
        }""",
        recording,
    )
    assert answer[0] == 403 and "cannot listen" in answer[1]
    page.reload()
    expect(page.locator("#history tbody tr[data-decision=deny]")).to_contain_text("administrator")
    for path in ("/log", "/health", "/people"):
        page.goto(stack.console() + path)
        expect(page.locator("table tbody tr").first).to_be_visible()
