"""Opening a part: its header with the custodian's private key, its messages with the nodes of some of its leaves.

docs/spec/sealed-recording.md section 5; docs/spec/keys.md section 4.
Invariants: imported by the custodian, by web for granted seconds, and by transform; nothing is returned before it verifies.
"""

import hashlib
import hmac
from collections.abc import Iterable
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from callseal.errors import TamperedError
from callseal.vault import cobblestone
from callseal.vault.expand import KEY_LENGTH, Buffer
from callseal.vault.header import PartCore, hpke_suite, split_header
from callseal.vault.message import PREFIX_LENGTH, Kind, context_of, split_message
from callseal.vault.tree import KeyTree, Node

PRIVATE_KEY_LENGTH = 96
"""ML-KEM-768 seed (64 bytes), then the X25519 private key (32)."""

_SEED_LENGTH = 64


class Opened(NamedTuple):
    """A message that verified."""

    number: int
    kind: Kind
    plaintext: bytes


def new_key_pair() -> tuple[bytes, bytes]:
    """A new epoch's private key (96 bytes, for the keystore alone) and public key (1,216 bytes, for the sealing card)."""
    lattice, curve = MLKEM768PrivateKey.generate(), X25519PrivateKey.generate()
    private = lattice.private_bytes_raw() + curve.private_bytes_raw()
    return private, _public_bytes(lattice, curve)


def open_header(header: bytes, private_key: Buffer) -> tuple[PartCore, bytearray]:
    """Core and 32-byte DEK of a part. TamperedError when the header is not authentic or was sealed to another key."""
    core, sealed = split_header(header)
    if len(private_key) != PRIVATE_KEY_LENGTH:
        raise TamperedError(f"private key: expected {PRIVATE_KEY_LENGTH} bytes, got {len(private_key)}")
    lattice = MLKEM768PrivateKey.from_seed_bytes(bytes(private_key[:_SEED_LENGTH]))
    curve = X25519PrivateKey.from_private_bytes(bytes(private_key[_SEED_LENGTH:]))
    if not hmac.compare_digest(core.key_digest, hashlib.sha256(_public_bytes(lattice, curve)).digest()):
        raise TamperedError("header: expected one sealed to this epoch's key, got one sealed to another")
    try:
        dek = bytearray(hpke_suite().decrypt(sealed, hpke.MLKEM768X25519PrivateKey(lattice, curve), core.info()))
    except (InvalidTag, ValueError):
        raise TamperedError("header: expected a key sealed for this core, got one that does not verify") from None
    if len(dek) != KEY_LENGTH:
        raise TamperedError(f"header: expected a DEK of {KEY_LENGTH} bytes, got {len(dek)}")
    return core, dek


class PartOpener:
    """Opens those messages of a part whose leaves the nodes give."""

    def __init__(self, core: PartCore, nodes: Iterable[Node]) -> None:
        self._core_digest = core.digest()
        self._tree = KeyTree.from_nodes(nodes)

    def open(self, message: bytes, previous_commitment: bytes | None = None) -> Opened:
        """The plaintext of a message, verified with its number, kind and predecessor.

        A reader that goes from message to message gives the commitment of the one before, and so finds a cut; `None` after a
        seek or a hole. TamperedError when anything was changed, moved or spliced, Destroyed when no node gives its leaf.
        """
        parts = split_message(message)
        expected = self._core_digest if parts.number == 0 else previous_commitment
        if expected is not None and not hmac.compare_digest(parts.previous, expected):
            raise TamperedError(f"message {parts.number}: expected it to name the one before it, got another predecessor")
        context = context_of(self._core_digest, message[:PREFIX_LENGTH])
        return Opened(parts.number, parts.kind, cobblestone.decrypt(self._tree.leaf(parts.number), context, parts.ciphertext))


def _public_bytes(lattice: MLKEM768PrivateKey, curve: X25519PrivateKey) -> bytes:
    return lattice.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()
