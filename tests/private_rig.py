"""A business with its root, log, witness and devices, and the two ends of a private call, for tests and vectors."""

import base64
import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from callseal.audit.checkpoint import Checkpoint
from callseal.audit.cosignature import CosignatureVerifier, cosign
from callseal.audit.entry import make_entry
from callseal.audit.merkle import inclusion_proof, leaf_hash, root_hash
from callseal.audit.note import Signer, sign_note
from callseal.model.clock import format_time
from callseal.model.message import to_text
from callseal.webrtc.handshake import Agent, Credentials, Customer
from callseal.webrtc.link import Link, kid_of, psk_of
from callseal.webrtc.manifest import KEY_NAME, digest_of, manifest_text, sign_manifest

NOW = datetime(2026, 11, 27, 14, 30, tzinfo=UTC)
ORIGIN = "callseal-example/2026"
PAGE = hashlib.sha256(b"index.html").hexdigest()


def raw(key: Ed25519PrivateKey) -> str:
    return to_text(key.public_key().public_bytes_raw())


def seed(name: str) -> bytes:
    return hashlib.sha256(b"callseal test key " + name.encode()).digest()


def private(name: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(seed(name))


def sdp(fingerprint: bytes, kind: str, **changes: str) -> str:
    """A description as Chromium writes it, cut to what a private call needs. `changes` replace whole lines by their beginning."""
    spelled = ":".join(f"{byte:02X}" for byte in fingerprint)
    lines = [
        "v=0", "o=- 4611731400430051336 2 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0", "a=msid-semantic: WMS",
        "m=audio 50000 UDP/TLS/RTP/SAVPF 111", "c=IN IP4 127.0.0.1", "a=rtcp:9 IN IP4 0.0.0.0",
        "a=candidate:1 1 udp 41885439 127.0.0.1 50000 typ relay raddr 0.0.0.0 rport 0 generation 0", "a=ice-ufrag:abcd",
        "a=ice-pwd:abcdefghijklmnopqrstuvwx", f"a=fingerprint:sha-256 {spelled}",
        f"a=setup:{'actpass' if kind == 'offer' else 'active'}", "a=mid:0", "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid",
        "a=sendrecv", "a=rtcp-mux", "a=rtpmap:111 opus/48000/2", "a=fmtp:111 cbr=1;minptime=10;usedtx=0;useinbandfec=1",
    ]  # fmt: skip
    for beginning, line in changes.items():
        lines = [line if old.startswith(beginning) else old for old in lines]
    return "".join(f"{line}\r\n" for line in lines if line)


@dataclass
class Business:
    """Root, log, witness and one device, all from known seeds; `publish` gives manifest and proof."""

    now: datetime = NOW
    root: Signer = field(default_factory=lambda: Signer.from_seed(KEY_NAME, seed("root")))
    log: Signer = field(default_factory=lambda: Signer.from_seed(ORIGIN, seed("log")))
    witness: Ed25519PrivateKey = field(default_factory=lambda: private("witness"))
    device: Ed25519PrivateKey = field(default_factory=lambda: private("device"))

    @property
    def kid(self) -> bytes:
        return kid_of(self.root.verifier.public_key)

    def entry_of(self, key: Ed25519PrivateKey | None = None, **changes: Any) -> dict[str, Any]:
        device = {"key": raw(key or self.device), "role": "Reception", "not_after": format_time(self.now + timedelta(days=6))}
        return device | changes

    def fields(self, **changes: Any) -> dict[str, Any]:
        witness = CosignatureVerifier("witness.example", self.witness.public_key().public_bytes_raw())
        return {
            "v": 1, "sequence": 3, "root": to_text(self.root.verifier.public_key), "business": "Example Clinic",
            "phone": "+44 20 7946 0000", "issued_at": format_time(self.now - timedelta(hours=2)),
            "not_after": format_time(self.now + timedelta(days=6)), "min_version": 1, "log": self.log.verifier.vkey(),
            "witnesses": [witness.vkey()], "devices": [self.entry_of()], "revoked": [], "page": PAGE, "recording_keys": [],
        } | changes  # fmt: skip

    def sign(self, **changes: Any) -> str:
        return sign_manifest(manifest_text(self.fields(**changes)), self.root)

    def proof(self, note: str, **changes: Any) -> dict[str, Any]:
        """Log the manifest as the fourth of seven entries and have the head cosigned. Changes name what is done otherwise."""
        sequence = changes.get("sequence", int(note.partition('"sequence":')[2].partition(",")[0]))
        logged = {"sequence": sequence, "manifest": digest_of(note), "kid": self.kid.hex()} | changes.get("entry", {})
        text = make_entry("ManifestPublished", self.now, "log", 4, **logged)
        others = [make_entry("RefusalsCounted", self.now, "log", n, kind="signin", count=n) for n in (1, 2, 3, 5, 6, 7)]
        leaves = [leaf_hash(entry) for entry in [*others[:3], text, *others[3:]]]
        line = changes.get("line", f"manifest {sequence} {digest_of(note)}")
        head = Checkpoint(changes.get("origin", ORIGIN), 7, root_hash(leaves), (line,) if line else ())
        signed = sign_note(head.text(), changes.get("log", self.log)).decode()
        at = changes.get("witnessed_at", self.now - timedelta(minutes=3))
        if changes.get("witnessed", True):
            signed += cosign(head.text(), "witness.example", changes.get("witness", self.witness), int(at.timestamp())).line()
        path = [to_text(item) for item in inclusion_proof(leaves, 3)]
        return {"entry": text.decode(), "index": 3, "path": path, "checkpoint": signed}

    def credentials(self, note: str | None = None, proof: dict[str, Any] | None = None, **changes: Any) -> Credentials:
        note = note or self.sign()
        given: dict[str, Any] = {
            "kid": self.kid, "device": self.entry_of(), "key": self.device, "manifest": note, "proof": proof or self.proof(note),
        }  # fmt: skip
        return Credentials(**(given | changes))


CUSTOMER_PRINT, AGENT_PRINT = hashlib.sha256(b"customer certificate").digest(), hashlib.sha256(b"agent certificate").digest()
CALL = bytes(range(16))
INVITATION_KEY = seed("invitation")


@dataclass
class Ends:
    """Both ends of one call over a wire that a test may change."""

    business: Business = field(default_factory=Business)
    public: bool = False

    def __post_init__(self) -> None:
        psk = b"" if self.public else psk_of(INVITATION_KEY, CALL)
        link = Link("public", self.business.kid) if self.public else Link("invitation", self.business.kid, psk, CALL)
        self.customer = Customer(link)
        self.agent = Agent(self.business.credentials(), self.customer.call, psk)
        self.offer, self.answer = sdp(CUSTOMER_PRINT, "offer"), sdp(AGENT_PRINT, "answer")

    def m1(self) -> str:
        return self.customer.offer(self.offer, CUSTOMER_PRINT.hex())

    def m2(self, m1: str | None = None) -> str:
        self.agent.receive(m1 or self.m1(), self.offer)
        return self.agent.answer(self.answer, AGENT_PRINT.hex(), self.business.now)


def flip_text(text: str, place: int = 10) -> str:
    """Base64url text with one bit of its bytes changed."""
    data = bytearray(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    data[place % len(data)] ^= 1
    return to_text(data)
