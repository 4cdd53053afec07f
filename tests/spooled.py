"""A recording worker's disk side, with real sealing: spool segments, lock, events; and a custodian in this process that adopts.

The custodian here speaks the messages of docs/architecture.md and opens what it is given with the real key, so that what the
watcher hands over is proved to be openable. It keeps no log; the real one has tests of its own.
"""

import fcntl
import hashlib
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from callseal.errors import NotFound, TamperedError, Unavailable
from callseal.model.clock import format_time
from callseal.model.ids import RecordingId
from callseal.model.message import Message, to_bytes, to_text
from callseal.store.events import EventWriter
from callseal.vault.card import SealingCard
from callseal.vault.header import split_header
from callseal.vault.message import Kind
from callseal.vault.seal import PartSealer
from callseal.vault.spool import encode_frame
from callseal.vault.tree import KeyTree
from callseal.vault.unseal import PartOpener, new_key_pair, open_header

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
PRIVATE_KEY, PUBLIC_KEY = new_key_pair()
CARD = SealingCard(7, PUBLIC_KEY, NOW + timedelta(days=7), 3)


def recording_id(number: int) -> str:
    """A recording id that tests can tell apart."""
    return hashlib.sha256(b"recording %d" % number).hexdigest()[:32]


class Worker:
    """One life of a media worker: it holds its lock until `die`."""

    def __init__(self, data: Path, name: str = "media-0", instance: str = "one", card: SealingCard = CARD) -> None:
        self.card = card
        self.folder = data / "spool" / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.instance = instance
        self.lock = os.open(self.folder / f"{instance}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        self.events = EventWriter(data / "events", name)
        self._sequence = -1
        self._sealers: dict[tuple[str, int], PartSealer] = {}
        self.next_segment()

    def next_segment(self) -> Path:
        """Begin another segment."""
        self._sequence += 1
        self.path = self.folder / f"{self.instance}-{self._sequence}.spool"
        self.path.touch()
        return self.path

    def start(self, recording: str, part: int = 0, meta: bytes = b'{"peer":"office"}') -> None:
        """Header, head and META of a part."""
        sealer = PartSealer(RecordingId(bytes.fromhex(recording)), part, self.card)
        self._sealers[recording, part] = sealer
        self._append(recording, part, 0, sealer.header)
        self.events.write("PartStarted", recording, {"part": part, "instance": self.instance, "epoch": self.card.epoch}, NOW)
        self.seal(recording, part, Kind.MEDIA, b"head", 0)
        self.seal(recording, part, Kind.META, meta, 0)

    def seal(self, recording: str, part: int, kind: Kind, plaintext: bytes, at_ms: int) -> None:
        """One message."""
        message = self._sealers[recording, part].seal(kind, plaintext)
        self._append(recording, part, at_ms, message)

    def speak(self, recording: str, part: int = 0, seconds: int = 3, from_ms: int = 0) -> None:
        """A MEDIA message for each second."""
        for second in range(seconds):
            self.seal(recording, part, Kind.MEDIA, b"second %d" % second, from_ms + second * 1000)
        self.events.write("Sealed", None, {"parts": [[recording, part, from_ms + seconds * 1000]]}, NOW)

    def end(self, recording: str, part: int = 0, reason: str = "bye", duration_ms: int = 3000) -> None:
        """END and its event."""
        end = {"reason": reason, "messages": 5, "duration_ms": duration_ms, "gaps": []}
        self.seal(recording, part, Kind.END, json.dumps(end).encode(), duration_ms)
        counts = {
            "messages": 6,
            "duration_ms": duration_ms,
            "sealed_through_ms": duration_ms,
            "packets": 300,
            "lost": 2,
            "failed": 0,
        }
        self.events.write("PartEnded", recording, {"part": part, "reason": reason, **counts}, NOW)

    def tear(self) -> None:
        """Leave half a frame at the end, as a kill does."""
        with self.path.open("ab") as file:
            file.write(encode_frame(RecordingId(os.urandom(16)), 0, 0, os.urandom(400))[:200])

    def die(self) -> None:
        """Let go of lock and events, as a kill does."""
        self.events.close()
        if self.lock >= 0:
            os.close(self.lock)
        self.lock = -1

    def _append(self, recording: str, part: int, at_ms: int, payload: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(encode_frame(RecordingId(bytes.fromhex(recording)), part, at_ms, payload))


class Signalling:
    """The sip process's events."""

    def __init__(self, data: Path) -> None:
        self.events = EventWriter(data / "events", "sip")

    def start(self, recording: str, at: datetime = NOW, peer: str = "office") -> None:
        """CallStarted with one leg."""
        leg = {"number": 0, "label": "1", "party": "customer", "codec": "PCMA", "suite": "AEAD_AES_256_GCM"}
        leg |= {"protection": "measured", "detail": "SRTP"}
        data = {"peer": peer, "class": "default", "started_at": format_time(at), "transport": "TLSv1.3", "legs": [leg]}
        self.events.write("CallStarted", recording, data, at)

    def end(self, recording: str, at: datetime = NOW + timedelta(seconds=3)) -> None:
        """CallEnded."""
        self.events.write("CallEnded", recording, {"reason": "bye"}, at)


class Custodian:
    """Adopts with the real private key; can be away, can refuse, can fall over after it has done its work."""

    def __init__(self) -> None:
        self.away = False
        self.refuse: set[str] = set()
        self.metas: dict[tuple[str, int], list[bytes]] = {}
        self.adopted: dict[tuple[str, int], list[bytes]] = {}
        self.sealed: dict[tuple[str, int], dict[str, Any]] = {}
        self.through: dict[str, int] = {}
        self.events: list[dict[str, Any]] = []
        self.due: list[str] = []
        self.recordings: dict[str, str] = {}
        self.held: set[str] = set()

    async def ask(self, message_type: str, **fields: Any) -> Message:
        """Answer as the custodian does."""
        if self.away:
            raise Unavailable("custodian: away")
        answer = getattr(self, "_" + message_type.replace(".", "_"))
        return {"type": "reply", "ok": True, **json.loads(json.dumps(answer(json.loads(json.dumps(fields)))))}

    def _status(self, fields: dict[str, Any]) -> dict[str, Any]:
        return {"ready": True}

    def _part_adopt(self, fields: dict[str, Any]) -> dict[str, Any]:
        header = to_bytes(fields["header"], "header")
        core = split_header(header)[0]
        key = (core.recording.hex(), core.part)
        if key[0] in self.refuse:
            raise TamperedError("header: does not open")
        assert key == (fields["recording"], fields["part"])
        opened_core, dek = open_header(header, PRIVATE_KEY)
        opener = PartOpener(opened_core, KeyTree.from_seed(dek).nodes)
        self.metas[key] = [opener.open(to_bytes(one, "m"), to_bytes(before, "p")).plaintext for before, one in fields["meta"]]
        row = b"row of %s/%d, leaf %d" % (key[0].encode(), key[1], len(self.adopted.setdefault(key, [])))
        self.adopted[key].append(row)
        self.recordings[key[0]] = group = f"{fields['class']}/{fields['started_at'][:10]}"
        token = hashlib.sha256(key[0].encode()).hexdigest()
        return {
            "row": to_text(row),
            "sealed_meta": to_text(b"meta"),
            "tokens": [token],
            "group": group,
            "leaf": len(self.adopted),
        }

    def _part_sealed(self, fields: dict[str, Any]) -> dict[str, Any]:
        self.sealed[fields["recording"], fields["part"]] = fields
        return {"log_index": 100 + len(self.sealed)}

    def _event_append(self, fields: dict[str, Any]) -> dict[str, Any]:
        for event in fields["events"]:
            if event["n"] == self.through.get(event["source"], 0) + 1:
                self.through[event["source"]] = event["n"]
                self.events.append(event)
        return {"through": self.through}

    def _dispose_due(self, fields: dict[str, Any]) -> dict[str, Any]:
        return {"groups": self.due}

    def _dispose_run(self, fields: dict[str, Any]) -> dict[str, Any]:
        if not self.due:
            raise NotFound("nothing is due")
        done, self.due = self.due, []
        final_on = format_time(NOW + timedelta(days=7))
        return {"certificates": [
            {"subject": f"group:{group}", "state": "pending", "final_on": final_on,
             "recordings": [name for name, place in self.recordings.items() if place == group and name not in self.held]}
            for group in done
        ]}  # fmt: skip

    def _history(self, fields: dict[str, Any]) -> dict[str, Any]:
        return {"entries": [], "holds": ["aa"] if fields["recording"] in self.held else []}
