"""Makes docs/spec/vectors/private-call.json anew: `python -m tests.webrtc.make_vectors` from the project's root.

One good call of each kind with every intermediate value, and for each refusal one fault. Ciphertexts are random, so the file differs each
time it is made; keep it.
"""

import copy
import hashlib
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

from callseal.audit import canonical
from callseal.audit.note import Signer
from callseal.model.clock import format_time
from callseal.model.message import to_bytes, to_text
from callseal.webrtc import xwing
from callseal.webrtc.handshake import Agent, Customer, Peer
from callseal.webrtc.later import Later
from callseal.webrtc.link import Link, kid_of, psk_of, write_fragment
from callseal.webrtc.manifest import KEY_NAME
from callseal.webrtc.message import POLICY
from callseal.webrtc.schedule import agent_mac, derive_keys, digest, expand, extract, signature_input
from callseal.webrtc.shape import spell
from tests.private_rig import (
    AGENT_PRINT,
    CALL,
    CUSTOMER_PRINT,
    INVITATION_KEY,
    NOW,
    Business,
    flip_text,
    private,
    sdp,
    seed,
)

FILE = Path(__file__).resolve().parents[2] / "docs" / "spec" / "vectors" / "private-call.json"
Case = dict[str, Any]


def parse(text: str) -> Any:
    return canonical.decode(text.encode())


def make_call(business: Business, kind: str) -> Case:
    """One whole handshake, and what each side derives on its way."""
    psk = psk_of(INVITATION_KEY, CALL) if kind == "invitation" else b""
    link = Link("invitation", business.kid, psk, CALL) if psk else Link("public", business.kid)
    customer = Customer(link)
    customer.call, customer._seed, customer._nonce = CALL, seed("kem"), seed("nonce")
    agent = Agent(business.credentials(), CALL, psk)
    offer, answer = sdp(CUSTOMER_PRINT, "offer"), sdp(AGENT_PRINT, "answer")
    m1 = customer.offer(offer, CUSTOMER_PRINT.hex())
    agent.receive(m1, offer)
    m2 = agent.answer(answer, AGENT_PRINT.hex(), NOW)
    accepted = customer.accept(m2, answer, NOW)
    peer = agent.finish(accepted.m3)
    body = parse(m2)["body"]
    shared = xwing.decapsulate(seed("kem"), to_bytes(body["ct"], "ct"))
    prk, spelled = extract(psk, shared), spell(body)
    keys = derive_keys(prk, business.kid, m1, m2, seed("nonce"))
    assert keys == peer.keys == accepted.peer.keys
    return {
        "link": kind, "fragment": write_fragment(link), "call": to_text(CALL), "psk": to_text(psk), "offer": offer, "answer": answer,
        "kem_seed": seed("kem").hex(), "nonce": seed("nonce").hex(), "m1": m1, "m2": m2, "m3": accepted.m3,
        "customer_fp": CUSTOMER_PRINT.hex(), "agent_fp": AGENT_PRINT.hex(), "role": accepted.role,
        "derived": {
            "ss": shared.hex(), "prk": prk.hex(), "h_m1": digest(m1).hex(), "h_body": digest(spelled).hex(), "h_m2": digest(m2).hex(),
            "sig_input": signature_input(business.kid, m1, spelled).hex(),
            "k_a": expand(prk, b"plh1/agent" + business.kid + digest(m1) + digest(spelled)).hex(),
            "mac_a": agent_mac(prk, business.kid, m1, spelled, to_bytes(parse(m2)["sig"], "sig")).hex(),
            "th": keys.transcript.hex(), "k": keys.key.hex(), "mac_c": keys.customer_mac.hex(),
            "later_c": expand(keys.key, b"plh1/later/c").hex(), "later_a": expand(keys.key, b"plh1/later/a").hex(),
            "sas": keys.short_string,
        },
    }  # fmt: skip


def m2_faults(good: Case, business: Business) -> list[Case]:
    """M2 changed in one thing, for the customer of the good invitation."""

    def changed(name: str, reason: str, sdp_text: str | None = None, seen: int = 0, **members: Any) -> Case:
        m2 = copy.deepcopy(parse(good["m2"]))
        for path, value in members.items():
            place = m2 if path in m2 else m2["body"]
            place[path] = value(place[path]) if callable(value) else value
        return {"name": name, "reason": reason, "m2": spell(m2), "answer": sdp_text or good["answer"], "seen": seen}

    def shown(name: str, reason: str, note: str, device: Any = None, **otherwise: Any) -> Case:
        more = {} if device is None else {"device": device}
        return changed(name, reason, manifest=note, proof=business.proof(note, **otherwise), **more)

    third = hashlib.sha256(b"a third").digest()
    old, gone = NOW - timedelta(days=8), hashlib.sha256(business.device.public_key().public_bytes_raw()).hexdigest()
    unlisted = business.entry_of(private("not listed"))
    expired = business.entry_of(not_after=format_time(NOW))
    sign = business.sign
    other_root = Business(root=Signer.from_seed(KEY_NAME, seed("another root"))).sign()
    forged = sign().replace("Example", "Exemple")
    return [
        changed("signature", "signature", sig=flip_text),
        changed("mac", "mac", mac=flip_text),
        changed("ciphertext", "signature", ct=flip_text),
        changed("agent's nonce", "signature", na=flip_text),
        changed("fingerprint", "signature", fp=third.hex()),
        changed("policy: recorded", "signature", policy=lambda policy: policy | {"rec": "on"}),
        changed("another call", "wrong-call", call=to_text(bytes(16))),
        changed("version", "malformed", v=2),
        changed("a member too many", "malformed", body=lambda body: body | {"x": 1}),
        changed("answer swapped", "sdp-changed", sdp(third, "answer")),
        changed("manifest seen before was newer", "manifest-rolled-back", seen=4),
        shown("manifest of another root", "root-unknown", other_root),
        shown("manifest forged", "manifest-signature", forged),
        shown("manifest expired", "manifest-expired",
              sign(issued_at=format_time(old), not_after=format_time(old + timedelta(days=7)), devices=[])),
        shown("manifest of tomorrow", "manifest-expired", sign(issued_at=format_time(NOW + timedelta(minutes=6)))),
        shown("manifest asks for version 2", "version", sign(min_version=2)),
        shown("a newer manifest is the newest", "manifest-rolled-back", sign(), line=f"manifest 4 {'ab' * 32}"),
        shown("head names another manifest", "manifest-unlogged", sign(), line=f"manifest 3 {'ab' * 32}"),
        shown("head names no manifest", "manifest-unlogged", sign(), line=""),
        shown("entry of another manifest", "manifest-unlogged", sign(), entry={"manifest": "ab" * 32}),
        shown("entry of another root", "manifest-unlogged", sign(), entry={"kid": "ab" * 32}),
        shown("another log's key", "log-signature", sign(), log=Signer.from_seed("callseal-example/2026", seed("other log"))),
        shown("another origin", "log-signature", sign(), origin="callseal-other/2026"),
        shown("no witness", "witness-missing", sign(), witnessed=False),
        shown("another witness", "witness-missing", sign(), witness=private("no witness")),
        shown("witness of yesterday", "log-stale", sign(), witnessed_at=NOW - timedelta(hours=25)),
        shown("witness of tomorrow", "log-stale", sign(), witnessed_at=NOW + timedelta(minutes=6)),
        changed("path cut", "manifest-unlogged", proof=lambda proof: proof | {"path": proof["path"][1:]}),
        changed("index", "manifest-unlogged", proof=lambda proof: proof | {"index": 2}),
        changed("cosignature", "log-signature", proof=lambda proof: proof | {"checkpoint": _flip_last(proof["checkpoint"])}),
        shown("device of no manifest", "device-unknown", sign(), unlisted),
        shown("device with another role", "device-unknown", sign(), business.entry_of(role="Doctor")),
        shown("device expired", "device-expired", sign(devices=[expired]), expired),
        shown("device revoked", "device-revoked", sign(devices=[], revoked=[gone])),
        {"name": "another spelling", "reason": "malformed", "m2": good["m2"].replace('{"body":', '{ "body":', 1),
         "answer": good["answer"], "seen": 0},
    ]  # fmt: skip


def signed_faults(good: Case, business: Business) -> list[Case]:
    """M2 that the device itself signs, and that is refused all the same."""
    found = []
    for name, reason, policy, answer in [
        ("policy signed: recorded", "policy", {"rec": "on"}, None),
        ("policy signed: three people", "policy", {"parties": 3}, None),
        ("policy signed: no relay", "policy", {"relay": False}, None),
        ("policy signed: one is not true", "policy", {"cbr": 1}, None),
        ("answer signed: two fingerprints", "sdp", {}, good["answer"].replace("a=mid:0\r\n", "a=fingerprint:sha-1 AB\r\na=mid:0\r\n")),
        ("answer signed: speech levels", "sdp", {}, good["answer"].replace("sdes:mid", "ssrc-audio-level")),
        ("answer signed: another fingerprint", "fingerprint", {}, sdp(hashlib.sha256(b"a third").digest(), "answer")),
    ]:  # fmt: skip
        body = copy.deepcopy(parse(good["m2"])["body"])
        body["policy"] |= policy
        body["sdp_hash"] = to_text(digest(answer or good["answer"]))
        prk = bytes.fromhex(good["derived"]["prk"])
        signature = business.device.sign(signature_input(business.kid, good["m1"], spell(body)))
        mac = agent_mac(prk, business.kid, good["m1"], spell(body), signature)
        m2 = spell({"body": body, "sig": to_text(signature), "mac": to_text(mac)})
        found.append({"name": name, "reason": reason, "m2": m2, "answer": answer or good["answer"], "seen": 0})
    return found


def make_later(good: Case) -> Case:
    """Messages after the handshake, in their order, and one fault each, received after none."""
    keys = derive_keys(bytes.fromhex(good["derived"]["prk"]), kid_of(Business().root.verifier.public_key), good["m1"], good["m2"], seed("nonce"))
    customer = Later("customer", CALL, Peer(AGENT_PRINT.hex(), POLICY, keys), CUSTOMER_PRINT.hex())
    agent = Later("agent", CALL, Peer(CUSTOMER_PRINT.hex(), POLICY, keys), AGENT_PRINT.hex())
    line: list[Case] = []

    def say(sender: Later, receiver: Later, kind: str, text: str | None = None) -> None:
        sent = sender.send(kind, text)
        receiver.receive(sent)
        line.append({"from": sender._side, "message": sent.message, "mac": sent.mac, "sdp": sent.sdp})

    say(agent, customer, "hold")
    say(agent, customer, "resume")
    say(agent, customer, "please")
    say(customer, agent, "offer", good["offer"])
    say(agent, customer, "answer", good["answer"])
    say(customer, agent, "bye")

    def fault(name: str, reason: str, **change: Any) -> Case:
        message = {"v": 1, "call": to_text(CALL), "n": 1, "re": None, "kind": "offer", "fp": CUSTOMER_PRINT.hex(),
                   "sdp_hash": to_text(digest(good["offer"])), "policy": dict(POLICY)}  # fmt: skip
        text = spell(message | change.get("members", {}))
        mac = to_text(keys.later_mac(change.get("side", "customer"), text))
        return {"name": name, "reason": reason, "to": "agent", "message": text, "mac": change.get("mac", mac), "sdp": change.get("sdp", good["offer"])}

    third = hashlib.sha256(b"a third").digest()
    swapped, own = sdp(third, "offer"), sdp(CUSTOMER_PRINT, "answer")
    return {"line": line, "faults": [
        fault("mac", "mac", mac=to_text(bytes(32))),
        fault("reflected", "mac", side="agent"),
        fault("a number skipped", "replayed", members={"n": 2}),
        fault("another call", "wrong-call", members={"call": to_text(bytes(16))}),
        fault("another fingerprint", "fingerprint", members={"fp": third.hex()}),
        fault("another fingerprint in the SDP", "fingerprint", members={"sdp_hash": to_text(digest(swapped))}, sdp=swapped),
        fault("SDP swapped", "sdp-changed", sdp=swapped),
        fault("weaker policy", "policy", members={"policy": dict(POLICY, relay=False)}),
        fault("recorded from now", "policy", members={"policy": dict(POLICY, rec="on")}),
        fault("an answer to nothing", "replayed", members={"kind": "answer", "re": 1, "sdp_hash": to_text(digest(own))}, sdp=own),
        fault("an SDP with a hold", "malformed", members={"kind": "hold"}),
        fault("a kind that is none", "malformed", members={"kind": "record"}),
    ]}  # fmt: skip


def m1_faults(good: Case) -> list[Case]:
    """M1 and M3 changed in one thing, for the agent."""

    def changed(name: str, reason: str, offer: str | None = None, **members: Any) -> Case:
        m1 = parse(good["m1"])
        for member, value in members.items():
            m1[member] = value(m1[member]) if callable(value) else value
        return {"name": name, "reason": reason, "m1": spell(m1), "offer": offer or good["offer"]}

    other = sdp(hashlib.sha256(b"a third").digest(), "offer")
    return [
        changed("offer swapped", "sdp-changed", other),
        changed("offer swapped with its hash", "fingerprint", other, sdp_hash=to_text(digest(other))),
        changed("another call", "wrong-call", call=to_text(bytes(16))),
        changed("another kind of link", "unknown-call", link="public"),
        changed("short KEM key", "malformed", kem=lambda kem: kem[:-4]),
        changed("version", "malformed", v=2),
        changed("a member too many", "malformed", x=1),
    ]


def _flip_last(note: str) -> str:
    head, _, signature = note.rstrip("\n").rpartition(" ")
    return f"{head} {signature[:40]}{'A' if signature[40] != 'A' else 'B'}{signature[41:]}\n"


def make() -> Case:
    business = Business()
    invitation, public = make_call(business, "invitation"), make_call(business, "public")
    links = [
        {"fragment": write_fragment(Link("public", business.kid)), "kind": "public"},
        {"fragment": invitation["fragment"], "kind": "invitation"},
    ]
    damaged = [invitation["fragment"][:-1], invitation["fragment"] + "A", "#p." + "A" * 42, "#x." + "A" * 43, "#", "",
               write_fragment(Link("invitation", business.kid, bytes(16), CALL)), invitation["fragment"].replace(".", "/", 1)]  # fmt: skip
    return {
        "now": format_time(NOW), "kid": to_text(business.kid), "root_seed": seed("root").hex(), "device_seed": seed("device").hex(),
        "invitation_key": INVITATION_KEY.hex(), "links": links, "damaged_links": damaged, "calls": [invitation, public],
        "xwing": {"seed": seed("kem").hex(), "public": xwing.public_key(seed("kem")).hex()},
        "refused_m1": m1_faults(invitation), "refused_m2": m2_faults(invitation, business) + signed_faults(invitation, business),
        "later": make_later(invitation),
    }  # fmt: skip


if __name__ == "__main__":
    FILE.write_text(json.dumps(make(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
