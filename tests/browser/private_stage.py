"""A whole private call on one machine: `callseal up`, coturn behind a relay that sees everything, a browser of staff and one of customers.

Everything is the real part: two Chromium processes, Debian's coturn, our daemons. The tones are made within the browsers, and heard there.
"""

import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect

from callseal.audit.note import Signer
from callseal.flows.manifest import draft_manifest
from callseal.keyring.client import BlockingKeyring
from callseal.web.call_page import build_page, page_digest
from callseal.webrtc.manifest import KEY_NAME, sign_manifest
from tests.browser.conftest import ARGUMENTS, CHROMIUM
from tests.browser.private_relay import TURNSERVER, Relay, running_relay
from tests.conftest import Stack

NEEDS = [
    pytest.mark.browser,
    pytest.mark.real,
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="Debian's chromium is not installed"),
    pytest.mark.skipif(not TURNSERVER.exists(), reason="Debian's coturn is not installed"),
    pytest.mark.timeout(240),
]
SLACK = 3 if "PYTEST_XDIST_WORKER" in os.environ else 1
"""By how much what must come within a time may be later beside three other tests; alone (`make assure-private`), by nothing."""
BUSINESS = "Test Surgery"
PHONE = "+44 20 7946 0123"
ROLE = "Nurse"
STAFF_HERTZ, CUSTOMER_HERTZ = 1687.5, 1031.25
EARS = (Path(__file__).parent / "private_ears.js").read_text()
CALL_ARGUMENTS = [*ARGUMENTS, "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
WIDE, NARROW = {"width": 1440, "height": 1000}, {"width": 320, "height": 700}


@dataclass
class Stage:
    """Everything that runs. `complaints` are what a page said it minds: of policy, of script."""

    stack: Stack
    relay: Relay
    staff: Page
    browser: Browser
    root: Signer
    complaints: list[str] = field(default_factory=list)
    contexts: list[BrowserContext] = field(default_factory=list)

    @property
    def page_origin(self) -> str:
        return self.stack.config.private_origin

    def publish(self) -> None:
        """The compliance officer signs the list of devices; the witness sees it."""
        data = self.stack.data
        ring = BlockingKeyring(self.stack.config.custodian_socket)
        try:
            log, witness = (data / "log" / "log.vkey").read_text().strip(), witness_key(data)
            text = _run(draft_manifest(
                _Asking(ring), self.root.verifier.public_key, {"business": BUSINESS, "phone": PHONE},
                page_digest(build_page()), log, [witness], datetime.now(UTC),
            ))  # fmt: skip
            ring.ask("manifest.publish", note=sign_manifest(text, self.root))
        finally:
            ring.close()

    def enrol(self) -> None:
        """The staff's browser makes a key, and the list is signed with it."""
        staff = self.staff
        staff.get_by_label("What customers see").fill(ROLE)
        staff.get_by_role("button", name="Enrol this browser").click()
        expect(staff.locator("#enrol")).to_be_hidden()
        self.publish()
        expect(staff.locator("#pin:visible, #line:visible")).to_be_visible(timeout=30_000)
        if staff.locator("#pin").is_visible():
            staff.get_by_role("button", name="It is the same").click()
        expect(staff.locator("#line")).to_contain_text("Ready", timeout=30_000)

    def invite(self) -> str:
        """Staff press the button; the link that they would send."""
        before = self.staff.locator("#link").text_content()
        self.staff.get_by_role("button", name="New private call").click()
        expect(self.staff.locator("#link")).not_to_have_text(before or "", use_inner_text=False)
        expect(self.staff.locator("#link-card")).to_be_visible()
        return str(self.staff.locator("#link").text_content())

    def customer(self, link: str = "", viewport: dict[str, int] | None = None, **options: Any) -> Page:
        """Somebody's telephone, with nothing of an earlier call in it; opened at the link."""
        context = self.browser.new_context(viewport=viewport or NARROW, **options)  # type: ignore[arg-type]
        self.contexts.append(context)
        page = watch(context.new_page(), self.complaints)
        page.add_init_script(EARS.replace("HERTZ", str(CUSTOMER_HERTZ)))
        page.set_default_timeout(15_000)
        if link:
            page.goto(link)
        return page

    def start(self, customer: Page) -> None:
        """The customer calls, staff answer; the customer sees who it is."""
        customer.get_by_role("button", name="Call", exact=True).click()
        self.staff.get_by_role("button", name="Answer").click()
        expect(customer.get_by_role("button", name="Answer")).to_be_visible(timeout=15_000)

    def talk(self, customer: Page) -> None:
        """All of it: called, answered, proved, speaking."""
        self.start(customer)
        customer.get_by_role("button", name="Answer").click()
        for page in (customer, self.staff):
            expect(page.locator("#talk-words")).to_have_text("You are speaking.", timeout=15_000)

    def over(self, page: Page, timeout: float = 15_000) -> tuple[str, str]:
        """Outcome and reason of a call that has ended, as the page shows them."""
        found = page.locator("[data-outcome]:visible")
        expect(found).to_be_visible(timeout=timeout)
        return str(found.get_attribute("data-outcome")), str(found.get_attribute("data-reason"))

    def tidy(self) -> None:
        """Close what a test has opened; the staff's page is as before."""
        for context in self.contexts:
            context.close()
        self.contexts.clear()
        self.relay.way.weather.cut.clear()
        self.relay.way.weather.loss = self.relay.way.weather.jitter_seconds = 0.0


class _Asking:
    """The blocking client as the flows want it."""

    def __init__(self, ring: BlockingKeyring) -> None:
        self._ring = ring

    async def ask(self, message_type: str, **fields: Any) -> Any:
        return self._ring.ask(message_type, **fields)


def _run(coroutine: Any) -> Any:
    """Drive a coroutine that never waits (Playwright's own loop holds this thread)."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waited")


def witness_key(data: Path) -> str:
    """The verifier key that the witness of this machine shows."""
    return next(data.rglob("witness.vkey")).read_text().strip()


def watch(page: Page, complaints: list[str]) -> Page:
    """Note each error of script and of policy."""
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return page


def heard(page: Page, hertz: float) -> dict[str, float]:
    """What the page plays, once it is this tone. Raises AssertionError where it never is."""
    found: Any = None
    end = time.monotonic() + 10
    while time.monotonic() < end:
        found = page.evaluate("hear()")
        if found and abs(found["hertz"] - hertz) < 12 and found["level"] > -60:
            return dict(found)
    raise AssertionError(f"expected {hertz} Hz, heard {found}")


def authenticator(page: Page) -> None:
    """A passkey of the machine, that touches by itself."""
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
        "isUserVerified": True, "automaticPresenceSimulation": True,
    }  # fmt: skip
    session.send("WebAuthn.addVirtualAuthenticator", {"options": options})


def sign_in(page: Page, stack: Stack, role: str = "compliance_officer") -> None:
    """Enrol with a first-run link, then sign in by passkey."""
    page.goto(f"{stack.console()}/enrol#{stack.invites()[role]}")
    page.get_by_role("button", name="Make a passkey").click()
    page.get_by_role("link", name="Sign in").click()
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.wait_for_url("**/calls")


def free_port() -> int:
    """A TCP port that nobody has."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def set_stage(playwright: Playwright, **more: str) -> Iterator[Stage]:
    """Start everything, enrol staff and their browser, have the list signed; end it after the block."""
    with TemporaryDirectory(prefix="cs-", dir="/tmp") as name:
        folder = Path(name)
        secret = folder / "turn.secret"
        secret.write_text(secrets.token_hex(32))
        secret.chmod(0o600)
        with running_relay(folder, secret.read_text()) as relay:
            settings = {"enabled": "true", "port": str(free_port()), "turn_urls": f'"{relay.url}"', "turn_secret_file": f'"{secret}"'}
            lines = "\n".join(f"{key} = {value}" for key, value in (settings | more).items())
            stack = Stack(folder, f"[private]\n{lines}\n")
            stack.start()
            try:
                with _browsers(playwright) as (staff_browser, customers):
                    context = staff_browser.new_context(viewport=WIDE)  # type: ignore[arg-type]
                    context.grant_permissions(["clipboard-read", "clipboard-write"])
                    staff = context.new_page()
                    stage = Stage(stack, relay, staff, customers, Signer(KEY_NAME, Ed25519PrivateKey.generate()))
                    _prepare(stage)
                    yield stage
            finally:
                stack.stop()


@contextmanager
def _browsers(playwright: Playwright) -> Iterator[tuple[Browser, Browser]]:
    """Two processes: nothing of staff's and customers' meets within one."""
    opened = [playwright.chromium.launch(executable_path=CHROMIUM, args=CALL_ARGUMENTS) for _ in range(2)]
    try:
        yield opened[0], opened[1]
    finally:
        for browser in opened:
            browser.close()


def _prepare(stage: Stage) -> None:
    staff = stage.staff
    staff.set_default_timeout(15_000)
    authenticator(staff)
    sign_in(staff, stage.stack)
    watch(staff, stage.complaints)
    staff.add_init_script(EARS.replace("HERTZ", str(STAFF_HERTZ)))
    staff.goto(f"{stage.stack.console()}/private")
    expect(staff.get_by_role("heading", name="Not set up yet")).to_be_visible()
    stage.enrol()
    stage.complaints[:] = [text for text in stage.complaints if "404" not in text and "503" not in text]
