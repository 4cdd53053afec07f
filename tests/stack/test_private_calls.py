"""A private call through the running line: ceremony, page, signalling, relay, and what the servers are left with: nothing of it.

Two Python ends (`aiortc`, our PLH/1) stand for the browsers; tests/browser does the same with two Chromiums.
"""

import asyncio
import base64
import hashlib
import http.server
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pytest
from aiortc import RTCPeerConnection, RTCSessionDescription
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from callseal.cli.main import make_app
from callseal.connectors.call_page import PageHost
from callseal.errors import Conflict, Unauthenticated
from callseal.flows.monitor import look
from callseal.model.clock import format_time
from callseal.model.message import to_bytes, to_text
from callseal.web.call_page import build_page, page_digest
from callseal.webrtc.handshake import Agent, Credentials, Customer
from callseal.webrtc.link import Link, psk_of, read_fragment, write_fragment
from callseal.webrtc.root_key import read_kid
from tests.attacks.test_malicious_signalling import listen
from tests.authenticator import Authenticator
from tests.conftest import Stack
from tests.files import contents
from tests.memory_search import read_memory
from tests.plaintext_search import search
from tests.private_peer import RATE, AgentEnd, CustomerEnd, Tone, free_port, strength

pytestmark = pytest.mark.real
PASSPHRASE = "a long passphrase of the ceremony\n"
INVITATION_KEY = os.urandom(32)


@dataclass
class Line:
    """The stack, its root key's file, a member of staff who is signed in, and their device."""

    stack: Stack
    key_file: Path
    client: httpx.Client
    device: dict[str, Any]
    device_key: Ed25519PrivateKey

    @property
    def kid(self) -> bytes:
        return read_kid(self.key_file.read_bytes())

    @property
    def portal(self) -> str:
        return f"localhost:{self.stack.address('private').rpartition(':')[2]}"

    def invite(self, hours: float = 1.0) -> Link:
        """A link made as the staff's page makes it: the secret here, the call id at the server."""
        call = os.urandom(16)
        ends = format_time(datetime.now(UTC) + timedelta(hours=hours))
        answer = self.client.post("/api/private/invitations", json={"call": to_text(call), "expires_at": ends})
        assert answer.status_code == 200, answer.text
        return Link("invitation", self.kid, psk_of(INVITATION_KEY, call), call)

    def staff_socket(self) -> Any:
        cookies = "; ".join(f"{name}={value}" for name, value in self.client.cookies.items())
        origin = self.stack.console()
        return connect(origin.replace("http", "ws") + "/private/signal", origin=origin, additional_headers={"Cookie": cookies})

    def customer_socket(self, origin: str | None = None) -> Any:
        return connect(f"ws://{self.portal}/signal", origin=origin or f"http://{self.portal}")


@pytest.fixture(scope="module")
def line() -> Iterator[Line]:
    """Everything set up by the commands of the first run, as a person would."""
    with TemporaryDirectory(prefix="cs-", dir="/tmp") as folder, TemporaryDirectory(prefix="stick-", dir="/tmp") as stick:
        settings = f'[private]\nenabled = true\nport = 0\nturn_port = {free_port()}\nphone = "+44 20 7946 0000"\n'
        stack = Stack(Path(folder), settings)
        stack.start()
        try:
            ready = _set_up(stack, Path(stick) / "root.key")
            yield ready
            ready.client.close()
        finally:
            stack.stop()


def _set_up(stack: Stack, key_file: Path) -> Line:
    client = httpx.Client(base_url=stack.console(), headers={"Origin": stack.console()}, timeout=20)
    passkey = Authenticator(origin=stack.console())
    token = stack.invites()["compliance_officer"]
    begun = client.post("/api/enrol/begin", json={"token": token, "kind": "passkey"}).json()
    done = client.post("/api/enrol/finish", json={"token": token, "nonce": begun["nonce"], "response": passkey.register(begun["options"])})
    assert done.status_code == 200, done.text
    begun = client.post("/api/signin/begin", json={}).json()
    done = client.post("/api/signin/finish", json={"nonce": begun["nonce"], "response": passkey.sign(begun["options"])})
    assert done.status_code == 200, done.text
    page = client.get("/private")
    assert "microphone=(self)" in page.headers["Permissions-Policy"]
    client.headers["X-Callseal-Page"] = page.text.split('name="callseal-page" content="')[1].split('"')[0]
    device_key = Ed25519PrivateKey.generate()
    key = to_text(device_key.public_key().public_bytes_raw())
    assert client.get("/api/private/trust").status_code == 404
    begun = client.post("/api/private/devices/begin", json={"key": key, "role": "Reception"}).json()
    done = client.post("/api/private/devices/finish", json={"request": begun["request"], "response": passkey.sign(begun["options"])})
    assert done.status_code == 200, done.text
    began = time.monotonic()
    ran = stack.cli(["private", "setup", "--key", str(key_file), "--minutes", "1"], input=PASSPHRASE)
    assert ran.returncode == 0, ran.stdout + ran.stderr + stack.logs()
    assert "Ready." in ran.stdout and time.monotonic() - began < 60
    return Line(stack, key_file, client, done.json()["device"], device_key)


class Talk:
    """One call through the real sockets: both ends, what they spoke in the clear, every frame of both sockets."""

    def __init__(self, line: Line, link: Link) -> None:
        self.line, self.link = line, link
        self.frames: list[str] = []
        self.customer: CustomerEnd
        self.agent: AgentEnd
        self.customer_told: list[dict[str, Any]] = []
        self.spoken: list[bytes] = []
        self.sockets: list[Any] = []
        self._readers: list[asyncio.Task[None]] = []
        self.ended = asyncio.Event()

    async def ring(self) -> None:
        staff = await self.line.staff_socket()
        self.sockets.append(staff)
        assert json.loads(await staff.recv())["type"] == "welcome"
        await self._send(staff, {"type": "ready", "device": self.line.device["key"]})
        customer = await self.line.customer_socket()
        self.sockets.append(customer)
        plh = Customer(self.link)
        await self._send(customer, {"type": "join", "call": to_text(plh.call), "link": self.link.kind})
        room = json.loads(await customer.recv())
        self.customer_told.append(room)
        if room["type"] == "end":
            self.ended.set()
            return
        self.customer = CustomerEnd(room["ice"], 512.0, plh, lambda: datetime.now(UTC))
        self.customer.tell = lambda frame: self._post(customer, frame)
        self._readers.append(asyncio.create_task(self._read(customer, self._customer_hears)))
        await self.customer.begin()
        self._readers.append(asyncio.create_task(self._read(staff, self._staff_hears)))

    async def connect(self) -> None:
        """Until both speak."""
        await self.ring()
        deadline = time.monotonic() + 20
        while not hasattr(self, "agent"):
            assert time.monotonic() < deadline and not self.ended.is_set(), self.customer_told
            await asyncio.sleep(0.02)
        await asyncio.wait_for(asyncio.gather(self.customer.talking.wait(), self.agent.talking.wait()), 20)
        for end in (self.customer, self.agent):
            self._overhear(end)
        for socket, end in zip(reversed(self.sockets), (self.customer, self.agent), strict=True):
            extra = {} if end is self.customer else {"call": to_text(self.customer.plh.call)}
            await self._send(socket, {"type": "connected", **extra})

    def _overhear(self, end: Any) -> None:
        """What this end speaks, before it is encrypted: only the test knows it."""
        transport = end.pc.getSenders()[0].transport
        session = transport._tx_srtp
        spoken = self.spoken

        class Overheard:
            def protect(self, packet: bytes) -> bytes:
                spoken.append(bytes(packet[12:]))
                return bytes(session.protect(packet))

            def protect_rtcp(self, packet: bytes) -> bytes:
                return bytes(session.protect_rtcp(packet))

        transport._tx_srtp = Overheard()

    def _customer_hears(self, frame: dict[str, Any]) -> None:
        self.customer_told.append(frame)
        if frame["type"] == "end":
            self.ended.set()
        if frame["type"] in ("m2", "later", "end"):
            self.customer.take(frame)

    def _staff_hears(self, frame: dict[str, Any]) -> None:
        staff = self.sockets[0]
        if frame["type"] == "ring":
            self._post(staff, {"type": "accept", "call": frame["call"]})
        elif frame["type"] == "m1":
            trust = self.line.client.get("/api/private/trust").json()
            mine = Credentials(self.line.kid, self.line.device, self.line.device_key, trust["manifest"], trust["proof"])
            plh = Agent(mine, to_bytes(frame["call"], "call"), self.link.psk)
            self.agent = AgentEnd(frame["ice"], 1024.0, plh, lambda: datetime.now(UTC))
            self.agent.tell = lambda answer: self._post(staff, {**answer, "call": frame["call"]})
            self.agent.take(frame)
        elif frame["type"] in ("m3", "later", "end"):
            self.agent.take(frame)

    def _post(self, socket: Any, frame: dict[str, Any]) -> None:
        self._readers.append(asyncio.create_task(self._send(socket, frame)))

    async def _send(self, socket: Any, frame: dict[str, Any]) -> None:
        self.frames.append(json.dumps(frame))
        await socket.send(self.frames[-1])

    async def _read(self, socket: Any, hear: Any) -> None:
        try:
            async for text in socket:
                self.frames.append(text)
                hear(json.loads(text))
        except ConnectionClosed:
            return

    async def close(self) -> None:
        for end in (getattr(self, "customer", None), getattr(self, "agent", None)):
            if end is not None:
                await end.close()
        for socket in self.sockets:
            await socket.close()
        for task in self._readers:
            task.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)


def test_two_people_speak_and_the_servers_are_left_with_nothing_of_it(line: Line, tmp_path: Path) -> None:
    """Memory of web and coturn, all files, every signalling frame: no speech, no key, no secret of the link.

    The memory of the other processes, and more keys, are searched in tests/browser/test_private_blindness.py.
    """
    link = line.invite()
    talk = Talk(line, link)

    async def call() -> None:
        await talk.connect()
        heard, heard_by_agent = await asyncio.gather(listen(talk.customer, 1.0), listen(talk.agent, 1.0))
        tail = slice(-RATE // 2, None)
        assert strength(heard[tail], 1024.0) > 0.8 and strength(heard_by_agent[tail], 512.0) > 0.8
        _dump(_pids(line.stack), tmp_path / "memory")
        talk.customer.end("bye")
        await asyncio.wait_for(talk.agent.over.wait(), 5)
        await talk.close()

    asyncio.run(call())
    (tmp_path / "frames").write_text("\n".join(talk.frames))
    places = [tmp_path / "memory", tmp_path / "frames", line.stack.data]
    assert len(talk.spoken) > 50
    assert search(places, [talk.spoken[-100:]]) == []
    keys = talk.customer.peer.keys if talk.customer.peer else None
    assert keys is not None
    canaries = {"the link's secret": link.psk, "the transcript's key": keys.key, "the device's key": line.device_key.private_bytes_raw()}
    assert _find(places, canaries) == []
    assert _find([tmp_path / "memory"], {"the call id, which the server does know": write_fragment(link).rpartition(".")[2].encode()})
    _wait_kept(line, "completed")


def test_the_same_search_finds_the_speech_in_a_gateway_that_decrypts(tmp_path: Path) -> None:
    spoken: list[bytes] = []

    async def call() -> int:
        gateway = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.private_gateway", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=dict(os.environ, PYTHONPATH=str(Path(__file__).parents[2])),
        )  # fmt: skip
        assert gateway.stdin is not None and gateway.stdout is not None
        pc = RTCPeerConnection()
        pc.addTrack(Tone(512.0))
        await pc.setLocalDescription(await pc.createOffer())
        gateway.stdin.write(json.dumps({"sdp": pc.localDescription.sdp}).encode() + b"\n")
        answer = json.loads(await asyncio.wait_for(gateway.stdout.readline(), 20))
        await pc.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))
        while pc.connectionState != "connected":
            await asyncio.sleep(0.02)
        transport = pc.getSenders()[0].transport
        protect = transport._tx_srtp.protect

        class Overheard:
            def protect(self, packet: bytes) -> bytes:
                spoken.append(bytes(packet[12:]))
                return bytes(protect(packet))

            protect_rtcp = transport._tx_srtp.protect_rtcp

        transport._tx_srtp = Overheard()
        kept = 0
        while kept < 60:
            gateway.stdin.write(b"\n")
            kept = json.loads(await asyncio.wait_for(gateway.stdout.readline(), 10))["kept"]
            await asyncio.sleep(0.05)
        _dump([gateway.pid], tmp_path / "memory")
        gateway.stdin.close()
        await pc.close()
        return await asyncio.wait_for(gateway.wait(), 10)

    asyncio.run(call())
    assert search([tmp_path / "memory"], [spoken])


def _pids(stack: Stack) -> list[int]:
    """The processes that a private call passes: web, and coturn beneath its daemon."""
    state = json.loads((stack.config.run / "supervisor.json").read_text())
    below = Path(f"/proc/{state['turn']['pid']}/task/{state['turn']['pid']}/children").read_text().split()
    assert below
    return [int(state["web"]["pid"]), *map(int, below)]


def _dump(pids: list[int], folder: Path) -> None:
    folder.mkdir()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
        try:
            (folder / str(pid)).write_bytes(b"".join(region.content for region in read_memory(pid)))
        finally:
            os.kill(pid, signal.SIGCONT)


def _find(places: list[Path], canaries: dict[str, bytes]) -> list[str]:
    """Which canaries lie in these files: raw, hex, base64, base64url."""
    forms = {
        f"{name} as {form}": value
        for name, secret in canaries.items()
        for form, value in {
            "bytes": secret, "hex": secret.hex().encode(), "HEX": secret.hex().upper().encode(),
            "base64": base64.b64encode(secret).rstrip(b"="), "base64url": base64.urlsafe_b64encode(secret).rstrip(b"="),
        }.items()
    }  # fmt: skip
    found = []
    for place in places:
        for path, content in contents(place):
            found += [f"{name} in {path.name}" for name, value in forms.items() if value in content]
    return found


def _wait_kept(line: Line, outcome: str) -> None:
    end = time.monotonic() + 10
    while not (kept := line.client.get("/api/private/calls").json()["calls"]) or kept[0]["outcome"] != outcome:
        assert time.monotonic() < end, kept
        time.sleep(0.1)
    assert set(kept[0]) == {"at", "who", "length_ms", "outcome"}


def test_a_used_or_expired_or_unknown_link_is_refused_with_its_word(line: Line) -> None:
    used = line.invite()

    async def answered() -> None:
        talk = Talk(line, used)
        await talk.connect()
        talk.customer.end("bye")
        await asyncio.wait_for(talk.agent.over.wait(), 5)
        await talk.close()

    async def refused(link: Link) -> str:
        talk = Talk(line, link)
        await talk.ring()
        await talk.close()
        return str(talk.customer_told[-1]["reason"])

    asyncio.run(answered())
    end = time.monotonic() + 10
    while (reason := asyncio.run(refused(used))) != "used":
        assert time.monotonic() < end, reason
    assert asyncio.run(refused(Link("invitation", line.kid, used.psk, os.urandom(16)))) == "unknown-call"
    short = line.invite(hours=0.0014)
    time.sleep(5.2)  # the invitation's own five seconds
    assert asyncio.run(refused(short)) == "expired"


def test_a_wrong_kid_in_the_link_is_refused_by_the_customers_own_check(line: Line) -> None:
    link = line.invite()
    other = Link("invitation", hashlib.sha256(b"another root").digest(), link.psk, link.call)

    async def call() -> str | None:
        talk = Talk(line, other)
        await talk.ring()
        await asyncio.wait_for(talk.customer.over.wait(), 15)
        assert talk.customer.packets_sent == 0
        await talk.close()
        return talk.customer.reason

    assert asyncio.run(call()) == "root-unknown"


def test_sockets_are_for_our_own_pages_and_signed_in_staff(line: Line) -> None:
    async def try_it(opened: Any) -> int:
        try:
            async with opened as socket:
                await socket.recv()
        except InvalidStatus as refusal:
            return refusal.response.status_code
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 0
        return 0

    console = line.stack.console()
    assert asyncio.run(try_it(line.customer_socket("https://elsewhere.example"))) == 403
    stranger = connect(console.replace("http", "ws") + "/private/signal", origin=console)
    assert asyncio.run(try_it(stranger)) == 403
    cookies = "; ".join(f"{name}={value}" for name, value in line.client.cookies.items())
    foreign = connect(console.replace("http", "ws") + "/private/signal", origin="https://elsewhere.example", additional_headers={"Cookie": cookies})
    assert asyncio.run(try_it(foreign)) == 403


@pytest.mark.parametrize("bad", ["no json", "[]", "{}", '{"type": 5}', "x" * 70_000], ids=["text", "list", "no type", "number", "long"])
def test_a_frame_that_is_none_closes_the_socket(line: Line, bad: str) -> None:
    async def call() -> int:
        async with line.customer_socket() as socket:
            await socket.send(bad)
            try:
                await asyncio.wait_for(socket.recv(), 10)
            except ConnectionClosed as closed:
                return closed.rcvd.code if closed.rcvd else 0
        return 0

    assert asyncio.run(call()) in (1008, 1009)


def test_the_page_is_served_as_built_with_its_headers_and_no_cookie(line: Line) -> None:
    shown = httpx.get(f"http://{line.portal}/")
    built = page_digest(build_page())
    assert hashlib.sha256(shown.content).hexdigest() == built
    assert httpx.get(f"http://{line.portal}/manifest").json()["manifest"].count(built) == 1
    policy = shown.headers["content-security-policy"]
    assert "default-src 'none'" in policy and not re.search(r"unsafe|https?:|\*", policy)
    assert shown.headers["integrity-policy"] == "blocked-destinations=(script)"
    assert "set-cookie" not in shown.headers and shown.headers["referrer-policy"] == "no-referrer"
    assert httpx.get(f"http://{line.portal}/", headers={"Host": "evil.example"}).status_code == 400
    assert httpx.get(f"http://{line.portal}/../app.py").status_code == 404


@contextmanager
def altered(line: Line, change: Any) -> Iterator[str]:
    """The page as a dishonest host serves it."""

    class Host(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = httpx.get(f"http://{line.portal}{self.path}")
            content, headers = change(self.path, answer.content, dict(answer.headers))
            self.send_response(answer.status_code)
            for name, value in headers.items():
                if name.lower() not in ("content-length", "date", "transfer-encoding"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: Any) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Host)
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        serving.join()


def _flip(place: str) -> Any:
    def change(path: str, content: bytes, headers: dict[str, str]) -> tuple[bytes, dict[str, str]]:
        return (content[:-2] + bytes([content[-2] ^ 1]) + content[-1:] if path == place else content), headers

    return change


def _no_policy(path: str, content: bytes, headers: dict[str, str]) -> tuple[bytes, dict[str, str]]:
    return content, {name: value for name, value in headers.items() if name.lower() != "content-security-policy"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_flip("/"), "index.html is not the page"), (_flip("/call.js"), "call.js is not the file"),
        (_flip("/call.css"), "call.css is not the file"), (_flip("/manifest"), "manifest"), (_no_policy, "content policy"),
    ],
    ids=["page", "script", "style", "manifest", "policy"],
)  # fmt: skip
def test_one_altered_byte_of_the_page_is_an_alarm(line: Line, change: Any, says: str) -> None:
    with altered(line, change) as url:
        host = PageHost(url)
        found = look(host.fetch, host.fetch, line.kid, 0, datetime.now(UTC))
        assert says in "; ".join(found.findings)


def test_the_monitor_ends_with_its_alarm_when_the_page_is_altered_while_it_watches(line: Line) -> None:
    altered_from = threading.Event()

    def change(path: str, content: bytes, headers: dict[str, str]) -> tuple[bytes, dict[str, str]]:
        return _flip("/call.js")(path, content, headers) if altered_from.is_set() else (content, headers)

    with altered(line, change) as url:
        watching = subprocess.Popen(
            [sys.executable, "-m", "callseal.cli.main", "monitor", url, "--kid", to_text(line.kid), "--every", "1"],
            env=line.stack.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert watching.stdout is not None
        assert "is what manifest" in watching.stdout.readline()
        altered_from.set()
        _, told = watching.communicate(timeout=30)
        assert watching.returncode == 1 and "ALARM" in told and "call.js" in told


def test_the_monitor_is_quiet_while_all_is_as_signed_and_names_another_root(line: Line) -> None:
    host, now = PageHost(f"http://{line.portal}"), datetime.now(UTC)
    assert look(host.fetch, host.fetch, line.kid, 0, now).findings == ()
    assert "root-unknown" in look(host.fetch, host.fetch, bytes(32), 0, now).findings[0]
    assert "manifest-rolled-back" in look(host.fetch, host.fetch, line.kid, 1000, now).findings[0]


def test_the_ceremony_apart_from_the_server_publishes_the_next_manifest(
    line: Line, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALLSEAL_CONFIG", str(line.stack.file))

    def root(*arguments: str, passphrase: str = PASSPHRASE) -> tuple[str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(passphrase))
        capsys.readouterr()
        assert make_app(["root"])(["root", *arguments], standalone_mode=False) in (0, None)
        told = capsys.readouterr()
        return told.out, told.err

    key, draft, note = str(line.key_file), tmp_path / "draft", tmp_path / "note"
    draft.write_text(root("draft", "--key", key)[0])
    with pytest.raises(Unauthenticated):
        root("sign-manifest", "--key", key, "--draft", str(draft), "--yes", passphrase="another passphrase\n")
    signed, shown = root("sign-manifest", "--key", key, "--draft", str(draft), "--yes")
    assert "may answer: Reception" in shown
    note.write_text(signed)
    root("publish", str(note))
    with pytest.raises(Conflict):
        root("publish", str(note))
    with pytest.raises(Conflict):
        root("create", "--to", key)
    link, _ = root("show", "--key", key)
    assert write_fragment(Link("public", line.kid)) in link
    assert read_fragment(link.rpartition("#")[2].strip()).kid == line.kid
    assert PASSPHRASE.strip() not in line.key_file.read_text()
    assert line.key_file.stat().st_mode & 0o077 == 0


def test_doctor_looks_at_relay_page_manifest_and_witness_and_verify_finds_nothing(line: Line) -> None:
    done = line.stack.cli(["doctor", "--json"])
    found = {finding["what"]: finding for finding in json.loads(done.stdout)}
    assert {found[name]["verdict"] for name in ("relay", "call page", "manifest")} == {"good"}
    assert found["witness"]["verdict"] == "take care" and "this machine" in found["witness"]["found"]
    verified = line.stack.cli(["verify"])
    assert verified.returncode == 0, verified.stdout
