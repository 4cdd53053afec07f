"""`make assure-private`: every browser test of private calls, and calls over a network that loses, delays and changes.

The impairment is a seeded relay in userspace before coturn. What one side says to the other passes it twice; each pass loses 2.53 %
(5 % in all) and delays by 0 to 100 ms (0 to 200 ms in all, so that packets overtake each other). A gap is a stretch of 10 ms or more
in which the tone that is played is 20 dB below itself; the jitter buffer has eight seconds to find its depth.
"""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from tests.browser.private_stage import CUSTOMER_HERTZ, STAFF_HERTZ, Stage, heard, set_stage

ROOT = Path(__file__).resolve().parents[2]
SETTLE_MS = 8000
LOSS_A_PASS, JITTER_A_PASS_SECONDS = 0.0253, 0.1


def run(seconds: int, changes: int, seed: int) -> dict[str, Any]:
    """`seconds` of speech each way over the bad network, `changes` of network, and all the tests."""
    with sync_playwright() as playwright, set_stage(playwright) as stage:
        gaps = _speak_through_bad_weather(stage, seconds)
        back = [_change_network(stage) for _ in range(changes)]
    passed, failed = _run_tests()
    return {
        "seconds_each_way": seconds, "gaps": len(gaps), "gaps_over_150": sum(gap > 150 for gap in gaps),
        "longest_gap_ms": round(max(gaps, default=0)), "network_changes": len(back), "back_ms": round(max(back) * 1000),
        "tests_passed": passed, "tests_failed": failed,
    }  # fmt: skip


def _speak_through_bad_weather(stage: Stage, seconds: int) -> list[float]:
    customer = stage.customer(stage.invite())
    stage.talk(customer)
    weather = stage.relay.way.weather
    weather.loss, weather.jitter_seconds = LOSS_A_PASS, JITTER_A_PASS_SECONDS
    customer.wait_for_timeout(SETTLE_MS)
    found: list[float] = []
    for page, hertz in ((customer, STAFF_HERTZ), (stage.staff, CUSTOMER_HERTZ)):
        heard_by = page.evaluate("([hertz, length]) => listenForGaps(hertz, length)", [hertz, seconds * 1000])
        found += heard_by["gaps"]
    weather.loss = weather.jitter_seconds = 0.0
    customer.wait_for_timeout(1000)
    for page in (customer, stage.staff):
        assert page.locator("#talk-words").inner_text() == "You are speaking.", "the call has survived"
    customer.get_by_role("button", name="Hang up").click()
    assert stage.over(stage.staff) == ("completed", "bye")
    stage.tidy()
    return found


def _change_network(stage: Stage) -> float:
    """Seconds from a cut until both are heard again."""
    customer = stage.customer(stage.invite())
    stage.talk(customer)
    heard(customer, STAFF_HERTZ)
    relay = stage.relay.way
    relay.cut_everybody()
    cut = time.monotonic()
    seen: dict[int, float] = {}
    while len(seen) < 2 and time.monotonic() < cut + 20:
        for item in relay.voice(cut):
            if item.client not in relay.weather.cut:
                seen.setdefault(item.client, item.at)
        customer.wait_for_timeout(20)
    heard(customer, STAFF_HERTZ)
    heard(stage.staff, CUSTOMER_HERTZ)
    customer.get_by_role("button", name="Hang up").click()
    stage.over(stage.staff)
    stage.tidy()
    return max(seen.values()) - cut if len(seen) == 2 else 20.0


def _run_tests() -> tuple[int, int]:
    """How many of the browser tests passed, and how many did not."""
    files = sorted(str(path) for path in (ROOT / "tests" / "browser").glob("test_private_*.py"))
    command = [sys.executable, "-m", "pytest", "-n", "0", "-q", "-rA", "--timeout", "1800", *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    passed = sum(line.startswith("PASSED") for line in lines)
    others = [line for line in lines if line.startswith(("FAILED", "ERROR", "SKIPPED"))]
    print(*others, sep="\n", file=sys.stderr)
    return passed, len(others) + (done.returncode not in (0, 1))
