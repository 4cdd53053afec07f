"""Searches files and raw devices for speech that was sent: any 16 bytes in a row of any payload, in every form it might lie in.

Forms: the codec's bytes as sent; base64 (both alphabets, every alignment); hex (both cases); linear PCM of G.711 (16-bit, little
and big endian). What is found for certain is a run, somewhere in a file, of at least WINDOW needle bytes of one form:

    raw 16 bytes = 16 payload bytes; base64 20 characters (any 16 payload bytes give 20 that depend on nothing around them);
    hex 32 characters = 16 payload bytes; PCM 32 bytes = 16 samples.

How: a run of 16 bytes or more at any offset holds a whole word of 8 that lies aligned in the haystack (8 + 7 <= 16). So every word
of the needle, at every offset, goes into one sorted table, the haystack is looked up word by word (a bit table first, then the
sorted one), and each candidate is compared byte for byte and reported only when the run is WINDOW long.

Not found: compressed or encrypted copies (that is the point), copies cut by line breaks into less than a window, and runs so plain
that anything holds them (fewer than 4 different bytes): marks make those vanishingly rare.
"""

import base64
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

CHUNK_BYTES = 8 << 20
MAX_HITS_IN_ONE_FILE = 20
MIN_DIFFERENT_BYTES = 4
_OVERLAP = 64
_NOTHING = bytes(CHUNK_BYTES + _OVERLAP)
_WORD = 8
_STEP_WORDS = 1 << 15
_MIX = np.uint64(0x9E3779B97F4A7C15)
_Words = NDArray[np.uint64]


@dataclass(frozen=True)
class Hit:
    """A run of speech that was found: where, in what form, how many bytes of that form."""

    path: Path
    offset: int
    form: str
    length: int


def _a_law_linear() -> NDArray[np.int16]:
    """ITU-T G.711 table 1, as it expands: written apart from the product's table."""
    linear = np.empty(256, np.int16)
    for code in range(256):
        value = code ^ 0x55
        exponent, mantissa = value >> 4 & 7, value & 15
        magnitude = (mantissa << 4) + 8 if exponent == 0 else (mantissa << 4) + 0x108 << exponent - 1
        linear[code] = magnitude if value & 0x80 else -magnitude
    return linear


def _mu_law_linear() -> NDArray[np.int16]:
    """ITU-T G.711 table 2."""
    linear = np.empty(256, np.int16)
    for code in range(256):
        value = code ^ 0xFF
        magnitude = ((value & 15) << 3) + 0x84 << (value >> 4 & 7)
        linear[code] = 0x84 - magnitude if value & 0x80 else magnitude - 0x84
    return linear


def _base64(stream: bytes, urlsafe: bool) -> Iterator[bytes]:
    """The characters that depend on the stream alone, after 0, 1 or 2 other bytes."""
    for before in range(3):
        bits = 8 * (before + len(stream))
        whole = bytes(before) + stream + bytes(-(before + len(stream)) % 3)
        text = base64.urlsafe_b64encode(whole) if urlsafe else base64.b64encode(whole)
        yield text[-(-8 * before // 6) : bits // 6]


def _pcm(law: NDArray[np.int16]) -> Callable[[bytes], Iterator[bytes]]:
    def forms(stream: bytes) -> Iterator[bytes]:
        samples = law[np.frombuffer(stream, np.uint8)]
        yield samples.astype("<i2").tobytes()
        yield samples.astype(">i2").tobytes()

    return forms


FORMS: dict[str, tuple[int, Callable[[bytes], Iterator[bytes]]]] = {
    "raw": (16, lambda stream: iter((stream,))),
    "base64": (20, lambda stream: _base64(stream, urlsafe=False)),
    "base64url": (20, lambda stream: _base64(stream, urlsafe=True)),
    "hex": (32, lambda stream: iter((stream.hex().encode(), stream.hex().upper().encode()))),
    "PCM of A-law": (32, _pcm(_a_law_linear())),
    "PCM of mu-law": (32, _pcm(_mu_law_linear())),
}
"""Window in bytes of the form, and how a stream of payload bytes is written in it."""


def forms_for(codec: str) -> tuple[str, ...]:
    """The forms to look for: linear PCM only of the law that was sent."""
    pcm = {"PCMA": ("PCM of A-law",), "PCMU": ("PCM of mu-law",)}
    return "raw", "base64", "base64url", "hex", *pcm.get(codec, ())


class _Needles:
    """Every word of every form at every offset, sorted, with where it came from."""

    def __init__(self, forms: Sequence[str], streams: Sequence[bytes]) -> None:
        gap = bytes(_OVERLAP)
        texts = [(form, text) for form in forms for stream in streams for text in FORMS[form][1](stream)]
        self._data = np.frombuffer(gap + gap.join(text for _, text in texts) + gap, np.uint8)
        self._ends = np.cumsum([_OVERLAP + len(text) for _, text in texts])
        self._forms = [form for form, _ in texts]
        words, starts = [], []
        for offset in range(_WORD):
            found = np.frombuffer(self._data[offset : len(self._data) - (len(self._data) - offset) % _WORD].tobytes(), np.uint64)
            rich = np.flatnonzero(found != (found & np.uint64(0xFF)) * np.uint64(0x0101010101010101))
            words.append(found[rich])
            starts.append((rich * _WORD + offset).astype(np.uint32))
        order = np.argsort(joined := np.concatenate(words))
        self._words, self._starts = joined[order], np.concatenate(starts)[order]
        self._shift = np.uint64(64 - min(30, max(16, (64 * len(order)).bit_length())))
        self._bits = np.zeros(1 << (61 - int(self._shift)), np.uint8)
        places = self._words * _MIX >> self._shift
        np.bitwise_or.at(self._bits, places >> np.uint64(3), np.uint8(1) << (places & np.uint64(7)).astype(np.uint8))

    def candidates(self, words: _Words) -> Iterator[int]:
        """Byte offsets of the haystack's aligned words that are among ours."""
        for first in range(0, len(words) if len(self._words) else 0, _STEP_WORDS):
            part = words[first : first + _STEP_WORDS]
            places = part * _MIX >> self._shift
            maybe = np.flatnonzero(self._bits[places >> np.uint64(3)] >> (places & np.uint64(7)).astype(np.uint8) & 1)
            at = np.minimum(np.searchsorted(self._words, part[maybe]), len(self._words) - 1)
            yield from ((first + maybe[self._words[at] == part[maybe]]) * _WORD).tolist()

    def longest_run(self, haystack: NDArray[np.uint8], at: int) -> tuple[str, int, int]:
        """Form, offset and length of the run around a candidate that equals most of ours (up to 64 bytes each way)."""
        word = haystack[at : at + _WORD].view(np.uint64)[0]
        first, last = np.searchsorted(self._words, word, "left"), np.searchsorted(self._words, word, "right")
        before = min(at, _OVERLAP - _WORD)
        theirs = haystack[at - before : at + _OVERLAP]
        best = ("", at, 0)
        for start in self._starts[first:last].tolist():
            same = self._data[start - before : start - before + len(theirs)]
            same = same == theirs[: len(same)]
            left, right = _run_length(same[:before][::-1]), _run_length(same[before:])
            form = self._forms[int(np.searchsorted(self._ends, start, "right"))]
            if left + right > max(best[2], FORMS[form][0] - 1):
                best = (form, at - left, left + right)
        return best


def _run_length(same: NDArray[np.bool_]) -> int:
    differs = np.flatnonzero(~same)
    return int(differs[0]) if len(differs) else len(same)


@dataclass
class PlaintextSearch:
    """A search for some payloads: `streams` are what each track sent, in order, joined. Build once, search often."""

    streams: Sequence[bytes]
    forms: Sequence[str] = tuple(FORMS)
    searched_bytes: int = 0
    unreadable: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._needles = _Needles(self.forms, self.streams)

    def search(self, paths: Iterable[Path], exclude: Iterable[Path] = ()) -> list[Hit]:
        """Search files, folders (everything below, links not followed, one file system at a time) and block devices.

        `exclude` names files that hold the needles on purpose, such as the file of marks. What could not be read is kept in
        `unreadable`, because a search that skipped something must be able to say so.
        """
        excluded = {path.resolve() for path in exclude}
        return [
            hit for path in paths for file in _files(path) if file.resolve() not in excluded for hit in self._search_file(file)
        ]

    def search_bytes(self, data: bytes, path: Path = Path("memory")) -> list[Hit]:
        """Search bytes in memory."""
        return self._search_chunk(data, 0, path)

    def _search_file(self, path: Path) -> list[Hit]:
        hits: list[Hit] = []
        try:
            with path.open("rb", buffering=0) as file:
                tail, base = b"", 0
                while len(hits) < MAX_HITS_IN_ONE_FILE and (data := file.read(CHUNK_BYTES)):
                    self.searched_bytes += len(data)
                    data = tail + data
                    known = {(hit.form, hit.offset + hit.length) for hit in hits} | {(hit.form, hit.offset) for hit in hits}
                    hits += [hit for hit in self._search_chunk(data, base, path) if (hit.form, hit.offset) not in known]
                    keep = min(len(data), _OVERLAP)
                    tail, base = data[-keep:], base + len(data) - keep
        except OSError:
            self.unreadable.append(path)
        return hits

    def _search_chunk(self, data: bytes, base: int, path: Path) -> list[Hit]:
        if data == _NOTHING[: len(data)]:
            return []
        padded = data + bytes(-len(data) % _WORD)
        haystack = np.frombuffer(padded, np.uint8)
        hits: list[Hit] = []
        for at in self._needles.candidates(np.frombuffer(padded, np.uint64)):
            form, offset, length = self._needles.longest_run(haystack, at)
            hit = Hit(path, base + offset, form, length)
            if form and hit not in hits and len(np.unique(haystack[offset : offset + length])) >= MIN_DIFFERENT_BYTES:
                hits.append(hit)
                if len(hits) >= MAX_HITS_IN_ONE_FILE:
                    break
        return hits


def search(paths: Iterable[Path], payloads: Sequence[Sequence[bytes]], exclude: Iterable[Path] = ()) -> list[Hit]:
    """Search once for the payloads of some tracks, in every form."""
    return PlaintextSearch([b"".join(track) for track in payloads]).search(paths, exclude)


def _files(path: Path) -> Iterator[Path]:
    try:
        mode = path.stat().st_mode
    except OSError:
        return
    if stat.S_ISREG(mode) or stat.S_ISBLK(mode):
        yield path
        return
    if not stat.S_ISDIR(mode):
        return
    device = path.stat().st_dev
    for folder, folders, names in os.walk(path):
        folders[:] = [name for name in folders if _is_on(Path(folder, name), device)]
        for name in names:
            found = Path(folder, name)
            if found.is_file() and not found.is_symlink():
                yield found


def _is_on(folder: Path, device: int) -> bool:
    try:
        return not folder.is_symlink() and folder.stat().st_dev == device
    except OSError:
        return False
