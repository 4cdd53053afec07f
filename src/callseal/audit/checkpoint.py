"""Checkpoints: what the log's key says the log's size and root are.

C2SP tlog-checkpoint (c2sp.org/tlog-checkpoint). Invariant: a checkpoint is believed only when the log's own key signed it and its
origin is the one expected.
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass

from callseal.audit.merkle import HASH_BYTES, MAX_SIZE
from callseal.audit.note import NoteVerifier, Signer, open_note, sign_note
from callseal.errors import TamperedError

MAX_LINES = 16


@dataclass(frozen=True)
class Checkpoint:
    """The head of a log: origin, number of entries, root hash (32 bytes), extension lines (ours: the newest manifest)."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def text(self) -> str:
        """The note text."""
        root = base64.b64encode(self.root).decode()
        return "".join(f"{line}\n" for line in (self.origin, str(self.size), root, *self.extensions))


def parse_checkpoint(text: str) -> Checkpoint:
    """Read a checkpoint's note text, nothing verified; raises TamperedError."""
    lines = text.split("\n")
    if len(lines) < 4 or lines[-1] or not all(lines[:-1]) or len(lines) > MAX_LINES:
        raise TamperedError("checkpoint: expected origin, size and root, each on a line")
    origin, size, root, *extensions = lines[:-1]
    if not (size.isascii() and size.isdecimal()) or len(size) > 19 or str(int(size)) != size or int(size) > MAX_SIZE:
        raise TamperedError("checkpoint: expected a decimal size")
    try:
        digest = base64.b64decode(root, validate=True)
    except (ValueError, binascii.Error) as error:
        raise TamperedError("checkpoint: expected a root in base64") from error
    if len(digest) != HASH_BYTES or base64.b64encode(digest).decode() != root:
        raise TamperedError(f"checkpoint: expected a root of {HASH_BYTES} bytes")
    return Checkpoint(origin, int(size), digest, tuple(extensions))


def sign_checkpoint(checkpoint: Checkpoint, signer: Signer) -> bytes:
    """The signed note; deterministic (RFC 8032), so one head has one note."""
    return sign_note(checkpoint.text(), signer)


def open_checkpoint(note: bytes, verifiers: Sequence[NoteVerifier], origin: str) -> Checkpoint:
    """Verify and read a checkpoint of this origin; raises TamperedError."""
    checkpoint = parse_checkpoint(open_note(note, verifiers).text)
    if checkpoint.origin != origin:
        raise TamperedError("checkpoint: expected this log's origin, got another's")
    return checkpoint
