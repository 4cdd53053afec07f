"""The log's cryptography: signed notes, checkpoints, and the RFC 6962 tree.

Written from C2SP signed-note, tlog-checkpoint and tlog-tiles, and from RFC 6962 section 2.1. Everything raises Bad, in words.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

MAX_NOTE_BYTES = 1 << 17


class Bad(Exception):
    """Something is not what it should be; the message says what."""


class Key(NamedTuple):
    """A verifier key: name, key id (4 bytes) and Ed25519 public key (32 bytes)."""

    name: str
    key_id: bytes
    public: bytes


class Head(NamedTuple):
    """What a checkpoint says; `manifest` is sequence and digest of the newest manifest, where one was published."""

    origin: str
    size: int
    root: bytes
    manifest: tuple[int, str] | None = None


def read_key(line: str) -> Key:
    """A verifier key line, NAME+ID+base64(0x01 ‖ key)."""
    name, _, rest = line.partition("+")
    key_id, _, encoded = rest.partition("+")
    key = _unbase64(encoded)
    if not name or len(key) != 33 or key[0] != 1:
        raise Bad("it is not an Ed25519 verifier key")
    if hashlib.sha256(name.encode() + b"\n" + key).digest()[:4].hex() != key_id:
        raise Bad("its id is not the id of its name and key")
    return Key(name, bytes.fromhex(key_id), key[1:])


def open_note(note: bytes, key: Key) -> str:
    """The text of a note that this key signed."""
    try:
        whole = note.decode()
    except UnicodeDecodeError:
        raise Bad("it is not UTF-8 text") from None
    cut = whole.rfind("\n\n")
    if cut < 0 or len(note) > MAX_NOTE_BYTES or not whole.endswith("\n") or any(c < " " and c != "\n" for c in whole):
        raise Bad("it is not a signed note")
    text, verified = whole[: cut + 1], False
    for line in whole[cut + 2 : -1].split("\n"):
        dash, _, rest = line.partition(" ")
        name, _, encoded = rest.partition(" ")
        signature = _unbase64(encoded)
        if dash != "—" or not name or len(signature) < 5:
            raise Bad("it has a line after its text that is not a signature")
        if (name, signature[:4]) != (key.name, key.key_id):
            continue
        try:
            Ed25519PublicKey.from_public_bytes(key.public).verify(signature[4:], text.encode())
        except InvalidSignature:
            raise Bad("its signature does not verify: the text or the signature was changed") from None
        verified = True
    if not verified:
        raise Bad("the pinned key has not signed it")
    return text


def read_head(text: str) -> Head:
    """A checkpoint's text: origin, size and root, and perhaps the line that names the newest manifest."""
    lines = text.split("\n")
    if len(lines) not in (4, 5) or not lines[0] or lines[-1]:
        raise Bad("it is not a checkpoint of origin, size and root")
    line = re.fullmatch(r"manifest ([1-9][0-9]{0,15}) ([0-9a-f]{64})", lines[3]) if len(lines) == 5 else None
    if len(lines) == 5 and line is None:
        raise Bad("it has a line after its root that does not name a manifest")
    root = _unbase64(lines[2])
    if re.fullmatch(r"0|[1-9][0-9]{0,17}", lines[1]) is None or len(root) != 32:
        raise Bad("its size or root cannot be read")
    return Head(lines[0], int(lines[1]), root, (int(line[1]), line[2]) if line else None)


def hash_leaf(entry: bytes) -> bytes:
    """The hash of one entry."""
    return hashlib.sha256(b"\x00" + entry).digest()


def hash_root(hashes: Sequence[bytes]) -> bytes:
    """The root over these hashes: pair them level by level; an odd last one moves up as it is."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    row = list(hashes)
    while len(row) > 1:
        odd = row.pop() if len(row) % 2 else None
        row = [hashlib.sha256(b"\x01" + row[i] + row[i + 1]).digest() for i in range(0, len(row), 2)]
        if odd is not None:
            row.append(odd)
    return row[0]


def _unbase64(text: str) -> bytes:
    """Standard base64 in its one spelling; empty where it is anything else."""
    try:
        data = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return b""
    return data if base64.b64encode(data).decode() == text else b""
