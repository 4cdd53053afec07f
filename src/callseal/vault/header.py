"""The header of a part: who it is, and its key sealed to the custodian.

Source: docs/spec/sealed-recording.md section 2; RFC 9180; draft-ietf-hpke-pq (MLKEM768-X25519).
`core = "CSR1" ‖ recording (16) ‖ part u32 ‖ epoch u32 ‖ SHA-256(public key)`; header = core ‖ HPKE seal of the DEK (1,168 bytes).
"""

import hashlib
import struct
from dataclasses import dataclass

from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from callseal.errors import TamperedError
from callseal.model.ids import RecordingId

MAGIC = b"CSR1"
_CORE = struct.Struct(">4s16sII32s")
CORE_LENGTH = _CORE.size
SEALED_DEK_LENGTH = 1168
HEADER_LENGTH = CORE_LENGTH + SEALED_DEK_LENGTH
PUBLIC_KEY_LENGTH = 1184 + 32
PRIVATE_KEY_LENGTH = 64 + 32
SUITE_NAME = "MLKEM768-X25519, HKDF-SHA256, AES-256-GCM"


def hpke_suite() -> hpke.Suite:
    """The one suite that seals a part's key."""
    return hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


@dataclass(frozen=True)
class PartCore:
    """What names a part: which recording, which part of it, sealed to which epoch's key."""

    recording: RecordingId
    part: int
    epoch: int
    key_digest: bytes

    def encode(self) -> bytes:
        """Its 60 bytes."""
        return _CORE.pack(MAGIC, self.recording, self.part, self.epoch, self.key_digest)

    def digest(self) -> bytes:
        """SHA-256 of its bytes: every message of the part is bound to it."""
        return hashlib.sha256(self.encode()).digest()

    def info(self) -> bytes:
        """HPKE's info for this part."""
        return b"callseal/v1/part" + self.digest()

    @classmethod
    def decode(cls, data: bytes) -> "PartCore":
        """Read its bytes. Raises TamperedError."""
        if len(data) != CORE_LENGTH or data[:4] != MAGIC:
            raise TamperedError("header: expected it to begin with CSR1")
        _magic, recording, part, epoch, key_digest = _CORE.unpack(data)
        return cls(RecordingId(recording), part, epoch, key_digest)


def split_header(header: bytes) -> tuple[PartCore, bytes]:
    """A header as core and sealed DEK. Raises TamperedError for another length or magic."""
    if len(header) != HEADER_LENGTH:
        raise TamperedError(f"header: expected {HEADER_LENGTH} bytes, got {len(header)}")
    return PartCore.decode(header[:CORE_LENGTH]), header[CORE_LENGTH:]


def load_public_key(data: bytes) -> hpke.MLKEM768X25519PublicKey:
    """A public key from `ML-KEM-768 (1,184) ‖ X25519 (32)`. Raises TamperedError."""
    if len(data) != PUBLIC_KEY_LENGTH:
        raise TamperedError(f"public key: expected {PUBLIC_KEY_LENGTH} bytes, got {len(data)}")
    try:
        return hpke.MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(data[:1184]), X25519PublicKey.from_public_bytes(data[1184:])
        )
    except ValueError as error:
        raise TamperedError("public key: not a valid ML-KEM-768 and X25519 pair") from error


def load_private_key(data: bytes) -> hpke.MLKEM768X25519PrivateKey:
    """A private key from `ML-KEM-768 seed (64) ‖ X25519 (32)`. Raises TamperedError."""
    if len(data) != PRIVATE_KEY_LENGTH:
        raise TamperedError(f"private key: expected {PRIVATE_KEY_LENGTH} bytes, got {len(data)}")
    return hpke.MLKEM768X25519PrivateKey(
        MLKEM768PrivateKey.from_seed_bytes(data[:64]), X25519PrivateKey.from_private_bytes(data[64:])
    )


def new_key_pair() -> tuple[bytes, bytes]:
    """Draw a key pair: private bytes (96) and public bytes (1,216)."""
    kem, curve = MLKEM768PrivateKey.generate(), X25519PrivateKey.generate()
    return (
        kem.private_bytes_raw() + curve.private_bytes_raw(),
        kem.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw(),
    )
