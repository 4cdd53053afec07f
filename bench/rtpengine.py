"""Debian's rtpengine, recording the same calls to pcap in the clear: what most open recorders stand on.

Driven by its ng protocol in JSON. Each call is offered and answered with SDES, so that both its streams are decrypted, recorded,
encrypted and forwarded to a socket that nobody reads; with `block`, forwarding is off (`block media`).
"""

import base64
import json
import os
import resource
import shutil
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bench.traffic import PAYLOAD_BYTES, Traffic
from bench.ways import RECEIVER_CORE
from callseal.errors import Unavailable

START_SECONDS = 10.0
FIRST_PORT, LAST_PORT = 20_000, 64_998
_PCAP_HEAD, _PCAP_RECORD = 24, struct.Struct("=IIII")
_IP_UDP_RTP_BYTES = 20 + 8 + 12


def is_installed() -> bool:
    """Whether Debian's `rtpengine-daemon` is here."""
    return shutil.which("rtpengine") is not None


class Rtpengine:
    """A running rtpengine with every call of the traffic set up."""

    def __init__(self, traffic: Traffic, folder: Path, block: bool) -> None:
        self._folder = folder
        self.kept = 0
        """Packets that its files hold, once it has ended."""
        self._ng = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._ng.settimeout(0.5)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            self._address = free.getsockname()
        self._sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sink.bind(("127.0.0.1", 0))
        self._process = subprocess.Popen(
            [
                "taskset", "-c", str(RECEIVER_CORE), "rtpengine", "--foreground", "--log-stderr", "--log-level=3", "--table=-1",
                "--interface=127.0.0.1", f"--listen-ng=127.0.0.1:{self._address[1]}", f"--port-min={FIRST_PORT}",
                f"--port-max={LAST_PORT}", "--num-threads=1", "--recording-method=pcap", "--recording-format=raw",
                f"--recording-dir={folder}", f"--pidfile={folder}/pid",
            ],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)),
        )  # fmt: skip
        self.pid = self._process.pid
        self.ports: list[int] = []
        try:
            self._wait_ready()
            for first in range(0, traffic.streams, 2):
                self._set_up(f"call-{first}", traffic.suite, traffic.keys[first : first + 2], block)
        except BaseException:
            self.close()
            raise

    def _wait_ready(self) -> None:
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            with suppress(OSError):
                if self.ask("ping")["result"] == "pong":
                    self._ng.settimeout(20)
                    return
        raise Unavailable("rtpengine: expected it to answer a ping")

    def ask(self, command: str, **fields: Any) -> dict[str, Any]:
        """One request of the ng protocol and its answer."""
        cookie = os.urandom(8).hex()
        self._ng.sendto(f"{cookie} {json.dumps({'command': command, **fields})}".encode(), self._address)
        while True:
            name, _, body = self._ng.recv(65536).partition(b" ")
            if name.decode() == cookie:
                answer: dict[str, Any] = json.loads(body)
                return answer

    def _set_up(self, call: str, suite: str, keys: list[bytes], block: bool) -> None:
        names = {"call-id": call, "from-tag": "a"}
        offered = self.ask("offer", **names, sdp=self._sdp(suite, keys[0]), **{"record call": "yes"})
        answered = self.ask("answer", **names, **{"to-tag": "b", "record call": "yes"}, sdp=self._sdp(suite, keys[1]))
        if block:
            self.ask("block media", **{"call-id": call})
        self.ports += [_port(answered["sdp"]), _port(offered["sdp"])]

    def _sdp(self, suite: str, key: bytes) -> str:
        lines = [
            "v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0",
            f"m=audio {self._sink.getsockname()[1]} RTP/SAVP 8", "a=rtpmap:8 PCMA/8000",
            f"a=crypto:1 {suite} inline:{base64.b64encode(key).decode()}", "a=sendrecv", "",
        ]  # fmt: skip
        return "\r\n".join(lines)

    def count(self) -> int:
        """By its own account; what its files hold is counted when it has ended."""
        return int(self.ask("statistics")["statistics"]["totalstatistics"].get("relayedpackets", 0))

    def close(self) -> None:
        """End every call, so that its files are whole, and the process."""
        self._process.terminate()
        self._process.wait(20)
        self._ng.close()
        self._sink.close()

    def count_kept(self, traffic: Traffic) -> int:
        """Packets in its files whose payload is one that was sent, decrypted rightly. Call it after `close`."""
        known = {payload.tobytes() for payload in traffic.payloads}
        return sum(payload in known for path in sorted(self._folder.glob("pcaps/*.pcap")) for payload in _payloads(path))


@contextmanager
def recording(traffic: Traffic, block: bool) -> Iterator[Rtpengine]:
    """rtpengine with the traffic's calls."""
    with tempfile.TemporaryDirectory(prefix="cs-rtpe-") as folder:
        engine = Rtpengine(traffic, Path(folder), block)
        try:
            yield engine
        finally:
            engine.close()
            engine.kept = engine.count_kept(traffic)


def _port(sdp: str) -> int:
    return int(next(line.split()[1] for line in sdp.splitlines() if line.startswith("m=audio")))


def _payloads(path: Path) -> Iterator[bytes]:
    data = path.read_bytes()
    at = _PCAP_HEAD
    while at + _PCAP_RECORD.size <= len(data):
        _seconds, _micros, length, _whole = _PCAP_RECORD.unpack_from(data, at)
        at += _PCAP_RECORD.size
        yield data[at + _IP_UDP_RTP_BYTES : at + _IP_UDP_RTP_BYTES + PAYLOAD_BYTES]
        at += length
