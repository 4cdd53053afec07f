"""A witness's word: at this time, this was the largest checkpoint of this log it had seen, and it extends all it had seen before.

C2SP tlog-cosignature, version 1 with Ed25519 (signature type 4). Invariant: the time is signed with the checkpoint, so it
cannot be moved to another.
"""

import base64
import binascii
import struct
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from callseal.audit.note import Signature, check_name, make_key_id, verify_ed25519
from callseal.errors import TamperedError

COSIGNATURE_V1 = 4
_TIMESTAMP = struct.Struct(">Q")
_MAX_TIMESTAMP = 2**63 - 1


@dataclass(frozen=True)
class CosignatureVerifier:
    """A witness's public key under its name; `open_note` takes it beside the log's own."""

    name: str
    public_key: bytes

    def __post_init__(self) -> None:
        check_name(self.name)

    @property
    def key_id(self) -> bytes:
        """The 4 bytes that the witness's signature line begins with."""
        return make_key_id(self.name, COSIGNATURE_V1, self.public_key)

    def verify(self, text: str, signature: bytes) -> bool:
        """True where the witness cosigned this checkpoint at the time its signature names."""
        if len(signature) != _TIMESTAMP.size + 64:
            return False
        at = timestamp_of(signature)
        return at <= _MAX_TIMESTAMP and verify_ed25519(self.public_key, signature[_TIMESTAMP.size :], _message(text, at))


    def vkey(self) -> str:
        """The key as one line: name + key id + base64(type ‖ key)."""
        encoded = base64.b64encode(bytes([COSIGNATURE_V1]) + self.public_key).decode()
        return f"{self.name}+{self.key_id.hex()}+{encoded}"


def parse_cosigner(line: str) -> CosignatureVerifier:
    """Read one witness's verifier key line, in its one spelling; raises TamperedError."""
    name, _, rest = line.partition("+")
    try:
        key = base64.b64decode(rest.partition("+")[2], validate=True)
    except (ValueError, binascii.Error) as error:
        raise TamperedError("witness key: expected NAME+ID+KEY") from error
    if len(key) != 33 or key[0] != COSIGNATURE_V1:
        raise TamperedError("witness key: expected a cosignature key")
    verifier = CosignatureVerifier(name, key[1:])
    if verifier.vkey() != line:
        raise TamperedError("witness key: expected the key's own id, got another")
    return verifier


def timestamp_of(signature: bytes) -> int:
    """When a verified cosignature was made, in seconds since the Epoch."""
    (seconds,) = _TIMESTAMP.unpack_from(signature)
    return int(seconds)


def cosign(text: str, name: str, private_key: Ed25519PrivateKey, timestamp_seconds: int) -> Signature:
    """The witness's signature line for a checkpoint's note text."""
    public_key = private_key.public_key().public_bytes_raw()
    signed = private_key.sign(_message(text, timestamp_seconds))
    return Signature(name, make_key_id(name, COSIGNATURE_V1, public_key), _TIMESTAMP.pack(timestamp_seconds) + signed)


def _message(text: str, timestamp_seconds: int) -> bytes:
    return f"cosignature/v1\ntime {timestamp_seconds}\n{text}".encode()
