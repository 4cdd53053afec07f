"""An exception through the whole line: asked and approved at the real custodian, believed by signalling, its voice sealed and marked."""

import asyncio
import os
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from callseal.keyring.client import BlockingKeyring
from callseal.store.calls import get_call
from callseal.store.database import Database
from tests import sip_rig as rig
from tests.authenticator import Authenticator
from tests.conftest import Stack
from tests.media_rig import HEADER

pytestmark = pytest.mark.real
PLAIN = rig.multipart(rig.sdp("", "", protocol="RTP/AVP"))


class Person:
    """Somebody with a passkey at the real custodian."""

    def __init__(self, stack: Stack, keyring: BlockingKeyring, role: str) -> None:
        self.keyring, self.key = keyring, Authenticator(origin=stack.config.web.origin or stack.console())
        token = stack.invites()[role]
        begun = keyring.ask("enrol.begin", token=token, kind="passkey")
        done = keyring.ask("enrol.finish", token=token, nonce=begun["nonce"], response=self.key.register(begun["options"]))
        self.person = done["person"]

    def act(self, kind: str, action: str, **fields: Any) -> dict[str, Any]:
        begun = self.keyring.ask("open.begin", person=self.person, action=action, **fields)
        return dict(self.keyring.ask(kind, request=begun["request"], response=self.key.sign(begun["options"])))


@pytest.fixture
def line() -> Iterator[tuple[Stack, Person, Person]]:
    with TemporaryDirectory(prefix="cs-", dir="/tmp") as folder:
        stack = Stack(Path(folder))
        stack.start()
        try:
            with BlockingKeyring(stack.config.custodian_socket) as keyring:
                yield stack, Person(stack, keyring, "administrator"), Person(stack, keyring, "compliance_officer")
        finally:
            stack.stop()


async def dial(stack: Stack) -> rig.PeerConnection:
    tls, (host, _, port) = stack.data / "tls", stack.address("sip").rpartition(":")
    context = ssl.create_default_context(cafile=str(tls / "ca.pem"))
    context.load_cert_chain(tls / "phone.pem", tls / "phone.key")
    return rig.PeerConnection(*await asyncio.open_connection(host, int(port), ssl=context, server_hostname="localhost"))


async def call_in_the_clear(stack: Stack, spoken: list[bytes], call_id: str) -> int:
    """The status of an INVITE without SRTP; where it is 200, the call with this voice on its first line."""
    peer = await dial(stack)
    answered = await peer.ask(rig.request("INVITE", call_id, body=PLAIN))
    await peer.send(rig.request("ACK", call_id, to_tag=answered.to_tag))
    if answered.status == 200:
        port = int(answered.body.partition("m=audio ")[2].partition(" ")[0])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as voice:
            for number, payload in enumerate(spoken):
                voice.sendto(HEADER.pack(0x80, 8, number, number * 160, 7) + payload, ("127.0.0.1", port))
                await asyncio.sleep(0.02)
        assert (await peer.ask(rig.request("BYE", call_id, 2, to_tag=answered.to_tag))).status == 200
    await peer.close()
    return answered.status


@pytest.mark.timeout(240)
def test_two_persons_make_it_the_voice_is_sealed_and_marked_and_ended_it_is_488_again(line: tuple[Stack, Person, Person]) -> None:
    stack, administrator, officer = line
    spoken = [os.urandom(160) for _ in range(100)]
    assert asyncio.run(call_in_the_clear(stack, spoken, "before")) == 488
    place = {"peer": "phone", "network": "127.0.0.0/8", "interface": "lo", "days": 3}
    name = administrator.act("exception.ask", "except", **place, reason="The test exchange has no SRTP.")["exception"]
    assert asyncio.run(call_in_the_clear(stack, spoken, "asked")) == 488, "asked is not approved"
    officer.act("exception.approve", "approve", exception=name)
    label = stack.wait_event("ExceptionBegan")["data"]["why"]
    assert asyncio.run(call_in_the_clear(stack, spoken, "clear")) == 200
    started = stack.wait_event("CallStarted")
    stack.wait_call("sealed", started["recording"])
    ended = stack.wait_event("PartEnded", started["recording"])["data"]
    assert (ended["packets"], ended["lost"], ended["failed"]) == (100, 0, 0)
    database = Database(stack.config.database_url)
    with database.read() as connection:
        call = get_call(connection, started["recording"]).call
    database.close()
    assert {leg.protection for leg in call.legs} == {label} and label.startswith("clear, by exception until ")
    everything = b"".join(path.read_bytes() for path in stack.data.rglob("*") if path.is_file())
    assert not [payload for payload in spoken if payload in everything], "received in the clear, never kept in the clear"
    officer.act("exception.end", "withdraw", exception=name)
    stack.wait_event("ExceptionEnded")
    assert asyncio.run(call_in_the_clear(stack, spoken, "after")) == 488
    logged = (stack.data / "log").rglob("*")
    entries = b"".join(path.read_bytes() for path in logged if path.is_file())
    for word in (b"ExceptionAsked", b"ExceptionMade", b"ExceptionEnded", b"clear-by-exception"):
        assert word in entries, word
    verified = stack.cli(["verify"])
    assert verified.returncode == 0, verified.stdout
