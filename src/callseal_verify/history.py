"""What the log says happened to each part, row, hold, group and sealing card: the story that files are compared with.

Written from docs/spec/log-entry.md section 5.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from callseal_verify.entries import Entry
from callseal_verify.report import Report


@dataclass
class Part:
    """One part: the entry that adopted it, the one that sealed it, its newest row and group."""

    adopted: Entry
    row: str
    group: str | None
    sealed: Entry | None = None


@dataclass
class Excepted:
    """An exception from SRTP that two persons made: the digest of its terms, and the entry that ended it."""

    digest: str
    ended: int | None = None


@dataclass
class History:
    """The story so far."""

    parts: dict[tuple[str, int], Part] = field(default_factory=dict)
    cards: dict[int, Entry] = field(default_factory=dict)
    destroyed: dict[str, int] = field(default_factory=dict)
    groups: dict[str, int] = field(default_factory=dict)
    held: dict[str, set[str]] = field(default_factory=dict)
    final: dict[int, int] = field(default_factory=dict)
    certificates: set[str] = field(default_factory=set)
    exceptions: dict[str, Excepted] = field(default_factory=dict)
    newest: str = ""
    manifest: Entry | None = None

    def destroyed_by(self, recording: str, group: str | None) -> int | None:
        """The index of the entry that destroyed a recording, alone or with its group; a hold on it keeps it from the latter."""
        if recording in self.destroyed:
            return self.destroyed[recording]
        if group is not None and group in self.groups and not any(recording in held for held in self.held.values()):
            return self.groups[group]
        return None

    def is_final(self, index: int) -> bool:
        """True where the destruction at this index was logged as final."""
        return index in self.final


def follow(entries: Iterable[tuple[int, Entry]], report: Report) -> History:
    """Read the entries in order; findings where one contradicts those before it."""
    history = History()
    kinds: dict[str, int] = {}
    for index, entry in entries:
        kinds[entry["type"]] = kinds.get(entry["type"], 0) + 1
        history.newest = max(history.newest, entry["at"])
        if "certificate" in entry:
            history.certificates.add(entry["certificate"])
        _take(index, entry, history, report)
    for name, kind in (
        ("openings allowed", "OpeningAllowed"),
        ("openings denied", "OpeningDenied"),
        ("parts adopted", "PartAdopted"),
        ("parts sealed", "PartSealed"),
        ("exports", "ExportMade"),
    ):
        if kind in kinds:
            report.count(name, kinds[kind])
    return history


def _take(index: int, entry: Entry, history: History, report: Report) -> None:
    where = f"entry {index}"
    match entry["type"]:
        case "PartAdopted":
            _adopt(where, entry, history, report)
        case "PartMoved" | "PartSealed":
            part = history.parts.get((entry["what"], entry["part"]))
            if part is None:
                report.find("log entry", where, f"a {entry['type']} of a part that was never adopted")
            elif entry["type"] == "PartMoved":
                part.row, part.group = entry["row_sha256"], entry.get("group", part.group)
            elif part.sealed is not None and part.sealed["object_sha256"] != entry["object_sha256"]:
                report.find("log entry", where, "a part is sealed a second time as something else")
            else:
                part.sealed = entry
        case "CardIssued":
            history.cards[index] = entry
        case "HoldPlaced":
            history.held.setdefault(entry["hold"], set()).update([entry["what"]] if "what" in entry else [])
        case "HoldReleased":
            if "what" in entry:
                history.held.get(entry["hold"], set()).discard(entry["what"])
            else:
                history.held.pop(entry["hold"], None)
        case "ExceptionMade":
            history.exceptions[entry["what"]] = Excepted(entry["digest"])
        case "ExceptionEnded":
            if entry["what"] in history.exceptions:
                history.exceptions[entry["what"]].ended = index
        case "RecordingDestroyed":
            history.destroyed.setdefault(entry["what"], index)
            _finish(index, index, entry, history)
        case "GroupDestroyed":
            history.groups.setdefault(entry["group"], index)
            _finish(index, index, entry, history)
        case "ManifestPublished":
            before = history.manifest
            if entry["sequence"] != (before["sequence"] if before else 0) + 1 or (before and before["kid"] != entry["kid"]):
                report.find("log entry", where, "its manifest does not follow the one before it, or another root key signed it")
            history.manifest = entry
        case "DestructionFinal":
            if entry["index"] not in {*history.destroyed.values(), *history.groups.values()}:
                report.find("log entry", where, "it ends a destruction that was never logged")
            history.final[entry["index"]] = index


def _adopt(where: str, entry: Entry, history: History, report: Report) -> None:
    name = entry["what"], entry["part"]
    known = history.parts.get(name)
    if known is not None and known.adopted["header_sha256"] != entry["header_sha256"]:
        report.find("log entry", where, "a part is adopted a second time as something else")
        return
    sealed = known.sealed if known is not None else None
    history.parts[name] = Part(entry, entry["row_sha256"], entry.get("group"), sealed)


def _finish(index: int, at: int, entry: Entry, history: History) -> None:
    if entry["state"] == "final":
        history.final[index] = at
