"""Frames that may be kept → Matroska clusters → sealed messages: the parts of a worker's live recordings, from begin to END.

docs/spec/sealed-recording.md; RFC 9559 (Matroska). No I/O: what is to go to the spool is returned.
Invariants: nothing is sealed that a guard did not see; plain frames are overwritten when they have been sealed; what cannot be
sealed (no room on disk) is dropped with a named gap, never kept in the clear.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np

from callseal.audio.cluster import HEAD_BYTES, cut_clusters, write_clusters
from callseal.cards.guard import Batch, Guard, keep_mask
from callseal.flows.promises import Promises
from callseal.flows.recording import Gap, PartWriter, Recording, Spool
from callseal.flows.stream_table import StreamTable
from callseal.flows.voice_watch import VoiceWatch
from callseal.rtp.frames import Frames, join_frames
from callseal.rtp.header import Bytes, Ints, Mask
from callseal.vault.card import SealingCard
from callseal.vault.expand import Buffer

Note = Callable[[str, str | None, dict[str, Any]], object]
GONE: Final = -3
"""In place of `event_ms`: the frame was taken out before, by the end of its recording."""
_TIME_BITS: Final = 40


class Held(NamedTuple):
    """Frames of one chunk that wait to be sealed."""

    wake_ms: int
    frames: Frames
    at_ms: Ints
    event_ms: Ints

    @property
    def batch(self) -> Batch:
        return Batch(self.frames.stream, self.at_ms, self.event_ms, self.frames.length, self.frames.payload)

    def take(self, which: Mask) -> "Held":
        return Held(self.wake_ms, self.frames.take(which), self.at_ms[which], self.event_ms[which])


class Sealing:
    """The open parts. `recordings` are the live ones by their number in the table, as the recorder keeps them."""

    def __init__(
        self, spool: Spool, note: Note, card: Callable[[], SealingCard], instance: str, promises: Promises,
        table: StreamTable, voice: VoiceWatch, recordings: Mapping[int, Recording],
    ) -> None:  # fmt: skip
        self._spool, self._note, self._card, self._instance, self._promises = spool, note, card, instance, promises
        self._table, self._voice, self._recordings = table, voice, recordings

    def begin(self, recording: Recording) -> list[Buffer]:
        """The first frames of its next part. Raises Unavailable where there is no card."""
        frames = recording.begin_part(self._card())
        assert recording.writer is not None
        self._table.set_tracks(recording.streams, recording.tracks)
        data = {"part": recording.part, "instance": self._instance, "epoch": recording.writer.epoch}
        self._note("PartStarted", recording.name, data)
        return frames

    def end(self, recording: Recording, reason: str, end_ms: int, counts: dict[str, int]) -> list[Buffer]:
        """The END of the open part; the event follows once it is durable."""
        assert recording.writer is not None
        part, messages = recording.part, recording.writer.messages + 1
        frames = recording.writer.seal_end(reason, end_ms, recording.gaps)
        recording.gaps = []

        def tell() -> None:
            data = {"part": part, "reason": reason, "messages": messages, "duration_ms": end_ms, "sealed_through_ms": end_ms}
            recording.sealed_through_ms = max(recording.sealed_through_ms, end_ms)
            self._note("PartEnded", recording.name, {**data, "packets": 0, "lost": 0, "failed": 0, **counts})

        self._promises.then(tell)
        return frames

    def seal(self, ripe: list[Held], guards: Sequence[Guard]) -> list[Buffer]:
        """The spool frames of what the guards keep of these; all of them are overwritten, and taken out of the list."""
        if not ripe:
            return []
        at_ms, event_ms = (np.concatenate([held[column] for held in ripe]) for column in (2, 3))
        parts = [held.frames for held in ripe]
        ripe.clear()
        frames = join_frames(parts, wipe=True)
        whole = Held(0, frames, at_ms, event_ms)
        if (gone := whole.event_ms == GONE).any():
            whole = whole.take(~gone)
            frames.payload[:], frames = 0, whole.frames
        try:
            keep = keep_mask(guards, whole.batch)
            self._name_withheld(whole, keep)
            owner = self._table.owner[frames.stream]
            rows = np.flatnonzero(keep & (owner > 0))
            rows = rows[np.argsort(owner[rows] << _TIME_BITS | whole.at_ms[rows], kind="stable")]
            return self._seal_rows(frames, whole.at_ms, rows) if len(rows) else []
        finally:
            frames.payload[:] = 0

    def _seal_rows(self, frames: Frames, at_ms: Ints, rows: Ints) -> list[Buffer]:
        """Rows in order of recording and time become a cluster for each recording, sealed."""
        stream, pt, at = frames.stream[rows], frames.payload_type[rows], at_ms[rows]
        owners = self._table.owner[stream]
        edges = [0, *(np.flatnonzero(np.diff(owners)) + 1).tolist(), len(rows)]
        if not self._spool.has_room:
            for begin, end in pairwise(edges):
                recording = self._recordings[int(owners[begin])]
                self.tell_gaps(recording, [recording.add_gap("", int(at[begin]), int(at[end - 1]), "disk full")])
            return []
        sealed: list[Buffer] = []
        for owner in np.unique(owners[self._table.track[stream, pt] == 0]).tolist():
            mine = owners == owner
            sealed += self._begin_codecs(self._recordings[owner], stream[mine], pt[mine], int(at[mine][0]))
        track = self._table.track[stream, pt]
        for cut in cut_clusters(edges, HEAD_BYTES + frames.payload.shape[1]):
            part = slice(cut[0], cut[-1])
            chosen = rows[part]
            length, payload = frames.length[chosen], frames.payload[chosen]
            self._voice.measure(stream[part], pt[part], frames.index[chosen], at[part], length, payload)
            clusters = write_clusters([edge - cut[0] for edge in cut], track[part], at[part], length, payload)
            begins = cut[:-1]
            for owner, begin, cluster in zip(owners[begins].tolist(), at[begins].tolist(), clusters, strict=True):
                sealed += self._writer(owner).seal_voice(cluster, begin)
            payload[:] = 0
        return sealed

    def tell_gaps(self, recording: Recording, gaps: list[Gap]) -> None:
        """Say what is missing."""
        for gap in gaps:
            self._note("Gap", recording.name, gap)

    def _writer(self, owner: int) -> PartWriter:
        writer = self._recordings[owner].writer
        assert writer is not None
        return writer

    def _begin_codecs(self, recording: Recording, stream: Ints, pt: Bytes, at_ms: int) -> list[Buffer]:
        """A codec that the open part has no track for: the next part begins."""
        recording.note_codecs(stream, pt)
        ended = [] if recording.writer is None else self.end(recording, "codec", at_ms, {})
        return [*ended, *self.begin(recording)]

    def _name_withheld(self, whole: Held, keep: Mask) -> None:
        out = np.flatnonzero(~keep & (whole.event_ms < 0) & (self._table.owner[whole.frames.stream] > 0))
        for number in np.unique(whole.frames.stream[out]).tolist():
            at = whole.at_ms[out[whole.frames.stream[out] == number]]
            recording = self._recordings[int(self._table.owner[number])]
            gap = recording.add_gap(recording.stream_of(number).label, int(at.min()), int(at.max()) + 20, "withheld")
            self.tell_gaps(recording, [gap])
