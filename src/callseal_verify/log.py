"""The log on disk: every bundle and tile against the signed checkpoint, and what may be believed of its entries.

Written from C2SP tlog-tiles and docs/spec/log-entry.md. All entries are read and the whole tree is computed anew; where entries
and tiles differ, the signed root says which of them was changed.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from callseal_verify.report import Report
from callseal_verify.source import Source
from callseal_verify.tlog import Bad, Head, Key, hash_leaf, hash_root, open_note, read_head, read_key

WIDTH = 256
_PATH = re.compile(r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")
_OTHER = {"checkpoint", "log.vkey", "origin"}


@dataclass
class Log:
    """What the checkpoint proves: entries by index (None where an entry was changed or is missing), and their leaf hashes."""

    head: Head
    key: Key
    entries: list[bytes | None]
    hashes: list[bytes]


def read_log(source: Source, folder: str, pinned: str | None, report: Report) -> Log | None:
    """Read and verify a log folder. None (and findings) where its checkpoint cannot be believed."""
    key = _find_key(source, folder, pinned, report)
    head = _open_checkpoint(source, f"{folder}/checkpoint", key, report) if key else None
    if key is None or head is None:
        return None
    origin = source.read(f"{folder}/origin")
    if origin is not None and origin.decode(errors="replace").removesuffix("\n") != head.origin:
        report.find("log", f"{folder}/origin", "it names another log than the checkpoint")
    if head.size > 1 << 32:
        report.find("checkpoint", f"{folder}/checkpoint", "it claims more entries than can be read here")
        return None
    report.head = {"origin": head.origin, "size": head.size, "root": head.root.hex(), "vkey": f"{key.name}+{key.key_id.hex()}"}
    log = _read_entries(source, folder, head, key, report)
    _check_tiles(source, folder, log, report)
    report.count("log entries, each hashed and included in the signed root", sum(entry is not None for entry in log.entries))
    return log


def check_since(source_bytes: bytes, name: str, log: Log, report: Report) -> None:
    """An older checkpoint, kept elsewhere, must be of this log, and the log must begin with what it signed."""
    try:
        old = read_head(open_note(source_bytes, log.key))
    except Bad as error:
        report.find("older checkpoint", name, f"it cannot be believed: {error}")
        return
    if old.origin != log.head.origin:
        report.find("older checkpoint", name, "it is of another log")
    elif old.size > log.head.size:
        report.find("log", "checkpoint", f"the log was cut: it had {old.size} entries and now has {log.head.size}")
    elif hash_root(log.hashes[: old.size]) != old.root:
        report.find("log", f"first {old.size} entries", "it was rewritten: the older checkpoint signed others")
    else:
        report.count("entries in the older checkpoint, of which the log is a continuation", old.size)


def _find_key(source: Source, folder: str, pinned: str | None, report: Report) -> Key | None:
    own = source.read(f"{folder}/log.vkey")
    try:
        if pinned is not None:
            key = read_key(pinned)
            if own is not None and own.decode(errors="replace").removesuffix("\n") != pinned.strip():
                report.find("log key", f"{folder}/log.vkey", "it is not the pinned key")
            return key
        if own is None:
            report.find("log key", f"{folder}/log.vkey", "it is missing, and no key was given")
            return None
        report.note("log key", f"{folder}/log.vkey", "the folder's own key was used; keep a copy elsewhere, for --vkey")
        return read_key(own.decode(errors="replace").removesuffix("\n"))
    except Bad as error:
        report.find("log key", "the key given" if pinned is not None else f"{folder}/log.vkey", str(error))
        return None


def _open_checkpoint(source: Source, name: str, key: Key, report: Report) -> Head | None:
    note = source.read(name)
    if note is None:
        report.find("checkpoint", name, "it is missing: nothing in this log is proved")
        return None
    try:
        head = read_head(open_note(note, key))
    except Bad as error:
        report.find("checkpoint", name, str(error))
        return None
    if head.origin != key.name:
        report.find("checkpoint", name, "its origin is not the name of the key that signed it")
    return head


def _read_entries(source: Source, folder: str, head: Head, key: Key, report: Report) -> Log:
    """Entries and level 0, each against the other, and both against the signed root."""
    entries: list[bytes | None] = []
    tiled: list[bytes | None] = []
    for index in range((head.size + WIDTH - 1) // WIDTH):
        width = min(WIDTH, head.size - index * WIDTH)
        entries += _read_bundle(source, folder, index, width, report)
        tiled += _read_tile(source, folder, 0, index, width, report)
    computed = [hash_leaf(entry) if entry is not None else None for entry in entries]
    for candidate in (_filled(computed, tiled), _filled(tiled, computed)):
        if candidate is not None and hash_root(candidate) == head.root:
            _name_differences(folder, candidate, computed, tiled, report)
            return Log(head, key, _believed(entries, candidate), candidate)
    report.find("log", f"{folder}/tile", "neither the entries nor the tiles give the root that the checkpoint signs")
    _name_differences(folder, None, computed, tiled, report)
    hashes = [leaf or tile or bytes(32) for leaf, tile in zip(computed, tiled, strict=True)]
    return Log(head, key, _believed(entries, tiled), hashes)


def _believed(entries: Sequence[bytes | None], hashes: Sequence[bytes | None]) -> list[bytes | None]:
    """The entries that hash to what they should; None in place of the others."""
    both = zip(entries, hashes, strict=True)
    return [entry if entry is not None and hash_leaf(entry) == leaf else None for entry, leaf in both]


def _filled(first: Sequence[bytes | None], second: Sequence[bytes | None]) -> list[bytes] | None:
    """The first, with holes filled from the second; None where a hole remains."""
    filled = [one if one is not None else two for one, two in zip(first, second, strict=True)]
    return [leaf for leaf in filled if leaf is not None] if None not in filled else None


def _name_differences(
    folder: str, right: Sequence[bytes] | None, computed: Sequence[bytes | None], tiled: Sequence[bytes | None], report: Report
) -> None:
    for index, (leaf, tile) in enumerate(zip(computed, tiled, strict=True)):
        entry, place = f"entry {index} in {folder}/{_spell('entries', index // WIDTH)}", f"{folder}/{_spell('0', index // WIDTH)}"
        if right is None and leaf is not None and tile is not None and leaf != tile:
            report.find("log entry", entry, "it does not hash to what its tile holds: one of them was changed")
        if right is not None and leaf is not None and leaf != right[index]:
            report.find("log entry", entry, "it was changed or swapped: it does not hash to what the checkpoint signs")
        if right is not None and tile is not None and tile != right[index]:
            report.find("log tile", place, f"its hash of entry {index} was changed: it is not what the checkpoint signs")


def _read_bundle(source: Source, folder: str, index: int, width: int, report: Report) -> list[bytes | None]:
    name, data = _read_either(source, folder, "entries", index, width)
    if data is None:
        report.find("log entries", name, "the file is missing")
        return [None] * width
    entries = split_bundle(data)
    whole = width if name.endswith(f".p/{width}") else WIDTH
    if entries is None or len(entries) != whole:
        report.find("log entries", name, f"it was cut or added to: it does not hold {whole} whole entries")
        entries = entries or []
    return [*entries[:width], *[None] * (width - len(entries))]


def _read_tile(source: Source, folder: str, level: int, index: int, width: int, report: Report) -> list[bytes | None]:
    name, data = _read_either(source, folder, str(level), index, width)
    if data is None:
        report.find("log tile", name, "the file is missing")
        return [None] * width
    whole = width if name.endswith(f".p/{width}") else WIDTH
    if len(data) != whole * 32:
        report.find("log tile", name, f"it was cut or added to: it does not hold {whole} hashes")
    hashes: list[bytes | None] = [data[i : i + 32] for i in range(0, len(data) - 31, 32)]
    return [*hashes[:width], *[None] * (width - len(hashes))]


def _read_either(source: Source, folder: str, level: str, index: int, width: int) -> tuple[str, bytes | None]:
    """A partial tile, or the full one that came after it."""
    name = f"{folder}/{_spell(level, index)}"
    partial = f"{name}.p/{width}" if width < WIDTH else name
    data = source.read(partial)
    if data is None and width < WIDTH:
        full = source.read(name)
        if full is not None:
            return name, full
    return partial, data


def split_bundle(data: bytes) -> list[bytes] | None:
    """Entries with a big-endian uint16 length before each; None where it does not end with an entry."""
    entries, at = [], 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 2])
        entry = data[at + 2 : at + 2 + length]
        if at + 2 > len(data) or len(entry) != length:
            return None
        entries.append(entry)
        at += 2 + length
    return entries


def _check_tiles(source: Source, folder: str, log: Log, report: Report) -> None:
    """Every file there is: hashes of each level, and partial ones of earlier sizes, against what the entries give."""
    levels = [log.hashes]
    while len(levels[-1]) >= WIDTH:
        levels.append([hash_root(levels[-1][i : i + WIDTH]) for i in range(0, len(levels[-1]) - WIDTH + 1, WIDTH)])
    for level in range(1, len(levels)):
        for index in range((len(levels[level]) + WIDTH - 1) // WIDTH):
            _read_tile(source, folder, level, index, min(WIDTH, len(levels[level]) - index * WIDTH), report)
    ahead = 0
    for name in source.names(folder):
        match = _PATH.fullmatch(name.removeprefix(folder + "/"))
        if match is None:
            _name_stranger(name, folder, report)
            continue
        index, width = int(match[2].replace("/", "").replace("x", "")), int(match[3] or WIDTH)
        level = 0 if match[1] == "entries" else int(match[1])
        row: Sequence[bytes] = levels[level] if level < len(levels) else []
        if index * WIDTH + width > len(row):
            ahead += 1
            continue
        report.count("log files, each compared with the signed root")
        _compare(name, source.read(name) or b"", match[1], row[index * WIDTH : index * WIDTH + width], report)
    if ahead:
        why = f"{ahead} files lie ahead of the checkpoint: an append that is not finished, which proves nothing"
        report.note("log", f"{folder}/tile", why)


def _compare(name: str, data: bytes, level: str, right: Sequence[bytes], report: Report) -> None:
    if level != "entries":
        if data != b"".join(right):
            report.find("log tile", name, "it was changed: its hashes are not those that the checkpoint signs")
        return
    entries = split_bundle(data)
    if entries is None or [hash_leaf(entry) for entry in entries] != list(right):
        report.find("log entries", name, "it was changed: its entries are not those that the checkpoint signs")


def _name_stranger(name: str, folder: str, report: Report) -> None:
    base = name.rsplit("/", 1)[-1]
    if name.removeprefix(folder + "/") in _OTHER or name.startswith(f"{folder}/details/"):
        return
    if base.startswith("."):
        report.note("log", name, "a file that was being written when its writer was stopped; it proves nothing")
    else:
        report.find("log", name, "it is not a file of a log")


def _spell(level: str, index: int) -> str:
    digits = f"{index:03d}".rjust((len(f"{index:03d}") + 2) // 3 * 3, "0")
    groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
    return f"tile/{level}/" + "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
