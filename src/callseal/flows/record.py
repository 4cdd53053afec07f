"""SRTP → guards → seal → spool: the media worker's half of a recording's way, wake by wake. No socket, file, clock or thread.

1. `take`: authenticate and decrypt a chunk of packets; drop what no codec names and what a paused stream sends.
2. Place each frame on its recording's timeline; show all to the guards.
3. `flush`, about once a second for all calls: of what arrived a hold-back ago, the guards decide what may be kept.
4. Sort by recording and time; each recording's frames become one Matroska cluster.
5. Seal it; overwrite the frames; hand the spool frames of all calls over together.
6. `is_durable`, after fdatasync: only now `sealed_through` moves on, and events say so.

docs/architecture.md "Media control" and "Events" are its contract. Invariants: nothing unauthenticated is kept; nothing is sealed
that a guard did not see; what cannot be sealed (no room on disk) is dropped with a named gap, never kept in the clear.
"""

from collections import deque
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np

from callseal.audio.cluster import HEAD_BYTES, cut_clusters, write_clusters
from callseal.cards.guard import UNSEEN, Batch, keep_mask, make_guards, watch_all
from callseal.errors import CallsealError, Conflict, NotAcceptable, NotFound, RequestError, Unavailable
from callseal.flows.promises import Promises
from callseal.flows.recording import Gap, PartWriter, Recording, Spool, VoiceStream
from callseal.flows.stream_table import BLIND, EVENT, UNKNOWN, StreamTable
from callseal.flows.voice_watch import VoiceWatch
from callseal.rtp.frames import Frames, join_frames
from callseal.rtp.header import Bytes, Ints, Mask
from callseal.rtp.srtcp import SrtcpCounter
from callseal.rtp.srtp import SrtpReceiver
from callseal.rtp.telephone_event import read_durations
from callseal.rtp.timeline import Timeline
from callseal.vault.card import SealingCard

HOLD_MS: Final = 200
"""How long a frame waits for what a guard may yet learn about it."""
FLUSH_MS: Final = 1000
"""At most hold, flush and one wake lie between arrival and the call of fdatasync: 1.4 s."""
TELL_MS: Final = 1000
BEGIN_MS: Final = 1000
"""A part begins with its first frames, or so long after it was opened."""


Note = Callable[[str, str | None, dict[str, Any]], object]


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


class Recorder:
    """All recordings of one worker. Times (`now_ms`) are of a monotonic clock, in ms."""

    def __init__(self, spool: Spool, note: Note, card: Callable[[], SealingCard], instance: str, max_streams: int = 4096) -> None:
        self._spool, self._note, self._card, self._instance = spool, note, card, instance
        self.receiver = SrtpReceiver(max_streams)
        self._timeline = Timeline(max_streams)
        self._guards = make_guards()
        self.recordings: dict[str, Recording] = {}
        self._by_number: dict[int, Recording] = {}
        self.table = StreamTable(max_streams)
        self._voice = VoiceWatch(max_streams)
        self.reports = SrtcpCounter()
        self._next_owner = 1
        self._held: deque[Held] = deque()
        self._wakes: deque[int] = deque(maxlen=1000)
        self._old_keys: list[tuple[int, int]] = []
        self._promises = Promises(spool)

    def open(self, recording: Recording, now_ms: int, resume_from_ms: int | None = None) -> None:
        """Begin a recording whose streams carry numbers of `table`; with `resume_from_ms`, go on after a restart, of which
        all before was durable. Raises Conflict, NotAcceptable, Unavailable (no card); then nothing has begun."""
        if recording.name in self.recordings:
            raise Conflict("recording: expected one that is not open")
        self._card()  # without a card nothing is begun
        owner, self._next_owner = self._next_owner, self._next_owner + 1
        added: list[VoiceStream] = []
        try:
            for stream in recording.streams:
                self._add_stream(recording, stream, owner, now_ms, resume_from_ms is not None)
                added.append(stream)
        except CallsealError:
            for stream in added:
                self.receiver.remove_stream(stream.number)
                self.reports.forget(stream.number)
                self.table.owner[stream.number] = 0
            raise
        self.recordings[recording.name] = recording
        self._by_number[owner] = recording
        if resume_from_ms is not None:
            gap = recording.add_gap("", resume_from_ms, max(resume_from_ms, recording.opened_ms), "worker restarted")
            self._tell_gaps(recording, [gap])

    def find(self, name: object) -> Recording:
        """An open recording. Raises NotFound."""
        recording = self.recordings.get(str(name))
        if recording is None:
            raise NotFound("recording: expected one that is open")
        return recording

    def elapsed_ms(self, recording: Recording, now_ms: int) -> int:
        """Where `now` stands on a recording's timeline."""
        return now_ms + int(self.table.base_ms[recording.streams[0].number])

    def take(self, packets: Bytes, lengths: Ints, streams: Ints, now_ms: int) -> None:
        """Steps 1 and 2, for one chunk that was drained at the wake `now_ms`."""
        frames = self.receiver.unprotect(packets, lengths, streams)
        kind = self.table.kind[frames.stream, frames.payload_type]
        wanted = (kind != UNKNOWN) & ~self.table.paused[frames.stream] & (frames.length > 0)
        arrived = now_ms + self.table.base_ms[frames.stream]
        self.table.hear(frames.stream, arrived)
        if (first := self.table.first_ms[frames.stream] < 0).any():
            self._tell_heard(frames.stream[first], arrived[first])
        if not wanted.all():
            frames, all_frames, kind, arrived = frames.take(wanted), frames, kind[wanted], arrived[wanted]
            all_frames.payload[:] = 0
        if not len(frames):
            return
        clock = self.table.clock_hz[frames.stream, frames.payload_type]
        at_ms = self._timeline.place(frames, self.receiver, arrived, clock)
        voice = np.where(kind == BLIND, UNSEEN, -1)
        duration = np.where(kind == EVENT, read_durations(frames.payload, frames.length) * 1000 // clock, voice)
        held = Held(now_ms, frames, at_ms, duration)
        for found in watch_all(self._guards, held.batch):
            recording = self._by_number[int(self.table.owner[found.stream])]
            recording.stream_of(found.stream).withheld += found.count
            self._note("TonesWithheld", recording.name, {"part": recording.part, "count": found.count})
        self._held.append(held)

    def woke(self, now_ms: int, all_taken: bool = True) -> None:
        """The sockets were drained, beginning at `now_ms`, to the end or not; drops keys that have had their second."""
        if all_taken:
            self._wakes.append(now_ms)
        for stream, until_ms in [pair for pair in self._old_keys if pair[1] <= now_ms]:
            self._old_keys.remove((stream, until_ms))
            self.receiver.drop_old_keys(stream)

    def flush(self, now_ms: int) -> None:
        """Steps 3 to 5, for what arrived a hold-back ago."""
        until = now_ms - HOLD_MS
        through = max((wake for wake in self._wakes if wake <= until), default=None)
        ripe = []
        while self._held and self._held[0].wake_ms <= until:
            ripe.append(self._held.popleft())
        sealed = self._seal_ripe(ripe)
        for recording in self.recordings.values():
            sealed += self._begin_late(recording, now_ms)
            elapsed = self.elapsed_ms(recording, now_ms)
            self._tell_gaps(recording, recording.watch_silence(self.table, elapsed))
            for missing in self._voice.find_missing(recording, self.table, self.receiver.packets, elapsed):
                self._note("VoiceMissing", recording.name, missing)
            if through is not None:
                self._promises.then(self._teller(recording, max(0, self.elapsed_ms(recording, through)), now_ms))
        self._promises.submit(b"".join(sealed))

    def is_durable(self, ticket: int) -> None:
        """Step 6: fdatasync has returned for this ticket and all before it."""
        self._promises.keep(ticket)

    def close(self, recording: Recording, reason: str, now_ms: int, done: Callable[[], None]) -> None:
        """End a recording after everything it sent was taken; `done` is called when its END is durable."""
        sealed = self._seal_ripe(self._take_held(recording))
        end_ms = max(0, self.elapsed_ms(recording, now_ms))
        self._tell_gaps(recording, recording.end_gaps(self.table, end_ms))
        counts = self.count(recording)
        self._tell_failed(recording)
        if recording.writer is None:
            sealed.append(self._begin(recording))
        sealed.append(self._end_part(recording, reason, end_ms, counts))
        self._promises.then(done)
        for stream in recording.streams:
            self._remove_stream(stream)
        del self.recordings[recording.name]
        self._promises.submit(b"".join(sealed))

    def update(self, recording: Recording, streams: list[VoiceStream], now_ms: int) -> None:
        """New keys, pauses, codecs and streams, in the same order. Raises NotAcceptable, LimitExceeded, RequestError."""
        if len(streams) < len(recording.streams):
            raise RequestError("streams: expected those that are open, in the same order")
        owner = int(self.table.owner[recording.streams[0].number])
        elapsed = self.elapsed_ms(recording, now_ms)
        for old, new in zip(recording.streams, streams, strict=False):
            if new.is_clear and not old.is_clear:
                raise NotAcceptable("stream: expected the protection that it had")
            if (old.suite, old.key, old.mki_bytes) != (new.suite, new.key, new.mki_bytes):
                self.receiver.rekey(old.number, new.suite, new.key, mki_bytes=new.mki_bytes)
                self.reports.set_key(old.number, new.suite, new.key, new.mki_bytes)
                if old.is_clear:
                    self.receiver.drop_old_keys(old.number)
                else:
                    self._old_keys.append((old.number, now_ms + 1000))
                old.is_clear = new.is_clear
                old.suite, old.key, old.mki_bytes = new.suite, new.key, new.mki_bytes
            if old.codecs != new.codecs or old.event_pts != new.event_pts:
                old.codecs, old.event_pts = new.codecs, new.event_pts
                old.seen = [pt for pt in old.seen if pt in new.codecs]
                self.table.enter_codecs(old)
                self._voice.enter(old, elapsed)
            if new.paused != old.paused:
                self._tell_gaps(recording, recording.pause(old, new.paused, self.table, elapsed))
                self.table.paused[old.number] = new.paused
                self.table.last_ms[old.number] = elapsed
        for new in streams[len(recording.streams) :]:
            self._add_stream(recording, new, owner, now_ms, resume=False)
            recording.streams.append(new)

    def update_meta(self, recording: Recording, meta: bytes, now_ms: int) -> None:
        """Newer metadata: one more META message. Raises Unavailable while the disk takes no more."""
        recording.meta = meta
        if not self._spool.has_room:
            raise Unavailable("spool: expected room for metadata, and too much waits for the disk")
        if recording.writer is not None:
            self._promises.submit(recording.writer.seal_meta(meta, max(0, self.elapsed_ms(recording, now_ms))))

    def count(self, recording: Recording) -> dict[str, int]:
        """`packets`, `lost`, `failed` over all streams."""
        numbers = [stream.number for stream in recording.streams]
        return {
            "packets": int(self.receiver.packets[numbers].sum()),
            "lost": sum(self.receiver.lost(number) for number in numbers),
            "failed": int(self.receiver.failed[numbers].sum()),
        }

    def status(self, recording: Recording) -> dict[str, Any]:
        """One entry of `media.status`."""
        receiver = self.receiver
        streams = [
            {
                "label": stream.label, "packets": int(receiver.packets[stream.number]), "lost": receiver.lost(stream.number),
                "failed": int(receiver.failed[stream.number]), "replayed": int(receiver.replayed[stream.number]),
                "withheld": stream.withheld, "last_packet_ms": int(self.table.last_ms[stream.number]),
            }
            for stream in recording.streams
        ]  # fmt: skip
        through = recording.sealed_through_ms
        return {"recording": recording.name, "part": recording.part, "sealed_through_ms": through, "streams": streams}

    def heard(self, recording: Recording) -> list[dict[int, int]]:
        """By stream, and in it by SSRC: the highest SRTP index accepted; what keeps a successor from accepting it again."""
        return [self.receiver.highest_of(stream.number) for stream in recording.streams]

    def silent_ms(self, recording: Recording, now_ms: int) -> int:
        """How long no stream of it has had a packet."""
        last = max(int(self.table.last_ms[stream.number]) for stream in recording.streams)
        return self.elapsed_ms(recording, now_ms) - max(last, recording.opened_ms)

    def _take_held(self, recording: Recording) -> list[Held]:
        """Take one recording's frames out of what is held back."""
        owner = int(self.table.owner[recording.streams[0].number])
        taken, left = [], []
        for held in self._held:
            mine = self.table.owner[held.frames.stream] == owner
            taken.append(held.take(mine))
            left.append(held.take(~mine))
            held.frames.payload[:] = 0
        self._held = deque(held for held in left if len(held.frames))
        return taken

    def _seal_ripe(self, ripe: list[Held]) -> list[bytes]:
        if not ripe:
            return []
        frames = join_frames([held.frames for held in ripe])
        at_ms = np.concatenate([held.at_ms for held in ripe])
        whole = Held(0, frames, at_ms, np.concatenate([held.event_ms for held in ripe]))
        for held in ripe:
            if held.frames is not frames:
                held.frames.payload[:] = 0
        sealed: list[bytes] = []
        try:
            keep = keep_mask(self._guards, whole.batch)
            self._name_withheld(whole, keep)
            rows = np.flatnonzero(keep & (self.table.owner[frames.stream] > 0))
            rows = rows[np.lexsort((at_ms[rows], self.table.owner[frames.stream[rows]]))]
            if len(rows):
                sealed = self._seal_rows(frames, at_ms, rows)
        finally:
            frames.payload[:] = 0
        return sealed

    def _seal_rows(self, frames: Frames, at_ms: Ints, rows: Ints) -> list[bytes]:
        """Rows in order of recording and time become a cluster for each recording, sealed."""
        stream, pt, at = frames.stream[rows], frames.payload_type[rows], at_ms[rows]
        owners = self.table.owner[stream]
        edges = [0, *(np.flatnonzero(np.diff(owners)) + 1).tolist(), len(rows)]
        if not self._spool.has_room:
            for begin, end in pairwise(edges):
                recording = self._by_number[int(owners[begin])]
                self._tell_gaps(recording, [recording.add_gap("", int(at[begin]), int(at[end - 1]), "disk full")])
            return []
        sealed: list[bytes] = []
        for owner in np.unique(owners[self.table.track[stream, pt] == 0]).tolist():
            mine = owners == owner
            sealed += self._begin_codecs(self._by_number[owner], stream[mine], pt[mine], int(at[mine][0]))
        track = self.table.track[stream, pt]
        for cut in cut_clusters(edges, HEAD_BYTES + frames.payload.shape[1]):
            part = slice(cut[0], cut[-1])
            step = frames.take(rows[part])
            self._voice.measure(step, at[part])
            clusters = write_clusters([edge - cut[0] for edge in cut], track[part], at[part], step.length, step.payload)
            for begin, cluster in zip(cut, clusters, strict=False):
                sealed.append(self._writer(int(owners[begin])).seal_voice(cluster, int(at[begin])))
            step.payload[:] = 0
        return sealed

    def _writer(self, owner: int) -> PartWriter:
        writer = self._by_number[owner].writer
        assert writer is not None
        return writer

    def _begin_codecs(self, recording: Recording, stream: Ints, pt: Bytes, at_ms: int) -> list[bytes]:
        """A codec that the open part has no track for: the next part begins."""
        recording.note_codecs(stream, pt)
        ended = [] if recording.writer is None else [self._end_part(recording, "codec", at_ms, {})]
        return [*ended, self._begin(recording)]

    def _begin(self, recording: Recording) -> bytes:
        frames = recording.begin_part(self._card())
        assert recording.writer is not None
        self.table.set_tracks(recording.streams, recording.tracks)
        data = {"part": recording.part, "instance": self._instance, "epoch": recording.writer.epoch}
        self._note("PartStarted", recording.name, data)
        return frames

    def _end_part(self, recording: Recording, reason: str, end_ms: int, counts: dict[str, int]) -> bytes:
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

    def _begin_late(self, recording: Recording, now_ms: int) -> list[bytes]:
        waited = self.elapsed_ms(recording, now_ms) - recording.opened_ms
        if recording.writer is None and waited >= BEGIN_MS and self._spool.has_room:
            return [self._begin(recording)]
        return []

    def _teller(self, recording: Recording, through_ms: int, now_ms: int) -> Callable[[], None]:
        """What is said of a recording once this flush is durable."""

        def tell() -> None:
            if recording.name not in self.recordings:
                return
            recording.sealed_through_ms = max(recording.sealed_through_ms, through_ms)
            if recording.writer is not None and now_ms - recording.told_sealed_ms >= TELL_MS:
                recording.told_sealed_ms = now_ms
                self._note("Sealed", recording.name, {"part": recording.part, "sealed_through_ms": recording.sealed_through_ms})
            if now_ms - recording.told_failed_ms >= TELL_MS:
                recording.told_failed_ms = now_ms
                self._tell_failed(recording)

        return tell

    def _tell_heard(self, streams: Ints, at_ms: Ints) -> None:
        """The first authenticated packet of each of these streams has come."""
        for number in np.unique(streams).tolist():
            self.table.first_ms[number] = from_ms = int(at_ms[streams == number].min())
            recording = self._by_number[int(self.table.owner[number])]
            data = {"part": recording.part, "label": recording.stream_of(number).label, "from_ms": max(0, from_ms)}
            self._note("StreamHeard", recording.name, data)

    def _tell_gaps(self, recording: Recording, gaps: list[Gap]) -> None:
        for gap in gaps:
            self._note("Gap", recording.name, gap)

    def _tell_failed(self, recording: Recording) -> None:
        for stream in recording.streams:
            failed = int(self.receiver.failed[stream.number]) - stream.reported_failed
            replayed = int(self.receiver.replayed[stream.number]) - stream.reported_replayed
            if failed or replayed:
                stream.reported_failed += failed
                stream.reported_replayed += replayed
                data = {"label": stream.label, "failed": failed, "replayed": replayed}
                self._note("PacketsFailed", recording.name, data)

    def _name_withheld(self, whole: Held, keep: Mask) -> None:
        out = np.flatnonzero(~keep & (whole.event_ms < 0) & (self.table.owner[whole.frames.stream] > 0))
        for number in np.unique(whole.frames.stream[out]).tolist():
            at = whole.at_ms[out[whole.frames.stream[out] == number]]
            recording = self._by_number[int(self.table.owner[number])]
            gap = recording.add_gap(recording.stream_of(number).label, int(at.min()), int(at.max()) + 20, "withheld")
            self._tell_gaps(recording, [gap])

    def _add_stream(self, recording: Recording, stream: VoiceStream, owner: int, now_ms: int, resume: bool) -> None:
        number = stream.number
        if stream.is_clear:
            self.receiver.add_clear_stream(number)
        else:
            self.receiver.add_stream(
                number, stream.suite, stream.key, mki_bytes=stream.mki_bytes, resume=resume, heard=stream.heard
            )
            self.reports.set_key(number, stream.suite, stream.key, stream.mki_bytes)
        is_first = any(stream is known for known in recording.streams)
        elapsed = recording.opened_ms if is_first else self.elapsed_ms(recording, now_ms)
        self.table.enter(stream, owner, elapsed, now_ms)
        self._voice.enter(stream, elapsed)

    def _remove_stream(self, stream: VoiceStream) -> None:
        self.receiver.remove_stream(stream.number)
        for guard in self._guards:
            guard.forget(stream.number)
        self._old_keys = [pair for pair in self._old_keys if pair[0] != stream.number]
        self._by_number.pop(int(self.table.owner[stream.number]), None)
        self.reports.forget(stream.number)
        self._voice.forget(stream.number)
        self.table.give_number(stream.number)
