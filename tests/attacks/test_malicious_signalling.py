"""An active server between two real WebRTC ends, through a real coturn: every lie ends the call with its reason, and no microphone is heard.

The ends are `aiortc` with our Python PLH/1; the page's own JavaScript is attacked in tests/browser. The positive control is the honest
server, through which each end hears the other's tone.
"""

import asyncio
import hashlib
import re
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from callseal.audit import canonical
from callseal.audit.note import Signer
from callseal.model.clock import format_time
from callseal.model.message import to_bytes, to_text
from callseal.webrtc.handshake import Agent, Customer
from callseal.webrtc.link import Link, psk_of
from callseal.webrtc.manifest import KEY_NAME
from callseal.webrtc.refusal import outcome_of
from callseal.webrtc.schedule import digest
from callseal.webrtc.shape import spell
from tests.private_peer import RATE, AgentEnd, CustomerEnd, Hook, Wire, coturn, strength
from tests.private_rig import CALL, INVITATION_KEY, NOW, Business, private, seed

pytestmark = pytest.mark.real

CUSTOMER_HERTZ, AGENT_HERTZ = 512.0, 1024.0
ENDS_WITHIN_SECONDS = 2.0
Ice = Callable[[], dict[str, Any]]


@pytest.fixture(scope="module")
def ice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ice]:
    with coturn(tmp_path_factory.mktemp("relay")) as credentials:
        yield credentials


def make_wire(ice: Ice, hook: Hook = lambda frame: frame, business: Business | None = None, *, public: bool = False) -> Wire:
    business = business or Business()
    psk = b"" if public else psk_of(INVITATION_KEY, CALL)
    link = Link("public", business.kid) if public else Link("invitation", business.kid, psk, CALL)
    plh = Customer(link)
    customer = CustomerEnd(ice(), CUSTOMER_HERTZ, plh, lambda: NOW)
    agent = AgentEnd(ice(), AGENT_HERTZ, Agent(business.credentials(), plh.call, psk), lambda: NOW)
    return Wire(customer, agent, hook)


async def listen(end: Any, seconds: float) -> np.ndarray:
    """What an end hears, as samples."""
    track = end.pc.getReceivers()[0].track
    heard: list[np.ndarray] = []
    while sum(map(len, heard)) < seconds * RATE:
        frame = await asyncio.wait_for(track.recv(), 5)
        heard.append(frame.to_ndarray().reshape(-1)[:: len(frame.layout.channels)])
    return np.concatenate(heard)


@pytest.mark.parametrize("public", [False, True], ids=["invitation", "public link"])
def test_through_an_honest_server_each_hears_the_other_and_reads_the_same_string(ice: Ice, public: bool) -> None:
    async def call() -> None:
        wire = make_wire(ice, public=public)
        await wire.customer.begin()
        await asyncio.wait_for(asyncio.gather(wire.customer.talking.wait(), wire.agent.talking.wait()), 20)
        assert wire.customer.peer is not None and wire.agent.peer is not None
        assert wire.customer.peer.keys.short_string == wire.agent.peer.keys.short_string
        heard, heard_by_agent = await asyncio.gather(listen(wire.customer, 1.2), listen(wire.agent, 1.2))
        tail = slice(-RATE // 2, None)
        assert strength(heard[tail], AGENT_HERTZ) > 0.8 and strength(heard[tail], CUSTOMER_HERTZ) < 0.05
        assert strength(heard_by_agent[tail], CUSTOMER_HERTZ) > 0.8
        assert wire.customer.packets_sent > 0, "the counter that the attacks are judged by counts"
        assert wire.agent.later is not None
        sent = wire.agent.later.send("bye")
        wire.agent.tell({"type": "later", "message": sent.message, "mac": sent.mac, "sdp": None})
        await asyncio.wait_for(wire.customer.over.wait(), 2)
        assert wire.customer.reason == "bye"
        await asyncio.gather(wire.customer.close(), wire.agent.close())

    asyncio.run(call())


def swap_fingerprint(sdp: str) -> str:
    other = hashlib.sha256(b"the server's own certificate").hexdigest().upper()
    spelled = ":".join(other[at : at + 2] for at in range(0, 64, 2))
    return re.sub(r"a=fingerprint:sha-256 \S+", f"a=fingerprint:sha-256 {spelled}", sdp)


def on(kind: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Hook:
    return lambda frame: change(frame) if frame["type"] == kind else frame


def with_members(frame: dict[str, Any], **members: Any) -> dict[str, Any]:
    """The message with members changed, spelled canonically again: what a server can do, without any key."""
    message = canonical.decode(frame["message"].encode())
    place = message.get("body", message)
    for name, value in members.items():
        target = message if name in message else place
        target[name] = value(target[name]) if callable(value) else value
    return frame | {"message": spell(message)}


def told(business: Business, note: str, **otherwise: Any) -> dict[str, Any]:
    return {"manifest": note, "proof": business.proof(note, **otherwise)}


def attacks() -> list[tuple[str, str, Hook]]:
    business = Business()
    gone = hashlib.sha256(business.device.public_key().public_bytes_raw()).hexdigest()
    old = NOW - timedelta(days=8)
    expired = business.sign(issued_at=format_time(old), not_after=format_time(old + timedelta(days=7)), devices=[])
    fake = business.entry_of(private("the server's own device"))
    other_root = Business(root=Signer.from_seed(KEY_NAME, seed("the server's own root")))

    def m2(**members: Any) -> Hook:
        return on("m2", lambda frame: with_members(frame, **members))

    def rehash(frame: dict[str, Any]) -> dict[str, Any]:
        sdp = swap_fingerprint(frame["sdp"])
        third = hashlib.sha256(b"the server's own certificate").hexdigest()
        return with_members(frame | {"sdp": sdp}, fp=third, sdp_hash=to_text(digest(sdp)))

    return [
        ("fingerprint swapped in the offer", "sdp-changed", on("m1", lambda f: f | {"sdp": swap_fingerprint(f["sdp"])})),
        ("fingerprint swapped in the answer", "sdp-changed", on("m2", lambda f: f | {"sdp": swap_fingerprint(f["sdp"])})),
        ("fingerprint swapped in offer and M1", "signature", on("m1", rehash)),
        ("fingerprint swapped in answer and M2", "signature", on("m2", rehash)),
        ("commitment changed", "signature", on("m1", lambda f: with_members(f, nc_hash=to_text(bytes(32))))),
        ("key of the server's own in M1", "signature", on("m1", lambda f: with_members(f, kem=lambda kem: kem))),
        ("policy: recorded", "signature", m2(policy=lambda policy: policy | {"rec": "on"})),
        ("policy: a third person", "signature", m2(policy=lambda policy: policy | {"parties": 3})),
        ("a device of the server's own", "device-unknown", m2(device=fake)),
        ("a manifest of the server's own root", "root-unknown", m2(**told(business, other_root.sign()))),
        ("a manifest expired", "manifest-expired", m2(**told(business, expired))),
        ("a manifest rolled back", "manifest-rolled-back", m2(**told(business, business.sign(), line=f"manifest 4 {'ab' * 32}"))),
        ("a manifest that is not in the log", "manifest-unlogged", m2(**told(business, business.sign(), line=""))),
        ("a log without its witness", "witness-missing", m2(**told(business, business.sign(), witnessed=False))),
        ("a witness of yesterday", "log-stale", m2(**told(business, business.sign(), witnessed_at=NOW - timedelta(hours=25)))),
        ("a log of the server's own", "log-signature", m2(**told(business, business.sign(), log=Signer.from_seed("callseal-example/2026", seed("x"))))),
        ("the device revoked", "device-revoked", m2(**told(business, business.sign(devices=[], revoked=[gone])))),
        ("M3's nonce", "commitment", on("m3", lambda f: with_members(f, nc=to_text(bytes(32))))),
        ("M3's MAC", "mac", on("m3", lambda f: with_members(f, mac=to_text(bytes(32))))),
        ("speech levels asked for", "sdp-changed", on("m1", lambda f: f | {"sdp": f["sdp"] + "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n"})),
    ]  # fmt: skip


@pytest.mark.parametrize(("name", "reason", "hook"), attacks(), ids=[name for name, _, _ in attacks()])
def test_a_lie_of_the_server_ends_the_call_with_its_reason_and_no_microphone_packet(
    ice: Ice, name: str, reason: str, hook: Hook
) -> None:
    if "key of the server's own" in name:
        from callseal.webrtc import xwing

        own = to_text(xwing.public_key(bytes(32)))
        hook = on("m1", lambda frame: with_members(frame, kem=own))

    async def call() -> None:
        wire = make_wire(ice, hook)
        await wire.customer.begin()
        began = time.monotonic()
        await asyncio.wait_for(asyncio.gather(wire.customer.over.wait(), wire.agent.over.wait()), 10)
        assert (wire.customer.reason, wire.agent.reason) == (reason, reason)
        assert outcome_of(reason) == "identity"
        lied = max(began, *(end.ended_at for end in (wire.customer, wire.agent))) - began
        assert lied < ENDS_WITHIN_SECONDS, f"{lied:.1f} s"
        for end in (wire.customer, wire.agent):
            assert (end.packets_sent, end.microphone.taken) == (0, 0)
        await asyncio.gather(wire.customer.close(), wire.agent.close())

    asyncio.run(call())


def test_messages_of_an_earlier_call_replayed_end_the_call(ice: Ice) -> None:
    async def call() -> None:
        first = make_wire(ice)
        await first.customer.begin()
        await asyncio.wait_for(asyncio.gather(first.customer.talking.wait(), first.agent.talking.wait()), 20)
        old = {frame["type"]: frame for frame in first.seen}
        await asyncio.gather(first.customer.close(), first.agent.close())
        for kind, reason in (("m1", "signature"), ("m2", "signature"), ("m3", "commitment")):
            wire = make_wire(ice, on(kind, lambda frame, kind=kind: old[kind]))
            await wire.customer.begin()
            await asyncio.wait_for(asyncio.gather(wire.customer.over.wait(), wire.agent.over.wait()), 10)
            assert wire.customer.reason == reason, kind
            assert wire.customer.packets_sent == wire.agent.packets_sent == 0
            await asyncio.gather(wire.customer.close(), wire.agent.close())

    asyncio.run(call())


def test_a_server_in_the_middle_with_two_calls_of_its_own_hears_nothing(ice: Ice) -> None:
    """It terminates DTLS with both sides: customer ↔ server ↔ agent, on a public link, where no secret stands in its way."""

    async def call() -> None:
        business = Business()
        left = make_wire(ice, public=True)
        server = CustomerEnd(ice(), 300.0, Customer(Link("public", business.kid)), lambda: NOW)
        server.plh.call = left.customer.plh.call
        right = Wire(server, left.agent)
        forwarded: list[dict[str, Any]] = []

        def from_agent(frame: dict[str, Any]) -> None:
            forwarded.append(frame)
            if frame["type"] == "m2":
                left.customer.take(frame)

        left.agent.tell = from_agent
        left.customer.tell = lambda frame: left.seen.append(frame)
        await left.customer.begin()
        await server.begin()
        await asyncio.wait_for(left.customer.over.wait(), 10)
        assert left.customer.reason in ("signature", "sdp-changed")
        assert left.customer.packets_sent == left.agent.packets_sent == 0
        assert right.seen and forwarded
        await asyncio.gather(left.customer.close(), left.agent.close(), server.close())

    asyncio.run(call())


def test_after_the_handshake_a_later_message_that_weakens_ends_the_call(ice: Ice) -> None:
    async def call() -> None:
        wire = make_wire(ice)
        await wire.customer.begin()
        await asyncio.wait_for(asyncio.gather(wire.customer.talking.wait(), wire.agent.talking.wait()), 20)
        assert wire.customer.later is not None
        sdp = next(frame["sdp"] for frame in wire.seen if frame["type"] == "m1")
        sent = wire.customer.later.send("offer", sdp)
        weaker = with_members({"message": sent.message}, policy=lambda policy: policy | {"rec": "on"})
        began = time.monotonic()
        wire.agent.take({"type": "later", "message": weaker["message"], "mac": sent.mac, "sdp": sent.sdp})
        await asyncio.wait_for(asyncio.gather(wire.agent.over.wait(), wire.customer.over.wait()), 5)
        assert (wire.agent.reason, wire.customer.reason) == ("mac", "mac")
        assert time.monotonic() - began < ENDS_WITHIN_SECONDS
        before = (wire.customer.packets_sent, wire.agent.packets_sent)
        await asyncio.sleep(0.3)
        after = (wire.customer.packets_sent, wire.agent.packets_sent)
        assert after[0] - before[0] <= 1 and after[1] - before[1] <= 1, "no packet is sent after the end"
        assert to_bytes(sent.mac, "mac")
        await asyncio.gather(wire.customer.close(), wire.agent.close())

    asyncio.run(call())
