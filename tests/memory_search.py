"""A search of a process's memory for keys: every 8-byte-aligned window of 32 bytes is tried as node, leaf and DEK of a part.

Written from docs/spec/keys.md and docs/spec/sealed-recording.md; it shares no code with the vault. A window that derives the
leaf of message n is a node of some height h above it (0: the leaf, 32: the DEK). If it covers message n, it also covers the
first leaf below it, a multiple of 2^h: so a window is tried on the first leaf alone, for every height, and none is missed.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

WINDOW = 32
STEP = 8
CORE_LENGTH = 60
PREFIX_LENGTH = 37
_TREE_INFO = b"callseal/v1/tree\x01"
_MESSAGE_INFO = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\x00"
_BATCH = 1 << 20


@dataclass(frozen=True)
class Region:
    """One mapping: where it begins, its bytes, and what the kernel calls it."""

    start: int
    content: bytes
    name: str


@dataclass(frozen=True)
class Found:
    """A window that opens message `number`: a node of `height` levels above its leaf, at `address`."""

    number: int
    height: int
    address: int
    region: str


def read_memory(pid: int) -> list[Region]:
    """Every writable mapping of a process, as root or its parent may read it. Stop the process first for a clean picture."""
    regions = []
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            match = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw\S+ \S+ \S+ \d+\s*(.*)", line)
            if not match or match[3] in ("[vvar]", "[vsyscall]"):
                continue
            start, end = int(match[1], 16), int(match[2], 16)
            memory.seek(start)
            parts = []
            while start + sum(map(len, parts)) < end:
                part = memory.read(end - start - sum(map(len, parts)))
                if not part:
                    break
                parts.append(part)
            regions.append(Region(start, b"".join(parts), match[3]))
    return regions


def candidate_windows(regions: Iterable[Region]) -> Iterator[tuple[bytes, int, str]]:
    """Each different aligned window that may be random, with one address and its region.

    Left out are windows with five zero bytes or more, with one of the eight bits set in under 3 or over 29 of the 32 bytes (text,
    addresses, numbers), or with fewer than 20 different bytes: of a million random keys that is not three.
    """
    seen: set[bytes] = set()
    for region in regions:
        content = np.frombuffer(region.content, dtype=np.uint8)
        for begin in range(0, len(content) - WINDOW + 1, _BATCH):
            part = content[begin : begin + _BATCH + WINDOW - STEP]
            rows = np.lib.stride_tricks.sliding_window_view(part, WINDOW)[::STEP]
            kept = np.flatnonzero(_may_be_random(part))
            ordered = np.sort(rows[kept], axis=1)
            kept = kept[(ordered[:, 1:] != ordered[:, :-1]).sum(axis=1) + 1 >= 20]
            for place in kept:
                window = rows[place].tobytes()
                if window not in seen:
                    seen.add(window)
                    yield window, region.start + begin + int(place) * STEP, region.name


def _may_be_random(part: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """For each aligned window: few zero bytes, and every bit set in some bytes and not in others. Counted a word at a time."""
    words = np.frombuffer(part[: len(part) - len(part) % STEP].tobytes(), np.uint64)
    low = np.uint64(0x0101010101010101)
    bits = [words >> np.uint64(bit) & low for bit in range(8)]
    filled = np.bitwise_or.reduce(bits)
    chosen = _over_window(np.bitwise_count(filled)) > WINDOW - 5
    for bit in bits:
        count = _over_window(np.bitwise_count(bit))
        chosen &= (count >= 3) & (count <= WINDOW - 3)
    return chosen


def _over_window(counts: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return counts[:-3] + counts[1:-2] + counts[2:-1] + counts[3:]


def known_windows(regions: Iterable[Region]) -> frozenset[bytes]:
    """What a process held before a part was begun: no key of that part can be among it, for they are drawn at its beginning."""
    return frozenset(window for window, _address, _name in candidate_windows(regions))


def find_keys(
    regions: Iterable[Region], header: bytes, messages: Mapping[int, bytes], known: frozenset[bytes] = frozenset()
) -> list[Found]:
    """Which windows open which of a part's messages, each by its first leaf. About 0.1 ms a window for ten messages.

    `known`: the windows of the same process before the part was begun, which need not be tried.
    """
    trials = _trials(hashlib.sha256(header[:CORE_LENGTH]).digest(), messages)
    found = []
    for window, address, name in candidate_windows(regions):
        if window in known:
            continue
        key = window
        for height in range(33):
            for number, info, commitment in trials[height]:
                if hmac.digest(key, info, "sha512")[44:64] == commitment:
                    found.append(Found(number, height, address, name))
            key = hmac.digest(key, _TREE_INFO, "sha512")[:32]
    return found


def _trials(core_digest: bytes, messages: Mapping[int, bytes]) -> list[list[tuple[int, bytes, bytes]]]:
    """By height: the messages that are a first leaf there, with what to derive and the 20 bytes of commitment to meet."""
    trials: list[list[tuple[int, bytes, bytes]]] = [[] for _ in range(33)]
    for number, message in messages.items():
        prefix, sealed = message[:PREFIX_LENGTH], message[PREFIX_LENGTH:]
        info = _MESSAGE_INFO + sealed[:24] + b"seg" + core_digest + prefix + b"\x01"
        for height in range(33):
            if number % (1 << height) == 0:
                trials[height].append((number, info, sealed[24:44]))
    return trials
