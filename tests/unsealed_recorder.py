"""A test double of a recorder: answers SIPREC calls over TLS, opens SRTP with libsrtp, and does NOT seal.

It is what the detectors are tried on (a plaintext search that finds nothing here is broken), and what the test phone is tried
against without the product. `keep` says how the payloads lie on disk.
"""

import asyncio
import base64
import socket
import ssl
import struct
from dataclasses import dataclass, field
from pathlib import Path

from pylibsrtp import Error, Policy, Session

from callseal.phone.message import Incoming, MessageReader
from callseal.phone.track import PROFILES
from tests.certificates import Issued


@dataclass
class HeardStream:
    """One stream of one call, as it was heard: payloads by packet, in the order of arrival, and what failed."""

    label: str
    suite: str
    socket: socket.socket
    session: Session
    headers: list[tuple[int, int, int, int]] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)
    failed: int = 0


@dataclass
class HeardCall:
    """One call: every request of its dialog, and its streams."""

    requests: list[Incoming] = field(default_factory=list)
    streams: list[HeardStream] = field(default_factory=list)

    def methods(self) -> list[str]:
        return [request.method for request in self.requests]


class UnsealedRecorder:
    """Listens on 127.0.0.1. `status` other than 200 refuses every INVITE with it; `suite` is the one it takes."""

    def __init__(self, server: Issued, client_ca: Path, keep: Path | None = None) -> None:
        self.calls: dict[str, HeardCall] = {}
        self.status, self.suite, self.answer_with = 200, "", b""
        self.keep = keep
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(server.certificate, server.key)
        self._context.load_verify_locations(client_ca)
        self._context.verify_mode = ssl.CERT_REQUIRED
        self.writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> "UnsealedRecorder":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self.writers:
            writer.transport.abort()
        await asyncio.sleep(0)
        for call in self.calls.values():
            for stream in call.streams:
                asyncio.get_running_loop().remove_reader(stream.socket)
                stream.socket.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        messages = MessageReader()
        try:
            while data := await reader.read(65536):
                for message in messages.feed(data):
                    self._take(message, writer)
        except (ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.close()

    def _take(self, request: Incoming, writer: asyncio.StreamWriter) -> None:
        if not request.method:
            return
        call = self.calls.setdefault(request.header("Call-ID"), HeardCall())
        call.requests.append(request)
        if request.method == "INVITE" and self.status == 200:
            writer.write(self._reply(request, 100, "Trying", b""))
            writer.write(self._reply(request, 200, "OK", self.answer_with or self._answer(call, request)))
        elif request.method == "INVITE":
            writer.write(self._reply(request, self.status, "Refused", b""))
        elif request.method != "ACK":
            writer.write(self._reply(request, 200, "OK", b""))

    def _reply(self, request: Incoming, status: int, reason: str, body: bytes) -> bytes:
        lines = [f"SIP/2.0 {status} {reason}"]
        for name, value in request.headers:
            if name in ("via", "from", "call-id", "cseq"):
                lines.append(f"{name}: {value}")
        to = request.header("To")
        lines.append(f"t: {to}" + ("" if "tag=" in to or status == 100 else ";tag=double"))
        lines += [f"m: <sip:double@127.0.0.1:{self.port};transport=tls>", "c: application/sdp", f"l: {len(body)}", "", ""]
        return "\r\n".join(lines).encode() + body

    def _answer(self, call: HeardCall, request: Incoming) -> bytes:
        offer = request.body.decode()
        sections = ["m=" + section for section in offer[offer.index("v=0") :].split("\r\n--")[0].split("m=")[1:]]
        lines = ["v=0", "o=double 1 1 IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0"]
        for section in sections:
            attributes = section.split("\r\n")
            label = next(line for line in attributes if line.startswith("a=label:"))
            cryptos = [line for line in attributes if line.startswith("a=crypto:")]
            tag, suite, inline = next(
                words for line in cryptos if (words := line.removeprefix("a=crypto:").split())[1] == (self.suite or words[1])
            )
            stream = self._open(label.removeprefix("a=label:"), suite, base64.b64decode(inline.removeprefix("inline:")))
            call.streams.append(stream)
            lines += [
                f"m=audio {stream.socket.getsockname()[1]} RTP/SAVP {attributes[0].split()[3]}",
                f"a=crypto:{tag} {suite} {inline}",
                label,
                "a=recvonly",
            ]
        return "".join(f"{line}\r\n" for line in lines).encode()

    def _open(self, label: str, suite: str, key: bytes) -> HeardStream:
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        receiver.setblocking(False)
        receiver.bind(("127.0.0.1", 0))
        session = Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_INBOUND, srtp_profile=PROFILES[suite]))
        stream = HeardStream(label, suite, receiver, session)
        asyncio.get_running_loop().add_reader(receiver, self._hear, stream)
        return stream

    def _hear(self, stream: HeardStream) -> None:
        while True:
            try:
                packet = stream.socket.recv(2048)
            except BlockingIOError:
                return
            try:
                clear = stream.session.unprotect(packet)
            except Error:
                stream.failed += 1
                continue
            stream.headers.append(struct.unpack(">xBHII", clear[:12]))
            stream.payloads.append(clear[12:])
            if self.keep is not None:
                with self.keep.open("ab") as file:
                    file.write(clear[12:])
