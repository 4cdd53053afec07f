"""A recorder's signalling on real sockets: the real daemon class, a media worker that speaks the real protocol, a raw TLS peer."""

import asyncio
import base64
import hashlib
import os
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from callseal.config.peers import Peer, Secret, read_network, write_peer
from callseal.config.settings import Config, Media, Sip
from callseal.daemons.sip import SipDaemon
from callseal.errors import CallsealError, Conflict, NotFound, RequestError
from callseal.model.message import MessageDecoder, encode_message, refuse, reply_to
from callseal.net.admission import draw_word
from callseal.net.authority import ensure_authority, issue_client
from callseal.store.events import EventWriter, read_events
from callseal.store.memory_log import MemoryLog, make_memory_files

KEY_BYTES = {"AEAD_AES_256_GCM": 44, "AEAD_AES_128_GCM": 28, "AES_CM_128_HMAC_SHA1_80": 30, "AES_CM_128_HMAC_SHA1_32": 30}


class FakeMedia:
    """A media worker's control socket: opens, changes and closes recordings by docs/architecture.md; `held` makes it wait, `full`
    is what it refuses to open with; each of `breaks` ends the line at a `media.open`, which has begun (True) or not (False)."""

    def __init__(self, path: Path, first_port: int = 20000) -> None:
        self.path = path
        self.full: CallsealError | None = None
        self.breaks: list[bool] = []
        self.orders: list[dict[str, Any]] = []
        self.recordings: dict[str, dict[str, Any]] = {}
        self.held = asyncio.Event()
        self.held.set()
        self._next_port = first_port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, str(self.path))

    async def stop(self) -> None:
        """Die: every connection breaks and all is forgotten."""
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.close()
        while self._writers:
            await asyncio.sleep(0.001)
        self.path.unlink(missing_ok=True)
        self.recordings.clear()

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [order for order in self.orders if order["type"] == kind]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        decoder = MessageDecoder()
        try:
            while data := await reader.read(65536):
                for message in decoder.feed(data):
                    await self.held.wait()
                    if message["type"] == "media.open" and self.breaks:
                        self.orders.append(message) if not self.breaks.pop(0) else self._answer(message)
                        return
                    writer.write(encode_message(self._answer(message)))
                    await writer.drain()
        except OSError:
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    def _answer(self, message: dict[str, Any]) -> dict[str, Any]:
        self.orders.append(message)
        recording = str(message.get("recording"))
        match message["type"]:
            case "media.open":
                if recording in self.recordings:
                    return refuse(message, Conflict("recording: open already"))
                if self.full is not None:
                    return refuse(message, self.full)
                ports = [stream.get("port") or self._port() for stream in message["streams"]]
                self.recordings[recording] = {"ports": ports, "streams": message["streams"]}
                return reply_to(message, ports=ports)
            case "media.status":
                known = [{"recording": name, "sealed_through_ms": 0, "streams": []} for name in self.recordings]
                return reply_to(message, recordings=known, wakes=0, late_ms_p99=0)
            case _ if recording not in self.recordings:
                return refuse(message, NotFound("recording: not open"))
            case "media.update":
                held = self.recordings[recording]
                held["streams"] = message["streams"]
                held["ports"] += [self._port() for _ in message["streams"][len(held["ports"]) :]]
                return reply_to(message, ports=held["ports"])
            case "media.meta":
                return reply_to(message)
            case "media.close":
                del self.recordings[recording]
                return reply_to(message, sealed_through_ms=0, packets=0, lost=0, failed=0)
        return refuse(message, RequestError("type: unknown"))

    def _port(self) -> int:
        self._next_port += 2
        return self._next_port


class Answered:
    """A response as read off the wire."""

    def __init__(self, head: str, body: bytes) -> None:
        self.head = head
        self.body = body.decode("utf-8", "replace")
        self.status = int(head.split(" ")[1])
        self.headers = [tuple(part.strip() for part in line.partition(":")[::2]) for line in head.split("\r\n")[1:]]

    def get(self, name: str) -> str:
        return next((value for known, value in self.headers if known.lower() == name.lower()), "")

    def values(self, attribute: str) -> list[str]:
        return [line.partition(":")[2] for line in self.body.split("\r\n") if line.startswith(f"a={attribute}:")]

    @property
    def to_tag(self) -> str:
        return self.get("To").partition("tag=")[2]


class PeerConnection:
    """A phone system's end of one TLS connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes | str) -> None:
        self.writer.write(data.encode() if isinstance(data, str) else data)
        await self.writer.drain()

    async def read(self, seconds: float = 5.0) -> Answered:
        head = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), seconds)).decode()
        length = next(int(line.partition(":")[2]) for line in head.split("\r\n") if line.lower().startswith("content-length"))
        return Answered(head.rstrip(), await self.reader.readexactly(length))

    async def ask(self, data: bytes | str) -> Answered:
        await self.send(data)
        return await self.read()

    async def close(self) -> None:
        self.writer.close()
        with suppress(OSError, TimeoutError):
            await asyncio.wait_for(self.writer.wait_closed(), 5)


class Rig:
    """The running daemon, its media workers (`media` is the first) and its folder."""

    def __init__(self, config: Config, daemon: SipDaemon, *workers: FakeMedia) -> None:
        self.config, self.daemon, self.workers = config, daemon, workers
        self.media = workers[0]
        self.connections: list[PeerConnection] = []

    def add_peer(self, name: str) -> None:
        """A further phone system with a certificate of its own."""
        fingerprint = issue_client(self.config.data / "tls", name, datetime.now(UTC))
        (self.config.data / "peers" / f"{name}.toml").write_text(f'certificate_sha256 = "{fingerprint}"\n')

    def add_cloud_peer(self, name: str, *networks: str, kind: str = "twilio") -> str:
        """A cloud sender that calls from these networks; returns its secret."""
        word = draw_word()
        secret = Secret(hashlib.sha256(word.encode()).hexdigest())
        peer = Peer(name, kind=kind, networks=tuple(read_network(network) for network in networks), secrets=(secret,))
        (self.config.data / "peers" / f"{name}.toml").write_text(write_peer(peer))
        return word

    def client_context(self, name: str | None = "phone") -> ssl.SSLContext:
        tls = self.config.data / "tls"
        context = ssl.create_default_context(cafile=str(tls / "ca.pem"))
        if name is not None:
            context.load_cert_chain(tls / f"{name}.pem", tls / f"{name}.key")
        return context

    async def connect(self, name: str | None = "phone", context: ssl.SSLContext | None = None) -> PeerConnection:
        host, port = self.daemon.server.address
        tls = context or self.client_context(name)
        connection = PeerConnection(*await asyncio.open_connection(host, port, ssl=tls, server_hostname="localhost"))
        self.connections.append(connection)
        return connection

    def events(self, kind: str | None = None) -> list[dict[str, Any]]:
        self.daemon.events.flush()
        found = read_events(self.config.data / "events", "sip", 0, 100_000)
        return [event for event in found if kind is None or event["type"] == kind]

    async def wait(self, what: Callable[[], Any], seconds: float = 5.0) -> Any:
        """The first true value of `what`, looked for until then."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := what():
                return found
            await asyncio.sleep(0.005)
        raise AssertionError(f"not within {seconds} s; events: {[event['type'] for event in self.events()]}")

    async def wait_event(self, kind: str) -> dict[str, Any]:
        found: list[dict[str, Any]] = await self.wait(lambda: self.events(kind))
        return found[-1]


@asynccontextmanager
async def running(
    folder: Path, start_media: bool = True, host: str = "127.0.0.1", memory: MemoryLog | None = None, workers: int = 1
) -> AsyncIterator[Rig]:
    config = Config(data=folder, sip=Sip(port=0), media=Media(workers=workers))
    for name in ("tls", "peers", "run", "events"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    ensure_authority(folder / "tls", folder / "peers", server_name="localhost", now=datetime.now(UTC))
    media = [FakeMedia(config.media_socket(worker), 20000 + 1000 * worker) for worker in range(workers)]
    with EventWriter(folder / "events", "sip") as events:
        daemon = SipDaemon(config, events, memory or MemoryLog(make_memory_files("sip")))
        daemon.server.open(host, 0)
        for worker in media if start_media else ():
            await worker.start()
        daemon.start_tasks()
        if start_media:
            await asyncio.wait_for(daemon.media.wait_connected(), 5)
        rig = Rig(config, daemon, *media)
        try:
            yield rig
        finally:
            for connection in rig.connections:
                await connection.close()
            await daemon.close()
            daemon.events.close()
            for worker in media if start_media else ():
                await worker.stop()


def inline(suite: str) -> str:
    return base64.b64encode(os.urandom(KEY_BYTES[suite])).decode()


def crypto(tag: int = 1, suite: str = "AEAD_AES_256_GCM", tail: str = "") -> str:
    return f"a=crypto:{tag} {suite} inline:{inline(suite)}{tail}\r\n"


def sdp(*lines: str, labels: tuple[str, ...] = ("1", "2"), extra: str = "a=sendonly\r\n", protocol: str = "RTP/SAVP") -> str:
    """An offer with one audio line for each label; `lines` are the crypto lines of each."""
    keys = lines or tuple(crypto() for _ in labels)
    media = "".join(
        f"m=audio {30000 + 2 * at} {protocol} 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n{key}a=label:{label}\r\n{extra}"
        for at, (label, key) in enumerate(zip(labels, keys, strict=True))
    )
    return f"v=0\r\no=SRC 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n{media}"


METADATA = (
    '<?xml version="1.0" encoding="UTF-8"?><recording xmlns="urn:ietf:params:xml:ns:recording:1"><datamode>complete</datamode>'
    '<session session_id="s1"/><participant participant_id="p1"><nameID aor="sip:+441632960001@pbx.example">'
    '<name>Pat Caller</name></nameID></participant><participant participant_id="p2"><nameID aor="sips:204@pbx.example">'
    "<name>Sam Staff</name></nameID></participant>"
    '<stream stream_id="m1" session_id="s1"><label>1</label></stream><stream stream_id="m2" session_id="s1"><label>2</label></stream>'
    '<participantstreamassoc participant_id="p1"><send>m1</send><recv>m2</recv></participantstreamassoc>'
    '<participantstreamassoc participant_id="p2"><send>m2</send><recv>m1</recv></participantstreamassoc></recording>'
)


def multipart(offer: str, metadata: str = METADATA, metadata_type: str = "application/rs-metadata+xml") -> tuple[str, str]:
    """Content-Type and body of a SIPREC INVITE."""
    body = (
        f"--cut\r\nContent-Type: application/sdp\r\n\r\n{offer}\r\n--cut\r\nContent-Type: {metadata_type}\r\n"
        f"Content-Disposition: recording-session\r\n\r\n{metadata}\r\n--cut--\r\n"
    )
    return "multipart/mixed;boundary=cut", body


def request(
    method: str, call_id: str, cseq: int = 1, body: str | tuple[str, str] = "", to_tag: str = "", branch: str = "",
    headers: str = "", from_tag: str = "ft", uri: str = "sip:recorder@localhost",
) -> str:  # fmt: skip
    content_type, content = body if isinstance(body, tuple) else ("application/sdp", body)
    typed = f"Content-Type: {content_type}\r\n" if content else ""
    tag = f";tag={to_tag}" if to_tag else ""
    return (
        f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/TLS 192.0.2.77:5061;branch={branch or 'z9hG4bK' + os.urandom(6).hex()}\r\n"
        f"Max-Forwards: 70\r\nFrom: <sip:+441632960001@pbx.example>;tag={from_tag}\r\nTo: <sip:recorder@localhost>{tag}\r\n"
        f"Call-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nContact: <sip:pbx@192.0.2.77:5061;transport=tls>;+sip.src\r\n"
        f"{headers}{typed}Content-Length: {len(content.encode())}\r\n\r\n{content}"
    )


async def place(connection: PeerConnection, call_id: str = "call-1@pbx", body: str | tuple[str, str] | None = None) -> Answered:
    """A call up to its ACK."""
    answered = await connection.ask(request("INVITE", call_id, body=multipart(sdp()) if body is None else body))
    assert answered.status == 200, answered.head
    await connection.send(request("ACK", call_id, to_tag=answered.to_tag))
    return answered
