"""What the log says of each recording, by recording: read once from the log at the start, and kept as entries are appended.

Invariant: it holds nothing that is not in the log, so that it can always be made again; it is never written to disk.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from callseal.model.clock import parse_time

_SHOWN = {
    "OpeningAllowed", "OpeningDenied", "ExportMade", "ExportGone", "HoldPlaced", "HoldReleased", "RecordingDestroyed",
    "PartMoved",
}  # fmt: skip
_DESTROYS_CELL = {"EpochDestroyed", "GroupDestroyed", "RecordingDestroyed"}
ENTRY_LIMIT = 1000


@dataclass
class Known:
    """One recording: where its leaf is, its parts by number (header and object digests), and the entries about it."""

    group: str
    leaf: int
    headers: dict[int, str] = field(default_factory=dict)
    objects: dict[int, str] = field(default_factory=dict)
    messages: dict[int, int] = field(default_factory=dict)
    duration_ms: int | None = None
    destroyed: bool = False
    same_call_as: str | None = None
    """The first recording of the same call, where it was recorded twice."""


@dataclass
class Export:
    """A copy that was allowed out: the entry that allowed it, the digest of its file, the entry that confirmed its end."""

    recording: str
    entry: dict[str, Any]
    digest: str | None = None
    gone: dict[str, Any] | None = None
    gone_index: int | None = None


@dataclass
class Excepted:
    """An exception from SRTP that was asked for and has not ended: who asked it and who made it so, with its digest."""

    index: int
    digest: str
    by: str
    asked_at: datetime
    detail: str | None = None
    made: bool = False
    approved_by: str | None = None
    made_at: datetime | None = None


class History:
    """The index over the log's entries."""

    def __init__(self) -> None:
        self.recordings: dict[str, Known] = {}
        self.last: dict[str, int] = {}
        self.cell = 0
        self.destroyed_cell = 0
        self.erased: list[datetime] = []
        self.devices: dict[str, dict[str, Any]] = {}
        self.manifest: dict[str, Any] | None = None
        self.manifest_index = 0
        self.exports: dict[int, Export] = {}
        self.exceptions: dict[str, Excepted] = {}
        self._entries: dict[str, list[tuple[int, dict[str, Any]]]] = {}
        self._in_group: dict[str, set[str]] = {}
        self._in_call: dict[str, set[str]] = {}

    def take(self, index: int, entry: dict[str, Any]) -> None:
        """Learn one entry of the log, in order."""
        self.last[entry["source"]] = entry.get("through", entry["n"])
        kind, what = entry["type"], entry.get("what")
        if kind in _DESTROYS_CELL:
            self.destroyed_cell = max(self.destroyed_cell, entry.get("cell", 0))
        else:
            self.cell = max(self.cell, entry.get("cell", 0) if kind == "CustodianStarted" else 0)
        if kind in ("PartAdopted", "PartMoved") and what is not None:
            self._place(kind, what, entry)
        elif kind == "PartSealed" and (known := self.recordings.get(what or "")) is not None:
            known.objects[entry["part"]] = entry["object_sha256"]
            known.messages[entry["part"]] = entry["messages"]
            known.duration_ms = max(known.duration_ms or 0, entry.get("duration_ms", 0))
        elif kind == "RecordingDestroyed" and what in self.recordings:
            self.recordings[what].destroyed = True
            self.erased.append(parse_time(entry["at"]))
        elif kind == "DeviceEnrolled":
            self.devices[entry["device"]] = entry
        elif kind == "DeviceRevoked" and entry["device"] in self.devices:
            self.devices[entry["device"]] = dict(self.devices[entry["device"]], revoked=True)
        elif kind == "ManifestPublished":
            self.manifest, self.manifest_index = entry, index
        elif kind == "OpeningAllowed" and entry["action"] == "export":
            self.exports[index] = Export(entry["what"], entry)
        elif kind == "ExportMade" and (export := self.exports.get(entry.get("index", -1))) is not None:
            export.digest = entry["digest"]
        elif kind == "ExportGone" and (export := self.exports.get(entry["index"])) is not None:
            export.gone, export.gone_index = entry, index
        elif kind.startswith("Exception"):
            self._except(index, kind, what or "", entry)
        if kind in _SHOWN and what is not None:
            self._entries.setdefault(what, []).append((index, entry))

    def _except(self, index: int, kind: str, what: str, entry: dict[str, Any]) -> None:
        at = parse_time(entry["at"])
        if kind == "ExceptionAsked":
            self.exceptions[what] = Excepted(index, entry["digest"], entry["by"], at, entry.get("detail"))
        elif kind == "ExceptionMade" and (asked := self.exceptions.get(what)) is not None:
            asked.digest, asked.made, asked.approved_by, asked.made_at = entry["digest"], True, entry["by"], at
        elif kind == "ExceptionEnded":
            self.exceptions.pop(what, None)

    def outstanding(self, recordings: Collection[str]) -> list[int]:
        """The exports of these recordings whose end nobody has confirmed, by the number of the entry that allowed each."""
        return [index for index, export in self.exports.items() if export.gone is None and export.recording in recordings]

    def of_group(self, group: str) -> list[str]:
        """The recordings whose leaf is of a group, in the order of their ids."""
        return sorted(self._in_group.get(group, ()))

    def same_call(self, recording: str) -> list[str]:
        """The other recordings of the same call that still have a key, in the order of their ids."""
        known = self.recordings.get(recording)
        first = (known.same_call_as if known else None) or recording
        others = {first, *self._in_call.get(first, ())} - {recording}
        return sorted(other for other in others if other in self.recordings and not self.recordings[other].destroyed)

    def entries(self, recording: str) -> list[tuple[int, dict[str, Any]]]:
        """The newest entries about a recording with their numbers in the log, oldest first."""
        return self._entries.get(recording, [])[-ENTRY_LIMIT:]

    def _place(self, kind: str, what: str, entry: dict[str, Any]) -> None:
        known = self.recordings.setdefault(what, Known(entry["group"], entry["leaf"]))
        self._in_group.get(known.group, set()).discard(what)
        known.group, known.leaf = entry["group"], entry.get("leaf", known.leaf)
        self._in_group.setdefault(known.group, set()).add(what)
        if kind == "PartAdopted":
            known.headers[entry["part"]] = entry["header_sha256"]
            if (first := entry.get("same_call_as")) is not None:
                known.same_call_as = first
                self._in_call.setdefault(first, set()).add(what)
