"""The keys of one handshake: from shared secret, one-time secret and transcript to MACs, later keys and the short string.

docs/spec/private-call.md section 5; RFC 5869. Invariants: every key is bound to `kid` and to the transcript; MACs are compared
in constant time.
"""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Final, Literal

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
NO_PSK: Final = bytes(32)
Side = Literal["customer", "agent"]


def digest(text: str) -> bytes:
    """SHA-256 of a text's UTF-8 bytes."""
    return hashlib.sha256(text.encode()).digest()


def extract(psk: bytes, shared: bytes) -> bytes:
    """HKDF-Extract with the one-time secret as salt, 32 zero bytes where there is none."""
    return hmac.digest(psk or NO_PSK, shared, "sha256")


def expand(key: bytes, info: bytes, length: int = 32) -> bytes:
    """HKDF-Expand for up to one block of SHA-256."""
    if not 0 < length <= 32:
        raise ValueError("length: expected 1 to 32 bytes")
    return hmac.digest(key, info + b"\x01", "sha256")[:length]


def signature_input(kid: bytes, m1: str, body: str) -> bytes:
    """What the device key signs."""
    return b"plh1/sig" + kid + digest(m1) + digest(body)


def agent_mac(prk: bytes, kid: bytes, m1: str, body: str, signature: bytes) -> bytes:
    """M2's MAC, 32 bytes, over the 64-byte signature."""
    return hmac.digest(expand(prk, b"plh1/agent" + kid + digest(m1) + digest(body)), signature, "sha256")


@dataclass(frozen=True)
class Keys:
    """What both ends hold when the three messages are known: the transcript hash and K (32 bytes each)."""

    transcript: bytes
    key: bytes

    def __repr__(self) -> str:
        return "Keys(…)"

    @property
    def customer_mac(self) -> bytes:
        """M3's MAC, 32 bytes."""
        return hmac.digest(expand(self.key, b"plh1/customer"), self.transcript, "sha256")

    def later_mac(self, sender: Side, message: str) -> bytes:
        """The MAC of a later message of this side, 32 bytes."""
        return hmac.digest(expand(self.key, b"plh1/later/" + sender[:1].encode()), digest(message), "sha256")

    @property
    def short_string(self) -> str:
        """20 bits as four characters that two people can read to each other."""
        bits = int.from_bytes(expand(self.key, b"plh1/sas", 3), "big") >> 4
        return "".join(ALPHABET[bits >> shift & 31] for shift in (15, 10, 5, 0))


def derive_keys(prk: bytes, kid: bytes, m1: str, m2: str, nonce: bytes) -> Keys:
    """The keys of a whole handshake; `nonce` is the customer's."""
    transcript = hashlib.sha256(digest(m1) + digest(m2) + nonce).digest()
    return Keys(transcript, expand(prk, b"plh1" + kid + transcript))
