"""What the servers and the network have of a private call, gathered while it goes on; and a gateway that ends the encryption, as control.

Observers: each signalling frame, the relay's whole capture, the memory of every daemon and of coturn during the call, all files, all logs.
"""

import base64
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from playwright.sync_api import Browser, Page, expect

from callseal.webrtc.turn import make_credential
from tests.browser.private_modules import serving_modules
from tests.browser.private_relay import Relay
from tests.browser.private_stage import CUSTOMER_HERTZ, EARS, STAFF_HERTZ, Stage, heard
from tests.memory_search import read_memory
from tests.tone_search import ToneFound, find_tones

DECOY_HERTZ = 1371.0


@dataclass
class Observed:
    """All that the servers and the network had of one call."""

    memory: dict[str, bytes]
    files: dict[str, bytes]
    frames: list[str]
    packets: list[bytes]
    secrets: dict[str, bytes] = field(default_factory=dict)

    @property
    def everything(self) -> dict[str, bytes]:
        capture = b"".join(self.packets)
        return {**self.memory, **self.files, "signalling": "\n".join(self.frames).encode(), "capture": capture}


def dump(pid: int) -> bytes:
    """A process's memory without its pages of zeros."""
    pages = (region.content[at : at + 4096] for region in read_memory(pid) for at in range(0, len(region.content), 4096))
    return b"".join(page for page in pages if page.count(0) < len(page))


def turnserver_pid(relay: Relay) -> int:
    return int((relay.log.parent / "turn.pid").read_text())


def observe(stage: Stage) -> Observed:
    """One call, and a look at everything while it goes on."""
    frames: list[str] = []
    customer = stage.customer()
    for page in (customer, stage.staff):
        page.on("websocket", lambda line: (
            line.on("framesent", lambda text: frames.append(str(text))), line.on("framereceived", lambda text: frames.append(str(text))),
        ))  # fmt: skip
    stage.staff.reload()
    expect(stage.staff.locator("#line")).to_contain_text("Ready")
    link = stage.invite()
    began = time.monotonic()
    customer.goto(link)
    stage.talk(customer)
    heard(customer, STAFF_HERTZ)
    heard(stage.staff, CUSTOMER_HERTZ)
    names = json.loads((stage.stack.config.run / "supervisor.json").read_text())
    memory = {name: dump(stage.stack.pid(name)) for name in names} | {"coturn": dump(turnserver_pid(stage.relay))}
    for page in (customer, stage.staff):
        assert page.evaluate(CIPHER) == "SRTP_AES128_CM_HMAC_SHA1_80", "what the search for keys tries"
    customer.get_by_role("button", name="Hang up").click()
    assert stage.over(stage.staff) == ("completed", "bye")
    memory |= {f"{name}, after": dump(stage.stack.pid(name)) for name in ("web", "custodian")}
    folder = stage.stack.file.parent
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    packets = [item.payload for item in stage.relay.way.voice(began)]
    _, psk, _ = link.partition("#i.")[2].split(".")
    secrets = {"the link's secret": base64.urlsafe_b64decode(psk + "==")}
    return Observed(memory, files, frames, packets, secrets)


def spellings(secret: bytes) -> list[bytes]:
    text = [base64.b64encode(secret).decode(), base64.urlsafe_b64encode(secret).decode(), secret.hex(), secret.hex().upper()]
    return [secret, *(item.rstrip("=").encode() for item in text)]


@contextmanager
def gateway() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.browser.private_gateway"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)
        for end in (process.stdin, process.stdout):
            assert end is not None
            end.close()


def ask(process: subprocess.Popen[str], said: str) -> dict[str, object]:
    assert process.stdin is not None and process.stdout is not None
    print(said, file=process.stdin, flush=True)
    return dict(json.loads(process.stdout.readline()))


CIPHER = "connections.at(-1).getStats().then((all) => [...all.values()].find((one) => one.type === 'transport').srtpCipher)"
OFFER = """async (ice) => {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  globalThis.pc = new RTCPeerConnection({ iceServers: [ice], iceTransportPolicy: "relay" });
  pc.addTrack(stream.getAudioTracks()[0], stream);
  const gathered = new Promise((resolve) => (pc.onicecandidate = ({ candidate }) => candidate || resolve()));
  await pc.setLocalDescription();
  await gathered;
  return pc.localDescription.sdp;
}"""


def speak_to_gateway(browser: Browser, relay: Relay, secret: str, process: subprocess.Popen[str]) -> tuple[bytes, list[bytes]]:
    """The customer's tone to a gateway, over the same relay; the gateway's memory, and what the relay saw."""
    began = time.monotonic()
    with serving_modules() as origin:
        page: Page = browser.new_context().new_page()
        page.add_init_script(EARS.replace("HERTZ", str(CUSTOMER_HERTZ)))
        page.goto(f"{origin}/able.js")
        ice = make_credential(secret, [relay.url], datetime.now(UTC))
        answer = ask(process, json.dumps({"sdp": page.evaluate(OFFER, ice)}))
        page.evaluate("(sdp) => pc.setRemoteDescription({ type: 'answer', sdp })", answer["sdp"])
        end = time.monotonic() + 20
        while int(str(ask(process, "how much?")["frames"])) < 50:
            assert time.monotonic() < end, "the gateway hears nothing"
            page.wait_for_timeout(100)
        memory = dump(process.pid)
        page.context.close()
    return memory, [item.payload for item in relay.way.voice(began)]


def tones(content: bytes, *hertz: float) -> list[ToneFound]:
    """Wherever a sample may begin."""
    return find_tones(content, *hertz) + find_tones(content[1:], *hertz)


