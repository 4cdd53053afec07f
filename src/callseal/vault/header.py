"""The header of a part: who it is, in the clear, and its key, sealed to the custodian.

docs/spec/sealed-recording.md section 2; docs/spec/keys.md section 4; RFC 9180 section 6.1; draft-ietf-hpke-pq.
`core = "CSR1" ‖ recording (16) ‖ u32 part ‖ u32 epoch ‖ SHA-256(public key)`; header = core ‖ HPKE seal of the DEK.
Invariants: one form of `HEADER_LENGTH` bytes; the sealed DEK is bound to the core by the HPKE info; this module only seals.
"""

import hashlib
import struct
from dataclasses import dataclass

from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from callseal.errors import InternalError, TamperedError
from callseal.model.ids import RecordingId
from callseal.vault.expand import Buffer

MAGIC = b"CSR1"
SUITE_NAME = "MLKEM768-X25519, HKDF-SHA256, AES-256-GCM"
"""What "CSR1" stands for: HPKE ids KEM 0x647a, KDF 0x0001, AEAD 0x0002. Another suite is another magic."""

_CORE = struct.Struct(">4s16sII32s")
CORE_LENGTH = _CORE.size
SEALED_DEK_LENGTH = 1168
"""1,120 of encapsulated key, 32 of DEK, 16 of tag."""

HEADER_LENGTH = CORE_LENGTH + SEALED_DEK_LENGTH
PUBLIC_KEY_LENGTH = 1216
"""ML-KEM-768 encapsulation key (1,184 bytes), then the X25519 public key (32)."""

_MLKEM_LENGTH = 1184


@dataclass(frozen=True)
class PartCore:
    """What names a part: which recording, which part of it, sealed to which epoch's key (`key_digest` is its SHA-256)."""

    recording: RecordingId
    part: int
    epoch: int
    key_digest: bytes

    def __post_init__(self) -> None:
        if len(self.recording) != 16 or len(self.key_digest) != 32:
            raise InternalError(f"core: expected 16 and 32 bytes, got {len(self.recording)} and {len(self.key_digest)}")
        if not 0 <= self.part < 1 << 32 or not 0 <= self.epoch < 1 << 32:
            raise InternalError(f"core: expected part and epoch of 32 bits, got {self.part} and {self.epoch}")

    def encode(self) -> bytes:
        """Its 60 bytes."""
        return _CORE.pack(MAGIC, self.recording, self.part, self.epoch, self.key_digest)

    @classmethod
    def decode(cls, data: bytes) -> "PartCore":
        """TamperedError unless `data` is what `encode` writes."""
        if len(data) != CORE_LENGTH or data[: len(MAGIC)] != MAGIC:
            raise TamperedError(f"header: expected {CORE_LENGTH} bytes of core that begin {MAGIC!r}, got {len(data)} others")
        _, recording, part, epoch, key_digest = _CORE.unpack(data)
        return cls(RecordingId(recording), part, epoch, key_digest)

    def digest(self) -> bytes:
        """SHA-256 of its bytes: what every message of the part is bound to, and the commitment before message 0."""
        return hashlib.sha256(self.encode()).digest()

    def info(self) -> bytes:
        """What the HPKE seal of the DEK is bound to."""
        return b"callseal/v1/part" + self.digest()


def split_header(header: bytes) -> tuple[PartCore, bytes]:
    """Core and sealed DEK. TamperedError when it is not a header by form; whether it is authentic, only its opener can say."""
    if len(header) != HEADER_LENGTH:
        raise TamperedError(f"header: expected {HEADER_LENGTH} bytes, got {len(header)}")
    return PartCore.decode(header[:CORE_LENGTH]), header[CORE_LENGTH:]


def hpke_suite() -> hpke.Suite:
    """The one suite that seals a part's key."""
    return hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


def load_public_key(data: bytes) -> hpke.MLKEM768X25519PublicKey:
    """The public key of a sealing card. TamperedError when it is not one."""
    if len(data) != PUBLIC_KEY_LENGTH:
        raise TamperedError(f"public key: expected {PUBLIC_KEY_LENGTH} bytes, got {len(data)}")
    try:
        lattice = MLKEM768PublicKey.from_public_bytes(data[:_MLKEM_LENGTH])
        return hpke.MLKEM768X25519PublicKey(lattice, X25519PublicKey.from_public_bytes(data[_MLKEM_LENGTH:]))
    except ValueError:
        raise TamperedError("public key: expected an MLKEM768-X25519 key, got bytes that are none") from None


def seal_header(core: PartCore, dek: Buffer, public_key: bytes) -> bytes:
    """The header of a part whose 32-byte DEK is sealed to `public_key`. TamperedError when that is no key."""
    return core.encode() + hpke_suite().encrypt(dek, load_public_key(public_key), core.info())
