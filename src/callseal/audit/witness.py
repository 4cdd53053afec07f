"""A witness's rule: it cosigns a checkpoint only if that extends the largest one of this log it has seen, and says so at a time.

C2SP tlog-witness, `add-checkpoint`; docs/spec/private-call.md section 4 for the manifest line. Invariants: nothing is cosigned
whose consistency with the last was not proved; a manifest line, once seen, neither disappears nor names a lower sequence; the
caller makes the new state durable before it answers.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from callseal.audit.checkpoint import Checkpoint, parse_checkpoint
from callseal.audit.cosignature import cosign
from callseal.audit.merkle import EMPTY_ROOT, verify_consistency
from callseal.audit.note import Verifier, open_note
from callseal.errors import TamperedError

PROOF_LIMIT: Final = 63
BODY_LIMIT_BYTES: Final = 64 << 10
_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})")
_MANIFEST = re.compile(r"manifest ([1-9][0-9]{0,15}) [0-9a-f]{64}")


@dataclass(frozen=True)
class Seen:
    """The largest checkpoint of one log that a witness has cosigned: size, root, and the newest manifest's sequence."""

    size: int = 0
    root: bytes = EMPTY_ROOT
    sequence: int = 0


@dataclass(frozen=True)
class Reply:
    """What is answered: HTTP status, content type, body; and the state to keep first, where it changed."""

    status: int
    body: str
    kind: str = "text/plain; charset=utf-8"
    state: Seen | None = None


def add_checkpoint(body: bytes, log: Verifier, seen: Seen, name: str, key: Ed25519PrivateKey, now: datetime) -> Reply:
    """Answer one `add-checkpoint` request for the one log that this witness knows. Never raises for what the request holds."""
    try:
        old, proof, note = _parse(body)
        checkpoint = parse_checkpoint(note.decode().rpartition("\n\n")[0] + "\n")
    except (TamperedError, ValueError) as error:
        return Reply(400, f"{error}\n")
    if checkpoint.origin != log.name:
        return Reply(404, "origin: expected the log that this witness knows\n")
    try:
        text = open_note(note, [log]).text
    except TamperedError:
        return Reply(403, "checkpoint: expected the log's signature\n")
    if old > checkpoint.size:
        return Reply(400, "old: expected at most the checkpoint's size\n")
    if old != seen.size:
        return _conflict(seen)
    try:
        if old:
            verify_consistency(old, checkpoint.size, seen.root, checkpoint.root, proof)
        sequence = _sequence_of(checkpoint)
        if sequence < seen.sequence:
            raise TamperedError("manifest: expected none older than one that was seen")
    except TamperedError as error:
        if old == checkpoint.size and checkpoint.root != seen.root:
            return _conflict(seen)
        return Reply(422, f"{error}\n")
    line = cosign(text, name, key, int(now.timestamp())).line()
    return Reply(200, line, state=Seen(checkpoint.size, checkpoint.root, sequence))


def _conflict(seen: Seen) -> Reply:
    return Reply(409, f"{seen.size}\n", "text/x.tlog.size")


def write_request(old: int, proof: list[bytes], note: bytes) -> bytes:
    """The body of an `add-checkpoint` request."""
    lines = [f"old {old}", *(base64.b64encode(item).decode() for item in proof)]
    return "".join(f"{line}\n" for line in lines).encode() + b"\n" + note


def _parse(body: bytes) -> tuple[int, list[bytes], bytes]:
    head, blank, note = body.partition(b"\n\n")
    lines = head.decode("ascii").split("\n")
    old = _OLD.fullmatch(lines[0])
    if not blank or old is None or len(body) > BODY_LIMIT_BYTES or len(lines) > 1 + PROOF_LIMIT:
        raise TamperedError("request: expected `old SIZE`, a proof, a blank line and a checkpoint")
    try:
        proof = [base64.b64decode(line, validate=True) for line in lines[1:]]
    except binascii.Error as error:
        raise TamperedError("proof: expected base64") from error
    if int(old.group(1)) == 0 and proof:
        raise TamperedError("proof: expected none from an empty log")
    return int(old.group(1)), proof, note


def _sequence_of(checkpoint: Checkpoint) -> int:
    """The newest manifest's sequence, 0 before the first. Raises TamperedError for a line that is none, or two."""
    if not checkpoint.extensions:
        return 0
    match = _MANIFEST.fullmatch(checkpoint.extensions[0])
    if len(checkpoint.extensions) != 1 or match is None:
        raise TamperedError("checkpoint: expected one manifest line")
    return int(match.group(1))
