"""Opening a part: with the custodian's private key, or with the cover of some of its seconds.

Source: docs/spec/sealed-recording.md section 5. Imported by the custodian, by `web` for granted seconds, and by `transform`.
"""

from collections.abc import Iterable

from cryptography.exceptions import InvalidTag

from callseal.errors import TamperedError
from callseal.vault.cobblestone import decrypt
from callseal.vault.header import PartCore, hpke_suite, load_private_key, split_header
from callseal.vault.message import Kind, context_of, split_message
from callseal.vault.tree import KeyTree, Node


def open_header(header: bytes, private_key: bytes) -> tuple[PartCore, bytearray]:
    """The core and the DEK of a part. Raises TamperedError where the header was changed or is for another key."""
    core, sealed = split_header(header)
    try:
        dek = bytearray(hpke_suite().decrypt(sealed, load_private_key(private_key), core.info()))
    except (InvalidTag, ValueError) as error:
        raise TamperedError("header: its key does not open with this epoch's private key") from error
    if len(dek) != 32:
        raise TamperedError("header: expected a key of 32 bytes inside")
    return core, dek


class PartOpener:
    """Opens those messages of a part whose keys the nodes give."""

    def __init__(self, core: PartCore, nodes: Iterable[Node]) -> None:
        self._core_digest = core.digest()
        self._tree = KeyTree.from_nodes(nodes)

    def open(self, message: bytes, previous_commitment: bytes | None = None) -> tuple[int, Kind, bytes]:
        """Number, kind and plaintext of a message; `previous_commitment` is that of the message before, None for the first.

        Raises TamperedError where it was changed, moved or spliced, Destroyed where its key is not among the nodes.
        """
        number, kind, ciphertext = split_message(message)
        if (previous_commitment is None) != (number == 0):
            raise TamperedError(f"message {number}: expected the commitment of the message before it")
        previous = self._core_digest if previous_commitment is None else previous_commitment
        plaintext = decrypt(self._tree.leaf(number), context_of(self._core_digest, number, kind, previous), ciphertext)
        return number, kind, plaintext
