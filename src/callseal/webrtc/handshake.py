"""PLH/1 as two state machines, customer and agent: texts in, texts out, and a peer that is verified or a call that is over.

docs/spec/private-call.md section 5. Invariants: a state changes only after the text that caused it is verified; the first
refusal ends the handshake for good, and what comes after it is refused as `replayed`; nonces and KEM keys are drawn here,
once, and are never an argument.
"""

import hashlib
import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from callseal.audit.note import verify_ed25519
from callseal.model.message import to_bytes, to_text
from callseal.webrtc import xwing
from callseal.webrtc.link import Link
from callseal.webrtc.message import POLICY, check_policy, read_m1, read_m2, read_m3
from callseal.webrtc.refusal import Refused
from callseal.webrtc.schedule import Keys, agent_mac, derive_keys, digest, extract, signature_input
from callseal.webrtc.sdp import check_sdp
from callseal.webrtc.shape import spell
from callseal.webrtc.trust import Trust, check_device, check_trust


class Step(StrEnum):
    """Where a handshake stands."""

    BEGUN = "begun"
    OFFERED = "offered"
    ANSWERED = "answered"
    PROVED = "proved"
    OVER = "over"


NEXT: Final[dict[tuple[str, Step, str], Step]] = {
    ("customer", Step.BEGUN, "m1"): Step.OFFERED,
    ("customer", Step.OFFERED, "m2"): Step.PROVED,
    ("agent", Step.BEGUN, "m1"): Step.OFFERED,
    ("agent", Step.OFFERED, "m2"): Step.ANSWERED,
    ("agent", Step.ANSWERED, "m3"): Step.PROVED,
}
"""Who, where they stand, what comes or goes: where they stand then. Anything else is `replayed`."""


@dataclass(frozen=True)
class Peer:
    """The other end, verified: its certificate's fingerprint, the policy that was signed, the keys of the call."""

    fingerprint: str
    policy: Mapping[str, Any]
    keys: Keys = field(repr=False)


class _Machine:
    side: str

    def __init__(self) -> None:
        self.step = Step.BEGUN

    def _advance(self, what: str) -> None:
        following = NEXT.get((self.side, self.step, what))
        self.step = following or Step.OVER
        if following is None:
            raise Refused("replayed", f"{what}: expected each message once, in its order")


@dataclass(frozen=True)
class Accepted:
    """What a customer may believe after M2: business, role, and the peer."""

    trust: Trust
    role: str
    peer: Peer
    m3: str


class Customer(_Machine):
    """The customer's half, for one call. `seen` is the highest manifest sequence this page has met."""

    side = "customer"

    def __init__(self, link: Link, *, seen: int = 0, relay: bool = True) -> None:
        super().__init__()
        self.call = link.call or os.urandom(16)
        self._link, self._seen, self._relay = link, seen, relay
        self._seed, self._nonce = os.urandom(xwing.SEED_BYTES), os.urandom(32)
        self._m1 = ""

    def offer(self, sdp: str, fingerprint: str) -> str:
        """M1 for this offer, whose own certificate has this fingerprint. Raises Refused where our own SDP breaks the rules."""
        self._advance("m1")
        if check_sdp(sdp, "offer", relay=self._relay) != fingerprint:
            raise Refused("fingerprint", "offer: expected our own certificate's")
        self._m1 = spell({
            "v": 1, "call": to_text(self.call), "link": self._link.kind, "fp": fingerprint, "sdp_hash": to_text(digest(sdp)),
            "nc_hash": to_text(_hash(self._nonce)), "kem": to_text(xwing.public_key(self._seed)), "caps": [],
        })  # fmt: skip
        return self._m1

    def accept(self, m2: str, sdp: str, now: datetime) -> Accepted:
        """Verify M2 and its answer whole; returns M3 and what may be believed. Raises Refused, and then for good."""
        self._advance("m2")
        try:
            return self._verify(m2, sdp, now)
        except Refused:
            self.step = Step.OVER
            raise

    def _verify(self, text: str, sdp: str, now: datetime) -> Accepted:
        m2 = read_m2(text)
        body: dict[str, Any] = m2["body"]
        _check_call(body, self.call)
        _check_hash(body, sdp)
        kid = self._link.kid
        trust = check_trust(body["manifest"], body["proof"], kid, now, self._seen)
        key = check_device(trust.manifest, body["device"], now)
        signature, spelled = to_bytes(m2["sig"], "sig"), spell(body)
        if not verify_ed25519(key, signature, signature_input(kid, self._m1, spelled)):
            raise Refused("signature", "M2: expected the device's signature over these messages")
        prk = extract(self._link.psk, xwing.decapsulate(self._seed, to_bytes(body["ct"], "ct")))
        _check_mac(agent_mac(prk, kid, self._m1, spelled, signature), m2["mac"])
        check_policy(body["policy"], relay=self._relay)
        if check_sdp(sdp, "answer", relay=self._relay) != body["fp"]:
            raise Refused("fingerprint", "answer: expected the fingerprint that was signed")
        keys = derive_keys(prk, kid, self._m1, text, self._nonce)
        m3 = {"v": 1, "call": to_text(self.call), "nc": to_text(self._nonce), "mac": to_text(keys.customer_mac)}
        return Accepted(trust, body["device"]["role"], Peer(body["fp"], body["policy"], keys), spell(m3))


@dataclass(frozen=True)
class Credentials:
    """What an agent's browser brings: the root it pinned, its device's entry and key, the manifest and its proof."""

    kid: bytes
    device: Mapping[str, Any]
    key: Ed25519PrivateKey = field(repr=False)
    manifest: str
    proof: Mapping[str, Any]
    seen: int = 0


class Agent(_Machine):
    """The agent's half, for one call. `psk` is that of the invitation, empty for a public link."""

    side = "agent"

    def __init__(self, credentials: Credentials, call: bytes, psk: bytes = b"", *, relay: bool = True) -> None:
        super().__init__()
        self.call = call
        self._credentials, self._psk, self._relay = credentials, psk, relay
        self._m1: dict[str, Any] = {}
        self._m1_text = self._m2_text = ""
        self._prk = b""

    def receive(self, m1: str, sdp: str) -> None:
        """Check M1 and its offer, before the browser is given the offer. Raises Refused, and then for good."""
        self._advance("m1")
        try:
            read = read_m1(m1)
            _check_call(read, self.call)
            _check_hash(read, sdp)
            if read["link"] != ("invitation" if self._psk else "public"):
                raise Refused("unknown-call", "M1: expected the kind of link that this call has")
            if check_sdp(sdp, "offer", relay=self._relay) != read["fp"]:
                raise Refused("fingerprint", "offer: expected the fingerprint of M1")
        except Refused:
            self.step = Step.OVER
            raise
        self._m1, self._m1_text = read, m1

    def answer(self, sdp: str, fingerprint: str, now: datetime) -> str:
        """M2 for this answer. Our own trust is checked first: what a customer would refuse is not sent. Raises Refused."""
        self._advance("m2")
        mine = self._credentials
        try:
            trust = check_trust(mine.manifest, mine.proof, mine.kid, now, mine.seen)
            check_device(trust.manifest, mine.device, now)
            if check_sdp(sdp, "answer", relay=self._relay) != fingerprint:
                raise Refused("fingerprint", "answer: expected our own certificate's")
            shared, ciphertext = xwing.encapsulate(to_bytes(self._m1["kem"], "kem"))
        except Refused:
            self.step = Step.OVER
            raise
        body = {
            "v": 1, "call": to_text(self.call), "na": to_text(os.urandom(32)), "ct": to_text(ciphertext), "fp": fingerprint,
            "sdp_hash": to_text(digest(sdp)), "policy": dict(POLICY, relay=self._relay), "device": dict(mine.device),
            "manifest": mine.manifest, "proof": dict(mine.proof),
        }  # fmt: skip
        spelled = spell(body)
        self._prk = extract(self._psk, shared)
        signature = mine.key.sign(signature_input(mine.kid, self._m1_text, spelled))
        mac = agent_mac(self._prk, mine.kid, self._m1_text, spelled, signature)
        self._m2_text = spell({"body": body, "sig": to_text(signature), "mac": to_text(mac)})
        return self._m2_text

    def finish(self, m3: str) -> Peer:
        """Verify M3: the customer holds the one-time secret, if there is one, and M1 is theirs. Raises Refused."""
        self._advance("m3")
        try:
            read = read_m3(m3)
            _check_call(read, self.call)
            nonce = to_bytes(read["nc"], "nc")
            if not hmac.compare_digest(_hash(nonce), to_bytes(self._m1["nc_hash"], "nc_hash")):
                raise Refused("commitment", "M3: expected the nonce that M1 committed to")
            keys = derive_keys(self._prk, self._credentials.kid, self._m1_text, self._m2_text, nonce)
            _check_mac(keys.customer_mac, read["mac"])
        except Refused:
            self.step = Step.OVER
            raise
        return Peer(self._m1["fp"], dict(POLICY, relay=self._relay), keys)


def _hash(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _check_call(message: Mapping[str, Any], call: bytes) -> None:
    if to_bytes(message["call"], "call") != call:
        raise Refused("wrong-call", "message: expected one of this call")


def _check_hash(message: Mapping[str, Any], sdp: str) -> None:
    if not hmac.compare_digest(digest(sdp), to_bytes(message["sdp_hash"], "sdp_hash")):
        raise Refused("sdp-changed", "SDP: expected the one that its sender hashed")


def _check_mac(expected: bytes, given: str) -> None:
    if not hmac.compare_digest(expected, to_bytes(given, "mac")):
        raise Refused("mac", "message: expected a MAC under this call's keys")
