"""Marks: every second of every track carries random bits of its own, so that a search of a disk can look for what was sent.

For tests. The lowest bits of each coded byte are replaced by random ones (three of A-law or mu-law: 48 random bits in any 16
bytes; two of G.722, those that a 48 kbit/s decoder ignores), and the speech stays intelligible. Contents that are random already
need none. Invariant: what is kept in a file of marks is what was sent, byte for byte; the file holds speech, so only its owner
may read it.
"""

import base64
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from callseal.errors import RequestError
from callseal.phone.codec import PACKETS_PER_SECOND


@dataclass(frozen=True)
class Mark:
    """The exact payloads of one second of one track of one call."""

    call: int
    label: str
    second: int
    payloads: tuple[bytes, ...]


def add_marks(payloads: Sequence[bytes], bits: int) -> list[bytes]:
    """The same payloads with their lowest `bits` bits (0 to 3) of each byte replaced by fresh random ones."""
    if not 0 <= bits <= 3:
        raise ValueError(f"bits: expected 0 to 3, got {bits}")
    if not bits:
        return list(payloads)
    mask = (1 << bits) - 1
    coded = np.frombuffer(b"".join(payloads), np.uint8)
    noise = np.frombuffer(os.urandom(len(coded)), np.uint8) & mask
    marked = (coded & (0xFF ^ mask) | noise).tobytes()
    ends = np.cumsum([len(payload) for payload in payloads]).tolist()
    return [marked[end - len(payload) : end] for end, payload in zip(ends, payloads, strict=True)]


def list_marks(call: int, labels: Sequence[str], tracks: Sequence[Sequence[bytes]]) -> list[Mark]:
    """What one call sends, by track and second."""
    return [
        Mark(call, label, start // PACKETS_PER_SECOND, tuple(payloads[start : start + PACKETS_PER_SECOND]))
        for label, payloads in zip(labels, tracks, strict=True)
        for start in range(0, len(payloads), PACKETS_PER_SECOND)
    ]


def write_marks(path: Path, marks: Sequence[Mark]) -> None:
    """Write marks as JSON lines, readable by their owner alone. Raises RequestError where the file exists or cannot be made."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise RequestError(f"marks: expected a path for a new file, got {path.name} ({error.strerror})") from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        for mark in marks:
            payloads = [base64.b64encode(payload).decode() for payload in mark.payloads]
            line = {"call": mark.call, "label": mark.label, "second": mark.second, "payloads": payloads}
            file.write(json.dumps(line) + "\n")


def read_marks(path: Path) -> list[Mark]:
    """Read what `write_marks` wrote. Raises RequestError."""
    try:
        return [
            Mark(line["call"], line["label"], line["second"], tuple(base64.b64decode(text) for text in line["payloads"]))
            for line in map(json.loads, path.read_text(encoding="utf-8").splitlines())
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RequestError(f"marks: expected a file that --marks wrote at {path.name}") from error
