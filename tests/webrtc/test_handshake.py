"""PLH/1: both ends agree, and every single change of one thing ends the call with its own reason."""

import copy
import hashlib
import os
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callseal.audit import canonical
from callseal.audit.note import Signer
from callseal.model.clock import format_time
from callseal.model.message import to_bytes, to_text
from callseal.webrtc import xwing
from callseal.webrtc.handshake import Agent, Customer, Step
from callseal.webrtc.link import Link
from callseal.webrtc.manifest import KEY_NAME
from callseal.webrtc.refusal import OUTCOMES, Refused, known_reason, outcome_of
from callseal.webrtc.shape import spell
from tests.private_rig import AGENT_PRINT, CALL, CUSTOMER_PRINT, NOW, Business, Ends, flip_text, private, raw, sdp, seed


def refuses(reason: str, call: Any, *arguments: Any) -> None:
    with pytest.raises(Refused) as caught:
        call(*arguments)
    assert caught.value.reason == reason, str(caught.value)


def change(text: str, *path: str, to: Any) -> str:
    value = canonical.decode(text.encode())
    place = value
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = to(place[path[-1]]) if callable(to) else to
    return spell(value)


@pytest.mark.parametrize("public", [True, False])
def test_both_ends_agree_on_fingerprints_keys_and_short_string(public: bool) -> None:
    ends = Ends(public=public)
    accepted = ends.customer.accept(ends.m2(), ends.answer, NOW)
    peer = ends.agent.finish(accepted.m3)
    assert (accepted.role, accepted.trust.manifest.fields["business"]) == ("Reception", "Example Clinic")
    assert (accepted.peer.fingerprint, peer.fingerprint) == (AGENT_PRINT.hex(), CUSTOMER_PRINT.hex())
    assert accepted.peer.keys.key == peer.keys.key
    assert accepted.peer.keys.short_string == peer.keys.short_string
    assert len(peer.keys.short_string) == 4
    assert repr(peer.keys.key) not in repr(peer)


@pytest.mark.parametrize(
    ("path", "to", "reason"),
    [
        (("sig",), flip_text, "signature"),
        (("mac",), flip_text, "mac"),
        (("body", "na"), flip_text, "signature"),
        (("body", "ct"), flip_text, "signature"),
        (("body", "fp"), hashlib.sha256(b"a third").hexdigest(), "signature"),
        (("body", "policy", "rec"), "on", "signature"),
        (("body", "policy", "parties"), 3, "signature"),
        (("body", "policy", "relay"), False, "signature"),
        (("body", "call"), to_text(bytes(16)), "wrong-call"),
        (("body", "sdp_hash"), flip_text, "sdp-changed"),
        (("body", "v"), 2, "malformed"),
        (("body", "device", "role"), "Doctor", "device-unknown"),
        (("body", "device", "key"), flip_text, "device-unknown"),
        (("body", "manifest"), lambda note: note.replace("Example", "Exemple"), "manifest-signature"),
        (("body", "proof", "index"), 2, "manifest-unlogged"),
        (("body", "proof", "path"), [], "manifest-unlogged"),
        (("body", "proof", "entry"), lambda entry: entry.replace('"sequence":3', '"sequence":4'), "manifest-unlogged"),
        (("body", "proof", "checkpoint"), lambda note: note.replace("\n7\n", "\n8\n"), "log-signature"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else value if isinstance(value, str) and len(value) < 40 else "",
)  # fmt: skip
def test_a_change_of_one_thing_in_m2_is_refused_with_its_reason(path: tuple[str, ...], to: Any, reason: str) -> None:
    ends = Ends()
    changed = change(ends.m2(), *path, to=to)
    refuses(reason, ends.customer.accept, changed, ends.answer, NOW)
    assert ends.customer.step is Step.OVER
    refuses("replayed", ends.customer.accept, changed, ends.answer, NOW)


@pytest.mark.parametrize(("name", "to"), [("nc_hash", flip_text), ("kem", lambda text: flip_text(text, -2)), ("caps", ["x"])])
def test_an_m1_changed_on_its_way_is_refused_by_the_customer(name: str, to: Any) -> None:
    """Of `kem` the X25519 half, where every 32 bytes are a key."""
    ends = Ends()
    m1 = change(ends.m1(), name, to=to)
    refuses("signature", ends.customer.accept, ends.m2(m1), ends.answer, NOW)


def test_an_m1_whose_key_became_none_is_refused_by_the_agent() -> None:
    """Of `kem` the ML-KEM half, with a coefficient that is not below its modulus (FIPS 203 section 7.2)."""
    ends = Ends()
    m1 = change(ends.m1(), "kem", to=lambda text: to_text(b"\xff\xff" + to_bytes(text, "kem")[2:]))
    refuses("malformed", ends.m2, m1)


def test_a_swapped_offer_or_answer_is_refused() -> None:
    other = sdp(hashlib.sha256(b"a third").digest(), "offer")
    ends = Ends()
    refuses("sdp-changed", ends.agent.receive, ends.m1(), other)
    ends = Ends()
    m1 = change(ends.m1(), "sdp_hash", to=to_text(hashlib.sha256(other.encode()).digest()))
    refuses("fingerprint", ends.agent.receive, m1, other)
    ends = Ends()
    refuses("sdp-changed", ends.customer.accept, ends.m2(), sdp(hashlib.sha256(b"a third").digest(), "answer"), NOW)


def test_a_server_in_the_middle_of_a_public_call_cannot_relay_the_agents_word() -> None:
    """It plays customer to the agent with keys of its own; the agent's M2 for it is refused by the customer."""
    ends = Ends(public=True)
    ends.m1()
    server = Customer(Link("public", ends.business.kid))
    server.call = ends.customer.call
    offer = sdp(hashlib.sha256(b"server").digest(), "offer")
    m1 = server.offer(offer, hashlib.sha256(b"server").hexdigest())
    ends.agent.receive(m1, offer)
    m2 = ends.agent.answer(ends.answer, AGENT_PRINT.hex(), NOW)
    refuses("signature", ends.customer.accept, m2, ends.answer, NOW)


def test_a_server_that_has_no_one_time_secret_cannot_play_the_customer_or_the_agent() -> None:
    ends = Ends()
    guess = Customer(Link("invitation", ends.business.kid, bytes(15) + b"\x01", CALL))
    offer = sdp(CUSTOMER_PRINT, "offer")
    ends.agent.receive(guess.offer(offer, CUSTOMER_PRINT.hex()), offer)
    m2 = ends.agent.answer(ends.answer, AGENT_PRINT.hex(), NOW)
    refuses("mac", guess.accept, m2, ends.answer, NOW)
    ends = Ends()
    device_without_secret = Agent(ends.business.credentials(), CALL, os.urandom(16))
    device_without_secret.receive(ends.m1(), ends.offer)
    refuses("mac", ends.customer.accept, device_without_secret.answer(ends.answer, AGENT_PRINT.hex(), NOW), ends.answer, NOW)


def test_m3_is_refused_with_another_nonce_mac_or_call() -> None:
    for path, to, reason in [("nc", flip_text, "commitment"), ("mac", flip_text, "mac"), ("call", to_text(bytes(16)), "wrong-call")]:
        ends = Ends()
        accepted = ends.customer.accept(ends.m2(), ends.answer, NOW)
        refuses(reason, ends.agent.finish, change(accepted.m3, path, to=to))
        refuses("replayed", ends.agent.finish, accepted.m3)


def test_messages_of_an_earlier_call_are_refused() -> None:
    first = Ends()
    old = first.m2()
    ends = Ends()
    ends.m1()
    refuses("signature", ends.customer.accept, old, first.answer, NOW)
    ends = Ends()
    m1 = ends.m1()
    ends.agent.receive(m1, ends.offer)
    refuses("replayed", ends.agent.receive, m1, ends.offer)


def test_a_public_link_is_not_answered_as_an_invitation_nor_the_other_way() -> None:
    ends = Ends()
    public = Customer(Link("public", ends.business.kid))
    public.call = CALL
    refuses("unknown-call", ends.agent.receive, public.offer(ends.offer, CUSTOMER_PRINT.hex()), ends.offer)


def _trust_cases() -> list[tuple[str, Any]]:
    business = Business()
    later = business.now + timedelta(days=1)

    def other_log() -> dict[str, Any]:
        note = business.sign()
        return {"manifest": note, "proof": business.proof(note, log=Signer.from_seed("callseal-example/2026", seed("other log")))}

    def with_note(note: str, **changes: Any) -> dict[str, Any]:
        return {"manifest": note, "proof": business.proof(note, **changes)}

    old = business.now - timedelta(days=8)
    root = Signer.from_seed(KEY_NAME, seed("another root"))
    other_root = Business(root=root)
    unlisted = private("not listed")
    entry = business.entry_of(unlisted)
    expired = business.entry_of(not_after=format_time(business.now))
    gone = hashlib.sha256(business.device.public_key().public_bytes_raw()).hexdigest()
    return [
        ("root-unknown", with_note(other_root.sign())),
        ("manifest-expired", with_note(business.sign(issued_at=format_time(old), not_after=format_time(old + timedelta(days=7)), devices=[]))),
        ("manifest-expired", with_note(business.sign(issued_at=format_time(later), not_after=format_time(later + timedelta(days=1))))),
        ("version", with_note(business.sign(min_version=2))),
        ("log-signature", other_log()),
        ("log-signature", with_note(business.sign(), origin="callseal-other/2026")),
        ("witness-missing", with_note(business.sign(), witnessed=False)),
        ("witness-missing", with_note(business.sign(), witness=private("no witness"))),
        ("log-stale", with_note(business.sign(), witnessed_at=business.now - timedelta(hours=25))),
        ("log-stale", with_note(business.sign(), witnessed_at=business.now + timedelta(minutes=6))),
        ("manifest-rolled-back", with_note(business.sign(), line=f"manifest 4 {'ab' * 32}")),
        ("manifest-unlogged", with_note(business.sign(), line=f"manifest 3 {'ab' * 32}")),
        ("manifest-unlogged", with_note(business.sign(), line="")),
        ("manifest-unlogged", with_note(business.sign(), entry={"manifest": "ab" * 32})),
        ("manifest-unlogged", with_note(business.sign(), entry={"kid": "ab" * 32})),
        ("device-unknown", {"device": entry, "key": unlisted}),
        ("device-expired", with_note(business.sign(devices=[expired])) | {"device": expired}),
        ("device-revoked", with_note(business.sign(devices=[], revoked=[gone]))),
    ]  # fmt: skip


@pytest.mark.parametrize(("reason", "changes"), _trust_cases(), ids=[reason for reason, _ in _trust_cases()])
def test_what_a_server_may_show_instead_of_the_truth_is_refused_by_both_ends(reason: str, changes: dict[str, Any]) -> None:
    """The agent's own page refuses to speak; a device whose page did not would be refused by the customer."""
    ends = Ends()
    m1 = ends.m1()
    careless = Agent(ends.business.credentials(), CALL, ends.agent._psk)
    ends.agent._credentials = ends.business.credentials(**changes)
    ends.agent.receive(m1, ends.offer)
    refuses(reason, ends.agent.answer, ends.answer, AGENT_PRINT.hex(), NOW)
    careless.receive(m1, ends.offer)
    honest = canonical.decode(careless.answer(ends.answer, AGENT_PRINT.hex(), NOW).encode())
    told = ends.business.credentials(**changes)
    body = copy.deepcopy(honest["body"]) | {"manifest": told.manifest, "proof": told.proof, "device": told.device}
    refuses(reason, ends.customer.accept, spell(honest | {"body": body}), ends.answer, NOW)


def test_a_manifest_older_than_one_seen_is_refused() -> None:
    ends = Ends()
    ends.customer._seen = 4
    refuses("manifest-rolled-back", ends.customer.accept, ends.m2(), ends.answer, NOW)


def test_the_policy_that_a_device_signs_must_be_the_one_of_layer_one() -> None:
    for name, value in [("rec", "on"), ("parties", 3), ("sframe", True), ("comp_kid", "x"), ("relay", False), ("parties", True)]:
        ends = Ends()
        from callseal.webrtc import handshake as room

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(room, "POLICY", dict(room.POLICY, **{name: value}))
            if name == "relay":
                ends.agent._relay = False
            m2 = ends.m2()
        refuses("policy", ends.customer.accept, m2, ends.answer, NOW)


@settings(max_examples=25, deadline=None)
@given(st.binary(max_size=300), st.text(max_size=300))
def test_garbage_is_malformed_and_nothing_else(data: bytes, text: str) -> None:
    for message in (data.decode("latin-1"), text):
        ends = Ends()
        ends.m1()
        with pytest.raises(Refused) as caught:
            ends.customer.accept(message, ends.answer, NOW)
        assert caught.value.reason == "malformed"


def test_x_wing_ciphertexts_and_keys_of_another_length_are_malformed() -> None:
    public = xwing.public_key(seed("kem"))
    shared, ciphertext = xwing.encapsulate(public)
    assert xwing.decapsulate(seed("kem"), ciphertext) == shared
    assert xwing.decapsulate(seed("another"), ciphertext) != shared
    for call in (lambda: xwing.encapsulate(public[:-1]), lambda: xwing.decapsulate(seed("kem"), ciphertext + b"\0")):
        refuses("malformed", call)


def test_every_reason_has_one_outcome_and_strangers_words_become_server() -> None:
    reasons = [reason for group in OUTCOMES.values() for reason in group]
    assert len(reasons) == len(set(reasons))
    assert (outcome_of("fingerprint"), outcome_of("bye"), outcome_of("made up"), outcome_of(None)) == ("identity", "completed", "failed", "failed")
    assert (known_reason("busy"), known_reason("<b>"), known_reason(7)) == ("busy", "server", "server")


def test_a_device_key_is_named_once() -> None:
    business = Business()
    with pytest.raises(Refused):
        business.sign(devices=[business.entry_of(), business.entry_of()])
    with pytest.raises(Refused):
        business.sign(devices=[business.entry_of()], revoked=[hashlib.sha256(private("device").public_key().public_bytes_raw()).hexdigest()])
    assert raw(private("device")) in business.sign()
