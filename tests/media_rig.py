"""A real media worker, real UDP, and a custodian that is nothing but a key pair: what was sealed is opened from the spool files."""

import json
import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pylibsrtp import Policy, Session

from callseal.audio.matroska import TrackHead
from callseal.audio.matroska_reader import read_blocks, read_tracks
from callseal.audit.note import Signer, sign_note
from callseal.model.clock import format_time
from callseal.model.message import MessageDecoder, encode_message, raise_refusal, to_text
from callseal.rtp.srtp_kdf import SUITES
from callseal.store.events import read_events
from callseal.vault.card import SealingCard, encode_card
from callseal.vault.message import Kind, split_message
from callseal.vault.spool import Frame, iter_frames
from callseal.vault.tree import KeyTree
from callseal.vault.unseal import PartOpener, new_key_pair, open_header

PROFILES = {
    "AEAD_AES_256_GCM": Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
    "AEAD_AES_128_GCM": Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    "AES_CM_128_HMAC_SHA1_80": Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
}
PCMA = {"pt": 8, "name": "PCMA", "clock_hz": 8000, "channels": 1, "fmtp": ""}
HEADER = struct.Struct(">BBHII")


def draw_key(suite: str) -> bytes:
    return os.urandom(SUITES[suite].key_bytes + SUITES[suite].salt_bytes)


class Sender:
    """One stream that libsrtp protects; packet i has the sequence number `first + i` and the time i frames."""

    def __init__(
        self, suite: str = "AEAD_AES_256_GCM", key: bytes = b"", pt: int = 8, step: int = 160, first: int = 1000
    ) -> None:
        self.suite, self.key = suite, key or draw_key(suite)
        self.pt, self.step, self.first = pt, step, first
        self.ssrc = int.from_bytes(os.urandom(4))
        self.session = self._make_session()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.port = 0
        self.sent = 0

    def _make_session(self) -> Session:
        return Session(Policy(self.key, Policy.SSRC_ANY_OUTBOUND, 0, PROFILES[self.suite]))

    def rekey(self, suite: str, key: bytes) -> None:
        self.suite, self.key = suite, key
        self.session = self._make_session()

    def stream(self, label: str = "1", **more: Any) -> dict[str, Any]:
        return {
            "label": label, "suite": self.suite, "key": to_text(self.key), "tag": 1, "codecs": [PCMA], "event_pts": [101],
            "party": "customer", "host": "127.0.0.1", "paused": False, **more,
        }  # fmt: skip

    def packet(self, payload: bytes, number: int | None = None, pt: int | None = None, timestamp: int | None = None) -> bytes:
        number = self.sent if number is None else number
        at = number * self.step if timestamp is None else timestamp
        return (
            HEADER.pack(0x80, self.pt if pt is None else pt, (self.first + number) & 0xFFFF, at & 0xFFFFFFFF, self.ssrc) + payload
        )

    def protect(self, payload: bytes, **fields: Any) -> bytes:
        protected: bytes = self.session.protect(self.packet(payload, **fields))
        self.sent += 1
        return protected

    def send(self, payload: bytes, **fields: Any) -> bytes:
        packet = self.protect(payload, **fields)
        self.send_raw(packet)
        return packet

    def send_raw(self, packet: bytes) -> None:
        self.socket.sendto(packet, ("127.0.0.1", self.port))

    def close(self) -> None:
        self.socket.close()

    def __del__(self) -> None:
        self.socket.close()


@dataclass
class OpenedPart:
    """What the private key gives back of one part."""

    part: int
    tracks: list[TrackHead] = field(default_factory=list)
    blocks: list[tuple[int, int, bytes]] = field(default_factory=list)
    meta: list[dict[str, Any]] = field(default_factory=list)
    end: dict[str, Any] | None = None
    messages: int = 0

    @property
    def payloads(self) -> list[bytes]:
        return [payload for _track, _at, payload in self.blocks]


def media_ports() -> str:
    """Settings of [media]: ports below those that the system gives, so that no other test has a killed worker's by chance."""
    first = 10_000 + 1000 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    return f"first_port = {first}\nlast_port = {first + 998}\n"


class MediaRig:
    """One data folder, its card and private key, and the worker that runs in it."""

    def __init__(self, folder: Path, settings: str = "") -> None:
        self.data = folder / "data"
        self.file = folder / "callseal.toml"
        self.file.write_text(f'data = "{self.data}"\n{settings}', encoding="utf-8")
        for name in ("cards", "log", "run"):
            (self.data / name).mkdir(parents=True)
        self.private_key, self.public_key = new_key_pair()
        self.signer = Signer.from_seed("test/2026", os.urandom(32))
        (self.data / "log" / "log.vkey").write_text(self.signer.verifier.vkey() + "\n")
        self.process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None
        self._id = 0

    def write_card(self, days: float = 7, epoch: int = 1, signer: Signer | None = None, public_key: bytes = b"") -> None:
        card = SealingCard(epoch, public_key or self.public_key, datetime.now(UTC) + timedelta(days=days), 0)
        note = encode_card(card, lambda text: sign_note(text, signer or self.signer).decode())
        (self.data / "cards" / f"{epoch}.card").write_text(note)

    def start(self) -> None:
        self.spawn()
        assert self.is_ready(20), self.log()

    def spawn(self) -> None:
        """Start the worker; `is_ready` says when it serves. From the main thread: a child dies with the thread that made it."""
        self._ready, writing = os.pipe()
        environment = dict(os.environ, CALLSEAL_READY_FD=str(writing), PYTHONDONTWRITEBYTECODE="1")
        with (self.data / "media.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "callseal.daemons", "media", "--config", str(self.file)],
                stdout=log, stderr=log, pass_fds=(writing,), env=environment,
            )  # fmt: skip
        os.close(writing)

    def is_ready(self, timeout: float = 0) -> bool:
        """Whether the worker that was spawned serves (once); then the control line stands."""
        if not select.select([self._ready], [], [], timeout)[0]:
            return False
        said = os.read(self._ready, 16)
        os.close(self._ready)
        assert said.startswith(b"READY"), self.log()
        self.connect()
        return True

    def connect(self) -> None:
        self._line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._line.connect(str(self.data / "run" / "media-0.sock"))
        self._line.settimeout(20)
        self._decoder = MessageDecoder()

    @classmethod
    def on(cls, other: "MediaRig") -> "MediaRig":
        """Another control line to the same worker."""
        line = cls.__new__(cls)
        line.__dict__.update(other.__dict__, _line=None, _id=0)
        line.connect()
        return line

    def disconnect(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(20)
        self.disconnect()

    def stop(self) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        code = self.process.wait(20)
        self.disconnect()
        return code

    def ask(self, kind: str, **fields: Any) -> dict[str, Any]:
        assert self._line is not None
        self._id += 1
        assert self.process is not None
        assert self.process.poll() is None, self.log()
        self._line.sendall(encode_message({"type": kind, "id": self._id, **fields}))
        while data := self._line.recv(1 << 20):
            for reply in self._decoder.feed(data):
                raise_refusal(reply)
                return reply
        raise AssertionError(f"the worker hung up\n{self.log()}")

    def open(self, recording: str, streams: list[dict[str, Any]], **more: Any) -> list[int]:
        fields: dict[str, Any] = {
            "part": 0, "peer": "office", "class": "default", "started_at": format_time(datetime.now(UTC)),
            "meta": {"peer": "office", "participants": []}, "resume": False, **more,
        }  # fmt: skip
        ports: list[int] = self.ask("media.open", recording=recording, streams=streams, **fields)["ports"]
        return ports

    def status(self, recording: str) -> dict[str, Any]:
        found = [entry for entry in self.ask("media.status")["recordings"] if entry["recording"] == recording]
        return dict(found[0])

    def wait_status(self, recording: str, wanted: Any, timeout: float = 10) -> dict[str, Any]:
        """The recording's status as soon as `wanted(status)` holds."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            status = self.status(recording)
            if wanted(status):
                return status
            time.sleep(0.05)
        raise AssertionError(f"not within {timeout} s: {status}\n{self.log()}")

    def events(self, kind: str | None = None) -> list[dict[str, Any]]:
        return [e for e in read_events(self.data / "events", "media-0", 0, 1_000_000) if kind is None or e["type"] == kind]

    def frames(self) -> list[Frame]:
        found: list[Frame] = []
        for path in sorted((self.data / "spool" / "media-0").glob("*.spool"), key=lambda path: path.stat().st_mtime_ns):
            found += [item for item in iter_frames(path.read_bytes()) if isinstance(item, Frame)]
        return found

    def open_parts(self, recording: str, frames: list[Frame] | None = None) -> list[OpenedPart]:
        """Every part of a recording, opened message by message with the private key, in order; from the spool, or these frames."""
        parts: dict[int, tuple[OpenedPart, PartOpener]] = {}
        previous: dict[int, bytes] = {}
        for frame in self.frames() if frames is None else frames:
            if frame.recording.hex() != recording:
                continue
            if frame.is_header:
                core, dek = open_header(frame.payload, self.private_key)
                opener = PartOpener(core, list(KeyTree.from_seed(dek).nodes))
                parts[frame.part] = OpenedPart(frame.part), opener
                previous[frame.part] = core.digest()
                continue
            opened, opener = parts[frame.part]
            message = opener.open(frame.payload, previous[frame.part])
            previous[frame.part] = split_message(frame.payload).commitment
            _take(opened, message.number, message.kind, bytes(message.plaintext))
        return [opened for opened, _opener in parts.values()]

    def log(self) -> str:
        return (self.data / "media.log").read_text(errors="replace")[-4000:]


def _take(opened: OpenedPart, number: int, kind: Kind, plaintext: bytes) -> None:
    assert number == opened.messages, "a message is missing"
    opened.messages += 1
    if kind is Kind.MEDIA and number == 0:
        opened.tracks = read_tracks(plaintext)
    elif kind is Kind.MEDIA:
        assert len(plaintext) % 1024 == 0, "sizes say little"
        opened.blocks += [(block.track, block.at_ms, block.payload) for block in read_blocks(plaintext)]
    elif kind is Kind.META:
        opened.meta.append(json.loads(plaintext))
    elif kind is Kind.END:
        opened.end = json.loads(plaintext)


@contextmanager
def running(folder: Path, card: bool = True, settings: str = "") -> Iterator[MediaRig]:
    """A worker with a card, running."""
    rig = MediaRig(folder, settings)
    if card:
        rig.write_card()
    rig.start()
    try:
        yield rig
    finally:
        if rig.process is not None and rig.process.poll() is None:
            rig.stop()
        rig.disconnect()


def speak(senders: list[Sender], frames: int, payload: Any, period: float = 0.02) -> None:
    """Send `frames` packets on each stream, one a period, by the clock; `payload(stream, number)` gives each."""
    began = time.monotonic()
    for number in range(frames):
        time.sleep(max(0.0, began + number * period - time.monotonic()))
        for at, sender in enumerate(senders):
            sender.send(payload(at, sender.sent))
