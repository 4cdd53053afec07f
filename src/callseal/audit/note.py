"""Signed notes: text that a person can read, signed by one or more named keys.

C2SP signed-note (c2sp.org/signed-note) with Ed25519 (signature type 1). Invariants: a note opens only when a known key
signed it; a signature that claims a known key and does not verify refuses the whole note; one by an unknown key is passed over.
"""

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from callseal.errors import RequestError, TamperedError

ED25519 = 1
MAX_NOTE_BYTES = 128 << 10
MAX_SIGNATURES = 64
MAX_NAME_CHARS = 255
_KEY_BYTES = 32
_DASH = "— "


class NoteVerifier(Protocol):
    """Who may have signed: a name, a key id of 4 bytes, and the check itself."""

    @property
    def name(self) -> str: ...

    @property
    def key_id(self) -> bytes: ...

    def verify(self, text: str, signature: bytes) -> bool: ...


@dataclass(frozen=True)
class Verifier:
    """An Ed25519 public key under its name."""

    name: str
    public_key: bytes

    def __post_init__(self) -> None:
        check_name(self.name)
        if len(self.public_key) != _KEY_BYTES:
            raise TamperedError(f"note key: expected {_KEY_BYTES} bytes, got {len(self.public_key)}")

    @property
    def key_id(self) -> bytes:
        """The 4 bytes that a signature line begins with."""
        return make_key_id(self.name, ED25519, self.public_key)

    def verify(self, text: str, signature: bytes) -> bool:
        """True where this key signed exactly this text."""
        return verify_ed25519(self.public_key, signature, text.encode())

    def vkey(self) -> str:
        """The key as one line: name + key id + base64(type ‖ key)."""
        return f"{self.name}+{self.key_id.hex()}+{_to_base64(bytes([ED25519]) + self.public_key)}"


class Signer:
    """An Ed25519 private key under its name."""

    def __init__(self, name: str, private_key: Ed25519PrivateKey) -> None:
        self._private_key = private_key
        self.verifier = Verifier(name, private_key.public_key().public_bytes_raw())

    @classmethod
    def from_seed(cls, name: str, seed: bytes | bytearray) -> "Signer":
        """The signer whose private key is this 32-byte seed (RFC 8032 section 5.1.5)."""
        return cls(name, Ed25519PrivateKey.from_private_bytes(seed))

    def sign(self, text: str) -> bytes:
        """The 64-byte signature over the text."""
        return self._private_key.sign(text.encode())


@dataclass(frozen=True)
class Signature:
    """One signature line: whose it says it is, and its bytes."""

    name: str
    key_id: bytes
    signature: bytes

    def line(self) -> str:
        """The line as it stands in the note."""
        return f"{_DASH}{self.name} {_to_base64(self.key_id + self.signature)}\n"


@dataclass(frozen=True)
class OpenedNote:
    """A note whose text may be believed: `signed_by` verified, `others` are of unknown keys."""

    text: str
    signed_by: tuple[Signature, ...]
    others: tuple[Signature, ...]


def parse_vkey(line: str) -> Verifier:
    """Read one verifier key line; raises TamperedError."""
    parts = line.strip().split("+", 2)
    if len(parts) != 3:
        raise TamperedError("vkey: expected NAME+ID+KEY")
    name, key_id, key = parts[0], parts[1], _from_base64(parts[2])
    if key is None or len(key) != 1 + _KEY_BYTES or key[0] != ED25519:
        raise TamperedError("vkey: expected an Ed25519 key")
    verifier = Verifier(name, key[1:])
    if verifier.key_id.hex() != key_id:
        raise TamperedError("vkey: expected the key's own id, got another")
    return verifier


def sign_note(text: str, *signers: Signer) -> bytes:
    """The note with a signature line of each signer; raises RequestError where the text cannot be a note's."""
    if not signers or not text.endswith("\n") or text == "\n" or _has_control(text):
        raise RequestError("note: expected a signer, and text that ends in a newline and holds no other control character")
    lines = [Signature(s.verifier.name, s.verifier.key_id, s.sign(text)).line() for s in signers]
    note = f"{text}\n{''.join(lines)}".encode()
    if len(note) > MAX_NOTE_BYTES:
        raise RequestError(f"note: expected at most {MAX_NOTE_BYTES} bytes, got {len(note)}")
    return note


def open_note(note: bytes, verifiers: Sequence[NoteVerifier]) -> OpenedNote:
    """Verify a note by the keys given; raises TamperedError where none of them signed it, or one of them did not sign this."""
    text, signatures = split_note(note)
    known = {(v.name, v.key_id): v for v in verifiers}
    signed_by, others = [], []
    for signature in signatures:
        verifier = known.get((signature.name, signature.key_id))
        if verifier is None:
            others.append(signature)
        elif verifier.verify(text, signature.signature):
            signed_by.append(signature)
        else:
            raise TamperedError("note: expected the known key's signature, got one that does not verify")
    if not signed_by:
        raise TamperedError("note: expected a signature by a known key, got none")
    return OpenedNote(text, tuple(signed_by), tuple(others))


def split_note(note: bytes) -> tuple[str, list[Signature]]:
    """A note's text and signature lines, nothing verified; raises TamperedError."""
    if len(note) > MAX_NOTE_BYTES:
        raise TamperedError(f"note: expected at most {MAX_NOTE_BYTES} bytes, got {len(note)}")
    try:
        whole = note.decode()
    except UnicodeDecodeError as error:
        raise TamperedError("note: expected UTF-8") from error
    text, blank, tail = whole.rpartition("\n\n")
    if not blank or not text or not tail.endswith("\n") or _has_control(whole):
        raise TamperedError("note: expected text, a blank line and signature lines, and no control characters")
    lines = tail[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise TamperedError(f"note: expected at most {MAX_SIGNATURES} signatures, got {len(lines)}")
    return text + "\n", [_parse_signature(line) for line in lines]


def check_name(name: str) -> None:
    """A key's name is not empty and holds no space and no plus; raises TamperedError."""
    if not 0 < len(name) <= MAX_NAME_CHARS or "+" in name or any(c.isspace() or c < " " for c in name):
        raise TamperedError("note key: expected a name without spaces and plus signs")


def make_key_id(name: str, kind: int, public_key: bytes) -> bytes:
    """The first 4 bytes of SHA-256(name ‖ newline ‖ signature type ‖ key)."""
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + public_key).digest()[:4]


def verify_ed25519(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """True where the signature verifies (RFC 8032)."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _parse_signature(line: str) -> Signature:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] + " " != _DASH:
        raise TamperedError("note: expected a signature line of dash, name and base64")
    check_name(parts[1])
    data = _from_base64(parts[2])
    if data is None or len(data) < 5:
        raise TamperedError("note: expected a key id and a signature in base64")
    return Signature(parts[1], data[:4], data[4:])


def _has_control(text: str) -> bool:
    return any(c < " " and c != "\n" for c in text)


def _to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _from_base64(text: str) -> bytes | None:
    """Standard base64 in its one spelling, or None: loose trailing bits would let a changed character pass."""
    try:
        data = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return None
    return data if _to_base64(data) == text else None
