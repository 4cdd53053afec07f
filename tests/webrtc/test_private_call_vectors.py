"""The published vectors of docs/spec/private-call.md, run by the Python implementation; the page's own modules run the same file in Chromium."""

import json
from pathlib import Path
from typing import Any

import pytest

from callseal.model.clock import parse_time
from callseal.model.message import to_bytes
from callseal.webrtc import xwing
from callseal.webrtc.handshake import Agent, Customer, Peer
from callseal.webrtc.later import Later, Sent
from callseal.webrtc.link import psk_of, read_fragment
from callseal.webrtc.message import POLICY
from callseal.webrtc.refusal import Refused
from callseal.webrtc.schedule import Keys, derive_keys
from tests.private_rig import Business
from tests.webrtc import second_reader

FILE = Path(__file__).parents[2] / "docs" / "spec" / "vectors" / "private-call.json"
VECTORS: dict[str, Any] = json.loads(FILE.read_text())
NOW = parse_time(VECTORS["now"])
GOOD = VECTORS["calls"][0]


def customer_of(call: dict[str, Any], seen: int = 0) -> Customer:
    customer = Customer(read_fragment(call["fragment"]), seen=seen)
    customer.call, customer._seed, customer._nonce = to_bytes(call["call"], "call"), bytes.fromhex(call["kem_seed"]), bytes.fromhex(call["nonce"])
    assert customer.offer(call["offer"], call["customer_fp"]) == call["m1"]
    return customer


@pytest.mark.parametrize("call", VECTORS["calls"], ids=lambda call: call["link"])
def test_a_call_of_the_vectors_is_accepted_with_every_value_it_names(call: dict[str, Any]) -> None:
    accepted = customer_of(call).accept(call["m2"], call["answer"], NOW)
    assert (accepted.m3, accepted.role, accepted.peer.fingerprint) == (call["m3"], call["role"], call["agent_fp"])
    keys, derived = accepted.peer.keys, call["derived"]
    assert (keys.transcript.hex(), keys.key.hex(), keys.customer_mac.hex(), keys.short_string) == (
        derived["th"], derived["k"], derived["mac_c"], derived["sas"],
    )  # fmt: skip
    kid = to_bytes(VECTORS["kid"], "kid")
    assert derive_keys(bytes.fromhex(derived["prk"]), kid, call["m1"], call["m2"], bytes.fromhex(call["nonce"])) == keys


def test_links_one_time_secrets_and_kem_keys_are_those_of_the_vectors() -> None:
    for link in VECTORS["links"]:
        assert read_fragment(link["fragment"]).kind == link["kind"]
    for fragment in VECTORS["damaged_links"]:
        with pytest.raises(Refused, match="link-damaged"):
            read_fragment(fragment)
    assert psk_of(bytes.fromhex(VECTORS["invitation_key"]), to_bytes(GOOD["call"], "call")) == to_bytes(GOOD["psk"], "psk")
    assert xwing.public_key(bytes.fromhex(VECTORS["xwing"]["seed"])).hex() == VECTORS["xwing"]["public"]


@pytest.mark.parametrize("fault", VECTORS["refused_m2"], ids=lambda fault: fault["name"])
def test_a_faulty_m2_is_refused_with_the_reason_of_the_vectors(fault: dict[str, Any]) -> None:
    with pytest.raises(Refused) as caught:
        customer_of(GOOD, fault["seen"]).accept(fault["m2"], fault["answer"], NOW)
    assert caught.value.reason == fault["reason"], str(caught.value)


@pytest.mark.parametrize("fault", VECTORS["refused_m1"], ids=lambda fault: fault["name"])
def test_a_faulty_m1_is_refused_with_the_reason_of_the_vectors(fault: dict[str, Any]) -> None:
    agent = Agent(Business().credentials(), to_bytes(GOOD["call"], "call"), to_bytes(GOOD["psk"], "psk"))
    with pytest.raises(Refused) as caught:
        agent.receive(fault["m1"], fault["offer"])
    assert caught.value.reason == fault["reason"], str(caught.value)


def _sides() -> dict[str, Later]:
    derived, call = GOOD["derived"], to_bytes(GOOD["call"], "call")
    keys = Keys(bytes.fromhex(derived["th"]), bytes.fromhex(derived["k"]))
    customer, agent = Peer(GOOD["agent_fp"], POLICY, keys), Peer(GOOD["customer_fp"], POLICY, keys)
    return {
        "customer": Later("customer", call, customer, GOOD["customer_fp"]), "agent": Later("agent", call, agent, GOOD["agent_fp"]),
    }  # fmt: skip


def test_later_messages_of_the_vectors_are_written_and_accepted() -> None:
    sides = _sides()
    for said in VECTORS["later"]["line"]:
        kind = json.loads(said["message"])["kind"]
        sent = sides[said["from"]].send(kind, said["sdp"])
        assert sent == Sent(said["message"], said["mac"], said["sdp"])
        sides["agent" if said["from"] == "customer" else "customer"].receive(sent)


@pytest.mark.parametrize("fault", VECTORS["later"]["faults"], ids=lambda fault: fault["name"])
def test_a_faulty_later_message_is_refused_with_the_reason_of_the_vectors(fault: dict[str, Any]) -> None:
    with pytest.raises(Refused) as caught:
        _sides()[fault["to"]].receive(Sent(fault["message"], fault["mac"], fault["sdp"]))
    assert caught.value.reason == fault["reason"], str(caught.value)


@pytest.mark.parametrize("call", VECTORS["calls"], ids=lambda call: call["link"])
def test_a_second_reader_written_from_the_page_accepts_the_same_calls(call: dict[str, Any]) -> None:
    m3, short = second_reader.accept(*_given(call), call["m2"], call["answer"], NOW, 0)
    assert (m3, short) == (call["m3"], call["derived"]["sas"])


@pytest.mark.parametrize("fault", VECTORS["refused_m2"], ids=lambda fault: fault["name"])
def test_a_second_reader_refuses_the_same_faults_for_the_same_reasons(fault: dict[str, Any]) -> None:
    with pytest.raises(second_reader.Refused) as caught:
        second_reader.accept(*_given(GOOD), fault["m2"], fault["answer"], NOW, fault["seen"])
    assert str(caught.value) == fault["reason"]


def _given(call: dict[str, Any]) -> tuple[bytes, bytes, bytes, bytes, str]:
    psk = to_bytes(call["psk"], "psk")
    return to_bytes(VECTORS["kid"], "kid"), psk, bytes.fromhex(call["kem_seed"]), bytes.fromhex(call["nonce"]), call["m1"]
