"""Words beside the log: reasons and cases, sealed under the recording they are about, so that they die with it.

Keys-and-recordings section 7; docs/spec/log-entry.md. An entry carries `detail` = SHA-256(label ‖ salt ‖ words); the words lie in
`log/details/<first index>.jsonl` as C256(Ex(leaf, "detail", 32), "detail" ‖ u64 index, salt ‖ words).
Invariants: append-only and durable before its entry; a record without its entry (a kill in between) is passed over by its digest.
"""

import json
import os
import struct
from pathlib import Path
from typing import Any

from callseal.audit import canonical
from callseal.audit.entry import SALT_BYTES, detail_digest
from callseal.custodian.durable import append_line, make_folder
from callseal.errors import TamperedError, Unavailable
from callseal.model.message import to_bytes, to_text
from callseal.vault.cobblestone import decrypt, encrypt
from callseal.vault.expand import KEY_LENGTH, expand

PER_FILE = 4096
_INDEX = struct.Struct(">Q")


class Details:
    """The folder of sealed words."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        make_folder(folder)

    def keep(self, index: int, leaf: bytes, words: dict[str, Any]) -> str:
        """Seal the words of the entry that will have this index; returns the digest that it carries. Raises Unavailable."""
        plain = canonical.encode(words)
        salt = os.urandom(SALT_BYTES)
        self._write(index, leaf, salt + plain)
        return detail_digest(salt, plain)

    def read(self, index: int, leaf: bytes, digest: str) -> dict[str, Any] | None:
        """The words of an entry, or None where none were kept under this leaf. Raises TamperedError."""
        plain = self._find(index, leaf, digest)
        return None if plain is None else canonical.decode(plain[SALT_BYTES:])

    def reseal(self, index: int, old: bytes, new: bytes, digest: str) -> None:
        """Seal the words of an entry again, under the leaf that its recording moves to."""
        plain = self._find(index, old, digest)
        if plain is not None:
            self._write(index, new, plain)

    def _write(self, index: int, leaf: bytes, plain: bytes) -> None:
        sealed = encrypt(expand(leaf, "detail", KEY_LENGTH), b"detail" + _INDEX.pack(index), plain)
        line = json.dumps({"index": index, "sealed": to_text(sealed)}, separators=(",", ":")).encode() + b"\n"
        try:
            append_line(self._path(index), line)
        except OSError as error:
            raise Unavailable(f"log details: expected a durable write, got {error.strerror}") from error

    def _find(self, index: int, leaf: bytes, digest: str) -> bytes | None:
        path = self._path(index)
        if not path.exists():
            return None
        for line in path.read_bytes().splitlines():
            try:
                record = json.loads(line)
                if record["index"] != index:
                    continue
                sealed = to_bytes(record["sealed"], "sealed")
                plain = decrypt(expand(leaf, "detail", KEY_LENGTH), b"detail" + _INDEX.pack(index), sealed)
            except (TamperedError, ValueError, KeyError):
                continue
            if detail_digest(plain[:SALT_BYTES], plain[SALT_BYTES:]) == digest:
                return plain
        return None

    def _path(self, index: int) -> Path:
        return self._folder / f"{index // PER_FILE * PER_FILE:012d}.jsonl"
