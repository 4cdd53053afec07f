"""A passkey in software: registrations and assertions by an EC P-256 key, as a browser would send them.

W3C Web Authentication Level 3 sections 6.1 (authenticator data), 5.8.1 (client data), 6.5.1 (COSE key, RFC 9053 section 7.1.1).
"""

import base64
import hashlib
import json
import os
import struct
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

PRESENT, VERIFIED, ATTESTED = 0x01, 0x04, 0x40


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _cbor(value: Any) -> bytes:
    """Just enough of CBOR (RFC 8949) for an attestation object and a COSE key."""

    def head(major: int, length: int) -> bytes:
        if length < 24:
            return bytes([major << 5 | length])
        return bytes([major << 5 | 24, length]) if length < 256 else bytes([major << 5 | 25]) + struct.pack(">H", length)

    if isinstance(value, int):
        return head(0, value) if value >= 0 else head(1, -1 - value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        return head(3, len(value)) + value.encode()
    assert isinstance(value, dict)
    return head(5, len(value)) + b"".join(_cbor(key) + _cbor(item) for key, item in value.items())


class Authenticator:
    """One authenticator with one passkey. `origin` is where its browser thinks it is."""

    def __init__(self, rp_id: str = "localhost", origin: str = "http://localhost:8080", *, counts: bool = True) -> None:
        self.rp_id = rp_id
        self.origin = origin
        self.credential_id = os.urandom(32)
        self.count = 0
        self.user_verified = True
        self.cross_origin = False
        self._counts = counts
        self._key = ec.generate_private_key(ec.SECP256R1())

    def register(self, options: dict[str, Any]) -> dict[str, Any]:
        """Answer `PublicKeyCredentialCreationOptions` (JSON)."""
        numbers = self._key.public_key().public_numbers()
        cose = _cbor({1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")})
        attested = bytes(16) + struct.pack(">H", len(self.credential_id)) + self.credential_id + cose
        data = self._authenticator_data(ATTESTED) + attested
        return self._answer(
            attestationObject=_text(_cbor({"fmt": "none", "attStmt": {}, "authData": data})),
            clientDataJSON=_text(self._client_data("webauthn.create", options["challenge"])),
        )

    def sign(self, options: dict[str, Any]) -> dict[str, Any]:
        """Answer `PublicKeyCredentialRequestOptions` (JSON)."""
        data, client_data = self._authenticator_data(0), self._client_data("webauthn.get", options["challenge"])
        signature = self._key.sign(data + hashlib.sha256(client_data).digest(), ec.ECDSA(hashes.SHA256()))
        return self._answer(
            authenticatorData=_text(data), clientDataJSON=_text(client_data), signature=_text(signature), userHandle=None
        )

    def sign_challenge(self, challenge: bytes) -> dict[str, Any]:
        """Sign any challenge of 32 bytes: what an attacker with the person's touch could have made."""
        return self.sign({"challenge": _text(challenge)})

    def _authenticator_data(self, flags: int) -> bytes:
        self.count += 1 if self._counts else 0
        flags |= PRESENT | (VERIFIED if self.user_verified else 0)
        return hashlib.sha256(self.rp_id.encode()).digest() + bytes([flags]) + struct.pack(">I", self.count)

    def _client_data(self, kind: str, challenge: str) -> bytes:
        fields = {"type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": self.cross_origin}
        return json.dumps(fields, separators=(",", ":")).encode()

    def _answer(self, **response: Any) -> dict[str, Any]:
        name = _text(self.credential_id)
        return {"id": name, "rawId": name, "type": "public-key", "response": response, "clientExtensionResults": {}}
