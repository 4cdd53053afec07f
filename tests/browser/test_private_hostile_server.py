"""A server that lies, against the real page in a real Chromium: each lie ends the call within two seconds, under its own name,
with no voice sent and nothing played. The server here is all hostile; what it shows is signed by keys that a test holds.
"""

import copy
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from playwright.sync_api import Page, WebSocketRoute, expect, sync_playwright

from callseal.audit.note import Signer
from callseal.model.clock import format_time
from callseal.model.message import to_bytes, to_text
from callseal.webrtc.handshake import Agent, Credentials
from callseal.webrtc.link import Link, write_fragment
from callseal.webrtc.manifest import KEY_NAME, device_digest
from callseal.webrtc.schedule import signature_input
from callseal.webrtc.shape import spell
from callseal.webrtc.turn import make_credential
from tests.browser.conftest import CHROMIUM
from tests.browser.private_modules import serving_page
from tests.browser.private_relay import TURNSERVER, Relay, running_relay
from tests.browser.private_stage import CALL_ARGUMENTS, CUSTOMER_HERTZ, EARS, NARROW, SLACK, watch
from tests.private_rig import AGENT_PRINT, CUSTOMER_PRINT, Business, flip_text, private, raw, sdp

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="Debian's chromium is not installed"),
    pytest.mark.skipif(not TURNSERVER.exists(), reason="Debian's coturn is not installed"),
]

SECRET = "the relay's secret of this test, 32 characters"
PSK, CALL = bytes(range(1, 17)), bytes(range(16, 32))
WITHIN_SECONDS = 2.0 * SLACK
Frame = dict[str, Any]
Lie = Callable[["Liar", Frame], list[Frame]]


@dataclass
class Liar:
    """The server of one page: it does all that an honest one does, but for the one lie."""

    relay: Relay
    business: Business
    credentials: Credentials
    lie: Lie = lambda liar, m2: [m2]
    change_m1: Callable[[Frame], Frame] = lambda m1: m1
    seen: list[Frame] = field(default_factory=list)
    lied_at: float = 0.0
    refused_m1: str = ""

    def serve(self, line: WebSocketRoute) -> None:
        line.on_message(lambda text: self.take(line, json.loads(text)))

    def take(self, line: WebSocketRoute, frame: Frame) -> None:
        self.seen.append(frame)
        if frame["type"] == "join":
            ice = make_credential(SECRET, [self.relay.url], datetime.now(UTC))
            kept = {"what": ["when", "how_long"], "days": 30}
            line.send(json.dumps({"type": "room", "business": "", "ice": ice, "kept": kept, "ticket": to_text(bytes(16))}))
        elif frame["type"] == "m1":
            m1 = self.change_m1(frame)
            agent = Agent(self.credentials, CALL, PSK)
            agent.receive(m1["message"], m1["sdp"])
            answer = sdp(AGENT_PRINT, "answer")
            m2 = {"type": "m2", "message": agent.answer(answer, AGENT_PRINT.hex(), datetime.now(UTC)), "sdp": answer}
            self.lied_at = time.monotonic()
            for said in self.lie(self, m2):
                line.send(json.dumps(said))

    def said(self, kind: str) -> list[Frame]:
        return [frame for frame in self.seen if frame["type"] == kind]


@dataclass
class Place:
    """A page's host and the relay, for all tests of this file."""

    origin: str
    relay: Relay
    page: Page
    complaints: list[str]
    liar: Liar | None = None
    manifest: Any = None

    def call(self, liar: Liar) -> None:
        """Open a link of this business, and press Call."""
        self.liar = liar
        self.manifest = {"manifest": liar.credentials.manifest, "proof": dict(liar.credentials.proof)}
        self.page.goto("about:blank")
        self.page.goto(f"{self.origin}/{write_fragment(Link('invitation', liar.business.kid, PSK, CALL))}")
        self.page.get_by_role("button", name="Call", exact=True).click()

    def over(self) -> str:
        found = self.page.locator("[data-outcome]:visible")
        expect(found).to_be_visible(timeout=10_000)
        return f"{found.get_attribute('data-outcome')}/{found.get_attribute('data-reason')}"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("relay")
    with running_relay(folder, SECRET) as relay, serving_page() as origin, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CALL_ARGUMENTS)
        complaints: list[str] = []
        page = watch(browser.new_context(viewport=NARROW).new_page(), complaints)  # type: ignore[arg-type]
        page.add_init_script(EARS.replace("HERTZ", str(CUSTOMER_HERTZ)))
        place = Place(origin, relay, page, complaints)
        page.route("**/manifest", lambda route: route.fulfill(json=place.manifest))
        page.route_web_socket("**/signal", lambda line: place.liar.serve(line))  # type: ignore[union-attr]
        yield place
        browser.close()


@pytest.fixture
def place(running: Place) -> Iterator[Place]:
    began = time.monotonic()
    yield running
    assert running.relay.way.voice(began) == [], "no voice was sent"
    assert running.complaints == []


def business(**changes: Any) -> Business:
    return Business(now=datetime.now(UTC), **changes)


def liar(place: Place, lie: Lie = lambda liar, m2: [m2], owner: Business | None = None) -> Liar:
    owner = owner or business()
    return Liar(place.relay, owner, owner.credentials(), lie)


def altered(**members: Any) -> Lie:
    """M2 with members of its body, or of itself, changed; a function changes what stands there."""

    def lie(_: Liar, m2: Frame) -> list[Frame]:
        message = copy.deepcopy(json.loads(m2["message"]))
        for name, value in members.items():
            where = message if name in message else message["body"]
            where[name] = value(where[name]) if callable(value) else value
        return [m2 | {"message": spell(message)}]

    return lie


def shown_in_m2(manifest: str, proof: dict[str, Any], device: dict[str, Any] | None = None) -> Lie:
    """M2 with another directory, signed anew by the device's own key: only the directory is at fault."""

    def lie(liar: Liar, m2: Frame) -> list[Frame]:
        body = json.loads(m2["message"])["body"] | {"manifest": manifest, "proof": proof}
        body["device"] = device or body["device"]
        signature = liar.business.device.sign(signature_input(liar.business.kid, liar.said("m1")[0]["message"], spell(body)))
        return [m2 | {"message": spell(json.loads(m2["message"]) | {"body": body, "sig": to_text(signature)})}]

    return lie


def hashed(text: str) -> str:
    return to_text(hashlib.sha256(text.encode()).digest())


OTHER_ANSWER = sdp(CUSTOMER_PRINT, "answer")
LEAKY = sdp(AGENT_PRINT, "answer").replace("typ relay", "typ host")

LIES: dict[str, tuple[Lie, str]] = {
    "the answer's fingerprint swapped": (lambda liar, m2: [m2 | {"sdp": OTHER_ANSWER}], "sdp-changed"),
    "the fingerprint swapped in answer and message": (
        lambda liar, m2: [altered(fp=CUSTOMER_PRINT.hex(), sdp_hash=hashed(OTHER_ANSWER))(liar, m2)[0] | {"sdp": OTHER_ANSWER}],
        "signature",
    ),
    "the policy says recorded": (altered(policy=lambda policy: policy | {"rec": "on"}), "signature"),
    "a third party hidden in the policy": (altered(policy=lambda policy: policy | {"parties": 3}), "signature"),
    "an answer that shows addresses": (
        lambda liar, m2: [altered(sdp_hash=hashed(LEAKY))(liar, m2)[0] | {"sdp": LEAKY}], "signature"),
    "another device's signature": (altered(sig=flip_text), "signature"),
    "another secret's MAC": (altered(mac=flip_text), "mac"),
    "M2 of another call": (altered(call=to_text(bytes(16))), "wrong-call"),
    "a later version": (altered(v=2), "malformed"),
    "M2 that is no message": (lambda liar, m2: [m2 | {"message": "{}"}], "malformed"),
    "M2 twice": (lambda liar, m2: [m2, m2], "replayed"),
    "a device that is in no list": (altered(device=lambda device: device | {"key": raw(private("not listed"))}), "device-unknown"),
    "a role that was not signed": (altered(device=lambda device: device | {"role": "Director"}), "device-unknown"),
    "a longer life than was signed": (
        altered(device=lambda device: device | {"not_after": format_time(datetime.now(UTC) + timedelta(days=300))}), "device-unknown"),
}  # fmt: skip


SOME: Final = {
    "the fingerprint swapped in answer and message", "another secret's MAC", "M2 twice", "an older list than the page has seen",
    "a log that no witness has seen", "bye",
}  # fmt: skip
"""What `make test` runs; `make assure-private` runs all."""


def all_of(names: Iterable[str]) -> list[Any]:
    return [pytest.param(name, marks=() if name in SOME else pytest.mark.long) for name in names]


@pytest.mark.parametrize("name", all_of(LIES))
def test_a_lie_about_the_answer_ends_the_call(place: Place, name: str) -> None:
    lie, reason = LIES[name]
    lying = liar(place, lie)
    place.call(lying)
    assert place.over() == f"identity/{reason}"
    assert time.monotonic() - lying.lied_at < WITHIN_SECONDS
    assert [frame["reason"] for frame in lying.said("end")] == [reason], "the server is told, and so is the other end"
    if name != "M2 twice":
        assert lying.said("m3") == [], "nothing of ours was proved to it"
    expect(place.page.get_by_role("heading", name="Identity check failed")).to_be_focused()


def expired_device(owner: Business) -> dict[str, Any]:
    entry = owner.entry_of(not_after=format_time(owner.now - timedelta(minutes=1)))
    return {"manifest": owner.sign(devices=[entry]), "device": entry}


def revoked_device(owner: Business) -> dict[str, Any]:
    return {"manifest": owner.sign(devices=[], revoked=[device_digest(raw(owner.device))])}


LISTS: dict[str, tuple[Callable[[Business], dict[str, Any]], str]] = {
    "a device whose time has passed": (expired_device, "device-expired"),
    "a device that was revoked": (revoked_device, "device-revoked"),
}


@pytest.mark.parametrize("name", LISTS)
def test_a_device_that_the_root_key_no_longer_trusts_is_refused(place: Place, name: str) -> None:
    make, reason = LISTS[name]
    owner = business()
    changes = make(owner)
    lying = liar(place, shown_in_m2(proof=owner.proof(changes["manifest"]), **changes), owner)
    place.call(lying)
    assert place.over() == f"identity/{reason}"
    assert time.monotonic() - lying.lied_at < WITHIN_SECONDS


def rolled_back(owner: Business) -> dict[str, Any]:
    old = owner.sign(sequence=2)
    return {"manifest": old, "proof": owner.proof(old)}


def superseded(owner: Business) -> dict[str, Any]:
    old = owner.sign()
    return {"manifest": old, "proof": owner.proof(old, line=f"manifest 4 {'ab' * 32}")}


def unlogged(owner: Business) -> dict[str, Any]:
    note = owner.sign(sequence=4)
    return {"manifest": note, "proof": owner.proof(owner.sign(), line=f"manifest 3 {'cd' * 32}")}


def of_another_log(owner: Business) -> dict[str, Any]:
    note = owner.sign()
    forger = Signer(owner.log.verifier.name, Ed25519PrivateKey.generate())
    return {"manifest": note, "proof": owner.proof(note, log=forger)}


def unwitnessed(owner: Business) -> dict[str, Any]:
    note = owner.sign()
    return {"manifest": note, "proof": owner.proof(note, witnessed=False)}


def of_yesterday(owner: Business) -> dict[str, Any]:
    note = owner.sign()
    return {"manifest": note, "proof": owner.proof(note, witnessed_at=owner.now - timedelta(hours=25))}


def of_another_root(owner: Business) -> dict[str, Any]:
    other = Business(now=owner.now, root=Signer(KEY_NAME, Ed25519PrivateKey.generate()))
    note = other.sign()
    return {"manifest": note, "proof": other.proof(note)}


SHOWN: dict[str, tuple[Callable[[Business], dict[str, Any]], set[str]]] = {
    "an older list than the page has seen": (rolled_back, {"manifest-rolled-back"}),
    "a list that the log says is not the newest": (superseded, {"manifest-rolled-back"}),
    "a list that is not in the log": (unlogged, {"manifest-unlogged"}),
    "a log of the server's own": (of_another_log, {"log-signature"}),
    "a log that no witness has seen": (unwitnessed, {"witness-missing"}),
    "a witness's word of yesterday": (of_yesterday, {"log-stale"}),
    "a list that another business signed": (of_another_root, {"root-unknown"}),
}


@pytest.mark.parametrize("name", all_of(SHOWN))
def test_a_directory_that_is_not_the_newest_logged_one_is_refused_within_the_call(place: Place, name: str) -> None:
    make, reasons = SHOWN[name]
    owner = business()
    lying = liar(place, shown_in_m2(**make(owner)), owner)
    place.call(lying)
    outcome, _, reason = place.over().partition("/")
    assert outcome == "identity" and reason in reasons
    assert time.monotonic() - lying.lied_at < WITHIN_SECONDS and lying.said("m3") == []


@pytest.mark.parametrize("name", all_of(["a log that no witness has seen", "a list that another business signed"]))
def test_the_same_directory_is_refused_before_anybody_is_called(place: Place, name: str) -> None:
    make, reasons = SHOWN[name]
    owner = business()
    place.manifest = make(owner)
    place.liar = liar(place, owner=owner)
    place.page.goto("about:blank")
    place.page.goto(f"{place.origin}/{write_fragment(Link('invitation', owner.kid, PSK, CALL))}")
    outcome, _, reason = place.over().partition("/")
    assert outcome == "identity" and reason in reasons
    assert place.liar.seen == [], "no socket was opened"
    expect(place.page.locator("#by-phone")).to_be_hidden()


@pytest.mark.long
def test_the_offer_swapped_on_its_way_is_found_by_the_customer(place: Place) -> None:
    lying = liar(place)

    def swap(frame: Frame) -> Frame:
        offer = sdp(AGENT_PRINT, "offer")
        message = json.loads(frame["message"]) | {"fp": AGENT_PRINT.hex(), "sdp_hash": hashed(offer)}
        return {"message": spell(message), "sdp": offer}

    lying.change_m1 = swap
    place.call(lying)
    assert place.over() == "identity/signature"
    assert time.monotonic() - lying.lied_at < WITHIN_SECONDS


def test_the_control_an_honest_answer_is_believed_and_shown(place: Place) -> None:
    lying = liar(place)
    place.call(lying)
    expect(place.page.get_by_role("heading", name="Reception at Example Clinic is there")).to_be_focused()
    assert len(lying.said("m3")) == 1
    place.page.get_by_role("button", name="Decline").click()
    assert place.over() == "declined/declined"


@pytest.mark.long
def test_a_connection_that_never_comes_is_named_within_ten_seconds(place: Place) -> None:
    lying = liar(place)
    place.call(lying)
    expect(place.page.get_by_role("button", name="Answer")).to_be_visible()
    began = time.monotonic()
    place.page.get_by_role("button", name="Answer").click()
    expect(place.page.locator("[data-outcome]:visible")).to_be_visible(timeout=10_500)
    assert place.over() == "failed/no-media" and time.monotonic() - began < 10.5
    expect(place.page.get_by_role("link", name="+44 20 7946 0000")).to_be_visible()


REASONS = {"missed": "missed", "busy": "busy", "expired": "expired", "bye": "failed", "nobody knows this": "failed"}


@pytest.mark.parametrize("reason", all_of(REASONS))
def test_what_the_server_says_is_put_in_plain_words_and_never_taken_for_a_proof(place: Place, reason: str) -> None:
    lying = liar(place, lambda liar, m2: [{"type": "end", "reason": reason, "by": "server"}])
    place.call(lying)
    assert place.over().split("/")[0] == REASONS[reason], "a bye that nobody proved is no good end"
    expect(place.page.get_by_role("link", name="+44 20 7946 0000")).to_be_visible()
    assert "undefined" not in place.page.locator("section:visible").inner_text()


def test_the_psk_is_not_in_anything_that_the_server_was_sent(place: Place) -> None:
    lying = liar(place)
    place.call(lying)
    expect(place.page.get_by_role("button", name="Answer")).to_be_visible()
    sent = json.dumps(lying.seen)
    for form in (to_text(PSK), PSK.hex(), PSK.hex().upper(), to_text(lying.business.kid)):
        assert form not in sent
    assert to_bytes(lying.said("join")[0]["call"], "call") == CALL
    place.page.get_by_role("button", name="Decline").click()
