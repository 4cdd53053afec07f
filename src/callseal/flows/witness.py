"""The log's newest checkpoint to the witness, and its cosignature back to where the call page's proofs are made.

C2SP tlog-witness; docs/spec/private-call.md section 4.
1. Read the checkpoint; nothing to do where it was cosigned a short while ago. 2. Prove that it extends what the witness saw last.
3. Ask. Where the witness has seen another size, prove from that. 4. Verify its cosignature, keep the cosigned note whole.

Invariant: what is kept verifies under the log's key and the witness's; a refusal is never passed over in silence (TamperedError).
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

from callseal.audit.checkpoint import parse_checkpoint
from callseal.audit.cosignature import CosignatureVerifier, parse_cosigner, timestamp_of
from callseal.audit.note import open_note, parse_vkey
from callseal.audit.tile import TileTree
from callseal.audit.witness import write_request
from callseal.errors import NotFound, TamperedError, Unavailable
from callseal.store.files import make_folder, write_atomic

AGAIN: Final = timedelta(minutes=10)
COSIGNED: Final = "cosigned"


class Asks(Protocol):
    """The witness: a request's body out, status and body back. Raises Unavailable."""

    async def add_checkpoint(self, body: bytes) -> tuple[int, bytes]: ...


class Witnessing:
    """Keeps `<folder>/cosigned` no older than the log. `key` reads the witness's verifier key, which may come later."""

    def __init__(self, log: Path, folder: Path, witness: Asks, key: Callable[[], CosignatureVerifier]) -> None:
        self._log, self._folder, self._witness, self._key = log, folder, witness, key
        self._size = 0

    def witness_key(self) -> CosignatureVerifier:
        """The witness's verifier key. Raises NotFound before it has started."""
        return self._key()

    async def step(self, now: datetime) -> bool:
        """One round; True where a new cosignature was kept. Raises Unavailable, TamperedError."""
        try:
            note = (self._log / "checkpoint").read_bytes()  # 1
        except FileNotFoundError:
            return False
        verifier = parse_vkey((self._log / "log.vkey").read_text(encoding="utf-8"))
        text = open_note(note, [verifier]).text
        if self._is_fresh(text, now):
            return False
        head = parse_checkpoint(text)
        if not head.size:
            return False
        status, reply = await self._ask(head.size, note)
        if status == 409:  # 3
            self._size = _read_size(reply)
            if self._size > head.size:
                raise TamperedError("witness: it has seen a longer log than ours: this log was cut, or is another's")
            status, reply = await self._ask(head.size, note)
        if status != 200:
            raise TamperedError(f"witness: expected its cosignature, got its refusal ({status})")
        signed = note + reply
        self._check(signed)  # 4
        make_folder(self._folder)
        write_atomic(self._folder / COSIGNED, signed)
        self._size = head.size
        return True

    async def _ask(self, size: int, note: bytes) -> tuple[int, bytes]:
        proof = TileTree(size, lambda path: _read(self._log, path)).consistency_proof(self._size)  # 2
        return await self._witness.add_checkpoint(write_request(self._size, proof, note))

    def _is_fresh(self, text: str, now: datetime) -> bool:
        try:
            opened = open_note((self._folder / COSIGNED).read_bytes(), [self._key()])
        except (FileNotFoundError, TamperedError):
            return False
        at = max(timestamp_of(signature.signature) for signature in opened.signed_by)
        return opened.text == text and now.timestamp() - at < AGAIN.total_seconds()

    def _check(self, note: bytes) -> None:
        try:
            open_note(note, [self._key()])
        except TamperedError as error:
            raise TamperedError("witness: expected a cosignature by the key that is pinned, got another") from error


def read_witness_key(path: Path) -> CosignatureVerifier:
    """The witness's verifier key from its file. Raises NotFound, TamperedError."""
    try:
        return parse_cosigner(path.read_text(encoding="utf-8").strip())
    except FileNotFoundError as error:
        raise NotFound("witness: expected its verifier key; is it running?") from error


def _read(folder: Path, path: str) -> bytes | None:
    try:
        return (folder / path).read_bytes()
    except FileNotFoundError:
        return None


def _read_size(reply: bytes) -> int:
    text = reply.decode("ascii", "replace").strip()
    if not text.isdecimal() or len(text) > 19:
        raise Unavailable("witness: expected a size")
    return int(text)
