"""Two ends of a private call in Python: `aiortc` for the media, our own PLH/1, and a wire between them that a server may abuse."""

import asyncio
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack
from aiortc.rtcconfiguration import RTCIceTransportPolicy
from av import AudioFrame
from cryptography.hazmat.primitives.hashes import SHA256

from callseal.config.settings import Config
from callseal.daemons.turn import answers_stun, write_settings
from callseal.webrtc.handshake import Accepted, Agent, Customer, Peer
from callseal.webrtc.later import Later, Sent
from callseal.webrtc.refusal import Refused
from callseal.webrtc.turn import make_credential

RATE = 48_000
SECRET = "0123456789abcdef" * 4
Hook = Callable[[dict[str, Any]], dict[str, Any] | None]
"""What a server does to a frame: gives it on, changed or not, or None to keep it."""


class Tone(AudioStreamTrack):
    """A microphone that hears one tone; it counts the frames that were taken from it."""

    def __init__(self, hertz: float) -> None:
        super().__init__()
        self.hertz, self.taken = hertz, 0

    async def recv(self) -> AudioFrame:
        frame = await super().recv()
        self.taken += 1
        at = (np.arange(frame.samples) + frame.pts) / frame.sample_rate
        samples = (np.sin(2 * np.pi * self.hertz * at) * 12_000).astype(np.int16)
        made = AudioFrame.from_ndarray(samples[np.newaxis, :], format="s16", layout="mono")
        made.pts, made.sample_rate, made.time_base = frame.pts, frame.sample_rate, Fraction(1, frame.sample_rate)
        return made


def strength(samples: np.ndarray, hertz: float) -> float:
    """How much of the signal's power is this tone, 0 to 1 (Goertzel's sum, over its whole length)."""
    at = np.arange(len(samples)) / RATE
    power = float(np.sum(samples.astype(np.float64) ** 2)) or 1.0
    return float(abs(np.sum(samples * np.exp(-2j * np.pi * hertz * at))) ** 2 * 2 / (power * len(samples)))


def tidy(sdp: str, keep: str = "relay") -> str:
    """What aiortc offers, cut to what a private call allows: Opus alone, one fingerprint, relays alone."""
    opus = next(line.split(":")[1].split(" ")[0] for line in sdp.split("\r\n") if line.lower().endswith("opus/48000/2"))
    lines: list[str] = []
    for line in sdp.split("\r\n"):
        if line.startswith("m=audio"):
            line = " ".join([*line.split(" ")[:3], opus])
        if line.startswith(("a=rtpmap:", "a=fmtp:", "a=rtcp-fb:")) and not line.startswith(f"a=rtpmap:{opus} "):
            continue
        if line.startswith("a=fingerprint:") and "sha-256 " not in line:
            continue
        if line.startswith("a=extmap:") and not line.endswith("sdes:mid"):
            continue
        if line.startswith("a=candidate:") and f"typ {keep}" not in line:
            continue
        lines.append(line)
        if line.startswith(f"a=rtpmap:{opus} "):
            lines.append(f"a=fmtp:{opus} cbr=1;usedtx=0")
    return "\r\n".join(lines)


class End:
    """One end: its peer connection and microphone, and how it ended. `tell` puts a frame on the wire."""

    side = ""

    def __init__(self, ice: dict[str, Any], hertz: float) -> None:
        server = RTCIceServer(ice["urls"][0], ice["username"], ice["credential"])
        self.pc = RTCPeerConnection(RTCConfiguration([server], iceTransportPolicy=RTCIceTransportPolicy.RELAY))
        self.pc.addTransceiver("audio", "sendrecv")
        self.microphone = Tone(hertz)
        self.reason: str | None = None
        self.ended_at = 0.0
        self.over = asyncio.Event()
        self.talking = asyncio.Event()
        self.peer: Peer | None = None
        self.later: Later | None = None
        self.tell: Callable[[dict[str, Any]], None] = lambda frame: None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def fingerprint(self) -> str:
        certificate = self.pc._RTCPeerConnection__certificates[0]
        return next(one.value for one in certificate.getFingerprints() if one.algorithm == "sha-256").replace(":", "").lower()

    @property
    def packets_sent(self) -> int:
        return int(self.pc.getSenders()[0]._RTCRtpSender__packet_count)

    def peer_certificate(self) -> str:
        """SHA-256 of the certificate that the other really showed (not of what its SDP says)."""
        certificate = self.pc.getSenders()[0].transport._ssl.get_peer_certificate(as_cryptography=True)
        return certificate.fingerprint(SHA256()).hex()

    async def speak(self) -> None:
        """Rule 2: only with the peer verified, connected, and its certificate the one that was signed."""
        assert self.peer is not None
        while self.pc.connectionState != "connected":
            if self.pc.connectionState in ("failed", "closed"):
                raise Refused("no-media", "connection: expected it within the time")
            await asyncio.sleep(0.02)
        if self.peer_certificate() != self.peer.fingerprint:
            raise Refused("fingerprint", "certificate: expected the one that was signed")
        self.pc.getSenders()[0].replaceTrack(self.microphone)
        self.talking.set()

    def take(self, frame: dict[str, Any]) -> None:
        """One frame from the wire; whatever is refused ends the call with its reason."""
        task = asyncio.get_running_loop().create_task(self._guarded(self.on(frame)))
        self._tasks.add(task)

    async def _guarded(self, work: Awaitable[None]) -> None:
        try:
            await work
        except Refused as error:
            self.end(error.reason)

    async def on(self, frame: dict[str, Any]) -> None:
        raise NotImplementedError

    def take_later(self, frame: dict[str, Any]) -> None:
        assert self.later is not None
        got = self.later.receive(Sent(frame["message"], frame["mac"], frame["sdp"]))
        if got is not None and got["kind"] == "bye":
            self.end("bye", tells=False)

    def end(self, reason: str, tells: bool = True) -> None:
        if self.reason is None:
            self.reason, self.ended_at = reason, time.monotonic()
            self.pc.getSenders()[0].replaceTrack(None)
            if tells:
                self.tell({"type": "end", "reason": reason})
            self.over.set()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.pc.close()


class CustomerEnd(End):
    """The customer: offers, verifies M2 before the browser is given the answer."""

    side = "customer"

    def __init__(self, ice: dict[str, Any], hertz: float, plh: Customer, now: Callable[[], datetime]) -> None:
        super().__init__(ice, hertz)
        self.plh, self.now = plh, now
        self.accepted: Accepted | None = None

    async def begin(self) -> None:
        await self.pc.setLocalDescription(await self.pc.createOffer())
        sdp = tidy(self.pc.localDescription.sdp)
        self.tell({"type": "m1", "message": self.plh.offer(sdp, self.fingerprint), "sdp": sdp})

    async def on(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "end":
            self.end(frame["reason"], tells=False)
        elif frame["type"] == "later":
            self.take_later(frame)
        elif frame["type"] == "m2":
            self.accepted = self.plh.accept(frame["message"], frame["sdp"], self.now())
            self.peer = self.accepted.peer
            self.later = Later("customer", self.plh.call, self.peer, self.fingerprint)
            self.tell({"type": "m3", "message": self.accepted.m3})
            await self.pc.setRemoteDescription(RTCSessionDescription(frame["sdp"], "answer"))
            await self.speak()


class AgentEnd(End):
    """The agent: answers M1, speaks after M3."""

    side = "agent"

    def __init__(self, ice: dict[str, Any], hertz: float, plh: Agent, now: Callable[[], datetime]) -> None:
        super().__init__(ice, hertz)
        self.plh, self.now = plh, now

    async def on(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "end":
            self.end(frame["reason"], tells=False)
        elif frame["type"] == "later":
            self.take_later(frame)
        elif frame["type"] == "m1":
            self.plh.receive(frame["message"], frame["sdp"])
            await self.pc.setRemoteDescription(RTCSessionDescription(frame["sdp"], "offer"))
            await self.pc.setLocalDescription(await self.pc.createAnswer())
            sdp = tidy(self.pc.localDescription.sdp)
            self.tell({"type": "m2", "message": self.plh.answer(sdp, self.fingerprint, self.now()), "sdp": sdp})
        elif frame["type"] == "m3":
            self.peer = self.plh.finish(frame["message"])
            self.later = Later("agent", self.plh.call, self.peer, self.fingerprint)
            await self.speak()


@dataclass
class Wire:
    """The server between two ends: gives each frame on, through what it does to it; `seen` is all that it saw."""

    customer: CustomerEnd
    agent: AgentEnd
    hook: Hook = lambda frame: frame
    seen: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.customer.tell = lambda frame: self._give(self.agent, frame)
        self.agent.tell = lambda frame: self._give(self.customer, frame)

    def _give(self, end: End, frame: dict[str, Any]) -> None:
        self.seen.append(frame)
        given = self.hook(dict(frame)) if frame["type"] != "end" else frame
        if given is not None:
            end.take(given)


@contextmanager
def coturn(folder: Path) -> Iterator[Callable[[], dict[str, Any]]]:
    """Debian's coturn on loopback, with the configuration that `callseal up` writes; each call makes one side's credentials."""
    config = Config()
    port = free_port()
    config = replace(config, data=folder, private=replace(config.private, turn_port=port))
    (folder / "turn").mkdir(parents=True)
    settings = folder / "turn" / "turnserver.conf"
    settings.write_text(write_settings(config, SECRET))
    process = subprocess.Popen(["turnserver", "-c", str(settings)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 15
        while not answers_stun("127.0.0.1", port):
            assert process.poll() is None and time.monotonic() < end, "coturn did not start"
        yield lambda: make_credential(SECRET, [f"turn:127.0.0.1:{port}?transport=udp"], datetime.now(UTC))
    finally:
        process.terminate()
        process.wait(10)


def free_port() -> int:
    """A port that nobody has on loopback, for TCP and for UDP."""
    while True:
        with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            with suppress(OSError):
                udp.bind(tcp.getsockname())
                return int(tcp.getsockname()[1])
