"""One recording as the media worker knows it: its streams, its open part, what is missing from it.

keys-and-recordings section 4 is the sketch, docs/spec/sealed-recording.md the text. No I/O: spool frames are returned as bytes.
Invariants: message 0 of a part is the Matroska head, message 1 the metadata; a part's keys are forgotten when it ends;
personal data stands in sealed messages only.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np

from callseal.audio.matroska import TrackHead, write_head
from callseal.errors import LimitExceeded, RequestError
from callseal.model.ids import RecordingId
from callseal.model.message import to_bytes
from callseal.rtp.header import Bytes, Ints
from callseal.rtp.srtp_kdf import MKI_LIMIT
from callseal.vault.card import SealingCard
from callseal.vault.expand import Buffer
from callseal.vault.message import Kind
from callseal.vault.seal import PartSealer
from callseal.vault.spool import encode_head

MAX_STREAMS: Final = 16
MAX_CODECS: Final = 32
MAX_GAPS: Final = 1000
SILENT_MS: Final = 2000
"""A stream without packets for so long has a gap, named `no packets`."""
NO_VOICE: Final = ("CN", "TELEPHONE-EVENT", "RED")
_WRITTEN_SMALL: Final = ("OPUS",)


Gap = dict[str, Any]
"""A `Gap` event's data: `part`, `from_ms`, `to_ms`, `why`, `label` (empty: all streams)."""


@dataclass(frozen=True)
class Codec:
    """What one payload type means in one stream; `name` is upper case (`opus` is not)."""

    pt: int
    name: str
    clock_hz: int
    channels: int

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> "Codec":
        """From a control message. Raises RequestError."""
        pt, clock_hz, channels = (
            int(fields.get(name, default)) for name, default in (("pt", -1), ("clock_hz", 0), ("channels", 1))
        )
        if not 0 <= pt < 128 or not 1 <= clock_hz <= 192_000 or not 1 <= channels <= 8:
            raise RequestError("codec: expected pt below 128, a clock in Hz and up to 8 channels")
        name = str(fields.get("name", ""))[:32].upper()
        return cls(pt, name.lower() if name in _WRITTEN_SMALL else name, clock_hz, channels)


@dataclass
class VoiceStream:
    """One m-line. `number` is the worker's number for it; `seen` are its payload types in the order that they were heard."""

    number: int
    label: str
    party: str
    suite: str
    key: bytes = field(repr=False)
    mki_bytes: int
    codecs: dict[int, Codec]
    event_pts: frozenset[int]
    paused: bool
    is_clear: bool = False
    """Without SRTP, by exception: no suite, no key."""
    guarded: bool = False
    """Whether its class of recordings keeps nothing that no guard can look into."""
    seen: list[int] = field(default_factory=list)
    heard: dict[int, int] = field(default_factory=dict)
    """By SSRC: the highest SRTP index that a worker before this one had accepted."""
    paused_at_ms: int = -1
    withheld: int = 0

    @classmethod
    def read(cls, number: int, fields: Mapping[str, Any], guarded: bool = False) -> "VoiceStream":
        """From a control message. Raises RequestError."""
        codecs = [Codec.read(codec) for codec in fields["codecs"][:MAX_CODECS]]
        voices = {codec.pt: codec for codec in codecs if codec.name not in NO_VOICE}
        if fields.get("clear") is not None and (fields["suite"] or fields["key"]):
            raise RequestError("clear: expected neither suite nor key beside it")
        mki_bytes = int(fields.get("mki_bytes", 0))
        if not 0 <= mki_bytes <= MKI_LIMIT:
            raise RequestError(f"mki_bytes: expected 0 to {MKI_LIMIT}")
        return cls(
            number=number,
            label=str(fields.get("label", ""))[:64],
            party=str(fields.get("party", "unknown"))[:16],
            suite=str(fields["suite"]),
            key=to_bytes(fields["key"], "key"),
            mki_bytes=mki_bytes,
            codecs=voices,
            event_pts=frozenset(int(pt) & 0x7F for pt in fields.get("event_pts", ())),
            paused=bool(fields.get("paused", False)),
            is_clear=fields.get("clear") is not None,
            guarded=guarded,
        )

    @property
    def clock_hz(self) -> int:
        """The RTP clock of its first codec, which its telephone-events share (RFC 4733 section 2.1)."""
        return next((codec.clock_hz for codec in self.codecs.values()), 8000)


class Spool(Protocol):
    """Where sealed frames go."""

    @property
    def has_room(self) -> bool: ...

    def submit(self, frames: Sequence[Buffer]) -> int: ...


class Silences(Protocol):
    """When each stream was last heard, and since when it is silent (-1: it is not), by stream number."""

    last_ms: Ints
    silent_from_ms: Ints


class PartWriter:
    """An open part: what is to be sealed in, spool frames out."""

    def __init__(self, recording: RecordingId, part: int, card: SealingCard, tracks: Sequence[TrackHead], meta: bytes) -> None:
        self.part = part
        self.epoch = card.epoch
        self._recording = recording
        self._sealer = PartSealer(recording, part, card)
        self._first = write_head(tracks), meta

    def begin(self) -> list[Buffer]:
        """The frames that begin it: header, head, metadata."""
        head, meta = self._first
        self._first = b"", b""
        header = _frame(self._recording, self.part, 0, self._sealer.header)
        return [*header, *self._seal(Kind.MEDIA, head, 0), *self.seal_meta(meta)]

    @property
    def messages(self) -> int:
        """How many messages were sealed."""
        return self._sealer.count

    def seal_voice(self, cluster: memoryview, at_ms: int) -> list[Buffer]:
        """The frame of one cluster of voice. Frames are given as their bytes one after another."""
        return self._seal(Kind.MEDIA, cluster, at_ms)

    def seal_meta(self, meta: bytes, at_ms: int = 0) -> list[Buffer]:
        """The frame of a META message."""
        return self._seal(Kind.META, meta, at_ms)

    def seal_end(self, reason: str, duration_ms: int, gaps: Sequence[Mapping[str, Any]]) -> list[Buffer]:
        """The frame of the END message; the keys are gone after it."""
        end = {"reason": reason, "messages": self.messages + 1, "duration_ms": duration_ms, "gaps": list(gaps)}
        frame = self._seal(Kind.END, json.dumps(end, separators=(",", ":")).encode(), duration_ms)
        self._sealer.close()
        return frame

    def _seal(self, kind: Kind, plaintext: Buffer, at_ms: int) -> list[Buffer]:
        return _frame(self._recording, self.part, at_ms, self._sealer.seal(kind, plaintext))


def _frame(recording: RecordingId, part: int, at_ms: int, payload: Buffer) -> list[Buffer]:
    return [encode_head(recording, part, min(max(0, at_ms), (1 << 32) - 1), payload), payload]


class Recording:
    """One recording: streams, the open part, gaps, and how far it is durable."""

    def __init__(self, recording: RecordingId, part: int, streams: list[VoiceStream], meta: bytes, opened_ms: int) -> None:
        self.id = recording
        self.name = recording.hex()
        self.next_part = part
        self.streams = streams
        self.meta = meta
        self.opened_ms = opened_ms
        self.writer: PartWriter | None = None
        self.tracks: dict[tuple[int, int], int] = {}
        """(stream number, payload type) -> track of the open part."""
        self.gaps: list[dict[str, Any]] = []
        self.sealed_through_ms = 0
        self.connection = 0
        """The control connection that last named it; 0 when that has ended."""

    @property
    def part(self) -> int:
        """The number of the open part, or of the one that comes."""
        return self.writer.part if self.writer is not None else self.next_part

    def begin_part(self, card: SealingCard) -> list[Buffer]:
        """Begin the next part with a track for each codec heard, or the first one answered; returns its first frames."""
        heads: list[TrackHead] = []
        self.tracks = {}
        for stream in self.streams:
            for pt in stream.seen or list(stream.codecs)[:1]:
                codec, number = stream.codecs[pt], len(heads) + 1
                self.tracks[stream.number, pt] = number
                heads.append(TrackHead(number, stream.label, stream.party, codec.name, codec.clock_hz, codec.channels))
        self.writer = PartWriter(self.id, self.next_part, card, heads, self.meta)
        self.next_part += 1
        return self.writer.begin()

    def stream_of(self, number: int) -> VoiceStream:
        """The stream of a number."""
        return next(stream for stream in self.streams if stream.number == number)

    def note_codecs(self, stream: Ints, pt: Bytes) -> None:
        """Remember which codecs were heard."""
        for pair in np.unique(stream << 8 | pt).tolist():
            number, payload_type = pair >> 8, pair & 0xFF
            state = self.stream_of(number)
            if payload_type not in state.seen:
                state.seen.append(payload_type)

    def watch_silence(self, table: Silences, elapsed_ms: int) -> list[Gap]:
        """Notice streams that fell silent, and the gaps of those that speak again."""
        gaps = []
        for stream in self.streams:
            last, since = int(table.last_ms[stream.number]), int(table.silent_from_ms[stream.number])
            if 0 <= since < last:
                gaps += self._end_silence(stream, table, last)
            elif since < 0 and not stream.paused and elapsed_ms - last > SILENT_MS:
                table.silent_from_ms[stream.number] = last
        return gaps

    def pause(self, stream: VoiceStream, paused: bool, table: Silences, elapsed_ms: int) -> list[Gap]:
        """Pause or resume a stream; returns the gaps that end by it."""
        gaps = []
        if paused:
            gaps = self._end_silence(stream, table, elapsed_ms)
            stream.paused_at_ms = elapsed_ms
        elif stream.paused_at_ms >= 0:
            gaps = [self.add_gap(stream.label, stream.paused_at_ms, elapsed_ms, "paused")]
            stream.paused_at_ms = -1
        stream.paused = paused
        return gaps

    def end_gaps(self, table: Silences, end_ms: int) -> list[Gap]:
        """The gaps that last until the end."""
        gaps = self.watch_silence(table, end_ms)
        for stream in self.streams:
            gaps += self.pause(stream, False, table, end_ms) if stream.paused else self._end_silence(stream, table, end_ms)
        return gaps

    def _end_silence(self, stream: VoiceStream, table: Silences, to_ms: int) -> list[Gap]:
        begin, table.silent_from_ms[stream.number] = int(table.silent_from_ms[stream.number]), -1
        return [self.add_gap(stream.label, begin, to_ms, "no packets")] if begin >= 0 else []

    def add_gap(self, label: str, from_ms: int, to_ms: int, why: str) -> Gap:
        """Name a hole; returns the event's data."""
        gap = {"part": self.part, "from_ms": max(0, from_ms), "to_ms": max(0, to_ms), "why": why, "label": label}
        if len(self.gaps) < MAX_GAPS:
            self.gaps.append({name: gap[name] for name in ("from_ms", "to_ms", "why", "label")})
        return gap


def encode_meta(meta: object) -> bytes:
    """The META plaintext of docs/architecture.md. Raises RequestError, LimitExceeded."""
    if not isinstance(meta, dict):
        raise RequestError("meta: expected an object")
    data = json.dumps(meta, separators=(",", ":"), ensure_ascii=False).encode()
    if len(data) > 512 << 10:
        raise LimitExceeded(f"meta: expected at most 512 KiB, got {len(data)} bytes")
    return data
