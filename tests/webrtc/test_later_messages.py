"""After the handshake nothing gets weaker: restart, hold and hang up are MACed, counted and bound to the first fingerprint and policy."""

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from callseal.webrtc.later import Later, Sent
from callseal.webrtc.refusal import Refused
from tests.private_rig import AGENT_PRINT, CUSTOMER_PRINT, NOW, Ends, flip_text, sdp
from tests.webrtc.test_handshake import change, refuses


def both() -> tuple[Later, Later]:
    ends = Ends()
    accepted = ends.customer.accept(ends.m2(), ends.answer, NOW)
    peer = ends.agent.finish(accepted.m3)
    call = ends.customer.call
    return Later("customer", call, accepted.peer, CUSTOMER_PRINT.hex()), Later("agent", call, peer, AGENT_PRINT.hex())


OFFER, ANSWER = sdp(CUSTOMER_PRINT, "offer"), sdp(AGENT_PRINT, "answer")


def test_a_restart_hold_resume_and_hang_up_pass() -> None:
    customer, agent = both()
    for kind in ("please", "hold", "resume"):
        assert customer.receive(agent.send(kind))["kind"] == kind
    assert agent.receive(customer.send("offer", OFFER))["n"] == 1
    assert customer.receive(agent.send("answer", ANSWER))["re"] == 1
    agent.receive(customer.send("bye"))
    refuses("replayed", agent.receive, customer.send("hold"))


def test_an_answer_that_a_newer_offer_overtook_is_passed_over_and_a_second_one_refused() -> None:
    customer, agent = both()
    agent.receive(customer.send("offer", OFFER))
    slow = agent.send("answer", ANSWER)
    again = customer.send("offer", OFFER)
    assert customer.receive(slow) is None
    agent.receive(again)
    assert customer.receive(agent.send("answer", ANSWER))["re"] == 2
    refuses("replayed", customer.receive, agent.send("answer", ANSWER))


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (lambda s: replace(s, mac=flip_text(s.mac)), "mac"),
        (lambda s: replace(s, mac="!"), "malformed"),
        (lambda s: replace(s, message=change(s.message, "fp", to=hashlib.sha256(b"x").hexdigest())), "mac"),
        (lambda s: replace(s, message=change(s.message, "policy", "rec", to="on")), "mac"),
        (lambda s: replace(s, message=change(s.message, "n", to=2)), "mac"),
        (lambda s: replace(s, message=s.message.replace('"kind":"offer"', '"kind":"answer"')), "malformed"),
        (lambda s: replace(s, sdp=sdp(hashlib.sha256(b"x").digest(), "offer")), "sdp-changed"),
        (lambda s: replace(s, sdp=None), "sdp-changed"),
    ],
)  # fmt: skip
def test_a_server_cannot_change_a_later_message(made: Any, reason: str) -> None:
    customer, agent = both()
    refuses(reason, agent.receive, made(customer.send("offer", OFFER)))
    refuses("replayed", agent.receive, customer.send("hold"))


def test_a_replayed_reordered_or_reflected_message_ends_the_call() -> None:
    customer, agent = both()
    first = customer.send("hold")
    agent.receive(first)
    refuses("replayed", agent.receive, first)
    customer, agent = both()
    customer.send("hold")
    refuses("replayed", agent.receive, customer.send("resume"))
    customer, agent = both()
    refuses("mac", customer.receive, customer.send("hold"))
    customer, agent = both()
    agent._heard_offer = 5
    refuses("replayed", customer.receive, agent.send("answer", ANSWER))


def test_a_peer_that_itself_turns_weaker_is_refused() -> None:
    """Not the server but the other end's own page, altered: MACed well, and refused all the same."""
    third = hashlib.sha256(b"a third").digest()
    customer, agent = both()
    customer._fingerprint = third.hex()
    refuses("fingerprint", agent.receive, customer.send("offer", sdp(third, "offer")))
    customer, agent = both()
    customer._peer = replace(customer._peer, policy=dict(customer._peer.policy, relay=False))
    refuses("policy", agent.receive, customer.send("hold"))
    customer, agent = both()
    sent = customer.send("offer", OFFER)
    other = Later("customer", customer._call, customer._peer, CUSTOMER_PRINT.hex())
    assert isinstance(sent, Sent)
    refuses("replayed", customer.receive, Later("agent", agent._call, agent._peer, AGENT_PRINT.hex()).send("offer", sdp(AGENT_PRINT, "offer")))
    with pytest.raises(Refused, match="fingerprint"):
        other.send("offer", sdp(third, "offer"))
