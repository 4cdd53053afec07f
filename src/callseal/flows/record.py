"""SRTP → guards → seal → spool: the media worker's half of a recording's way, wake by wake. No socket, file, clock or thread.

1. `take`: authenticate and decrypt a chunk of packets; drop what no codec names and what a paused stream sends.
2. Place each frame on its recording's timeline; show all to the guards.
3. `flush`, about once a second for all calls: of what arrived a hold-back ago, the guards decide what may be kept.
4. Sort by recording and time; each recording's frames become one Matroska cluster, sealed (`flows.sealing`).
5. Overwrite the frames; hand the spool frames of all calls over together.
6. `is_durable`, after fdatasync: only now `sealed_through` moves on, and events say so.

docs/architecture.md "Media control" and "Events" are its contract. Invariants: nothing unauthenticated is kept; nothing is sealed
that a guard did not see; what cannot be sealed (no room on disk) is dropped with a named gap, never kept in the clear.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from callseal.cards.guard import UNSEEN, make_guards, watch_all
from callseal.errors import CallsealError, Conflict, NotAcceptable, NotFound, RequestError, Unavailable
from callseal.flows.places import write_places
from callseal.flows.promises import Promises
from callseal.flows.recording import Recording, Spool, VoiceStream
from callseal.flows.sealing import GONE, Held, Note, Sealing
from callseal.flows.stream_table import BLIND, EVENT, UNKNOWN, StreamTable
from callseal.flows.voice_watch import VoiceWatch
from callseal.rtp.header import Bytes, Ints
from callseal.rtp.srtcp import SrtcpCounter
from callseal.rtp.srtp import SrtpReceiver
from callseal.rtp.srtp_crypto import Engine
from callseal.rtp.telephone_event import read_durations
from callseal.rtp.timeline import Timeline, unknown_age
from callseal.vault.card import SealingCard

HOLD_MS: Final = 200
"""How long a frame waits for what a guard may yet learn about it."""
FLUSH_MS: Final = 1000
"""At most hold, flush and one wake lie between arrival and the call of fdatasync: 1.4 s."""
SEALED_AT_ONCE: Final = 250
"""Recordings that one `Sealed` event names: below the limit of an event."""
TELLERS_LIMIT: Final = 60
"""So many flushes wait for the disk with what is to be said of each; those after them leave it to the first one that does not."""
BEGIN_MS: Final = 1000
"""A part begins with its first frames, or so long after it was opened."""


class Recorder:
    """All recordings of one worker. Times (`now_ms`) are of a monotonic clock, in ms; `age_ms` is the timeline's."""

    def __init__(
        self, spool: Spool, note: Note, card: Callable[[], SealingCard], instance: str, max_streams: int = 4096,
        age_ms: Callable[[int], int] = unknown_age, engine: Engine | None = None,
    ) -> None:  # fmt: skip
        self._spool, self._note, self._card = spool, note, card
        self.receiver = SrtpReceiver(max_streams, engine)
        self._timeline = Timeline(max_streams, age_ms)
        self._guards = make_guards()
        self.recordings: dict[str, Recording] = {}
        self._by_number: dict[int, Recording] = {}
        self.table = StreamTable(max_streams)
        self._voice = VoiceWatch(max_streams)
        self.reports = SrtcpCounter()
        self._held: deque[Held] = deque()
        self._wakes: deque[int] = deque(maxlen=1000)
        self._old_keys: list[tuple[int, int]] = []
        self._promises = Promises(spool)
        self._sealing = Sealing(spool, note, card, instance, self._promises, self.table, self._voice, self._by_number)

    def open(self, recording: Recording, now_ms: int, resume_from_ms: int | None = None) -> None:
        """Begin a recording whose streams carry numbers of `table`; with `resume_from_ms`, go on after a restart, of which
        all before was durable. Raises Conflict, NotAcceptable, Unavailable (no card); then nothing has begun."""
        if recording.name in self.recordings:
            raise Conflict("recording: expected one that is not open")
        self._card()  # without a card nothing is begun
        owner = recording.streams[0].number + 1
        added: list[VoiceStream] = []
        try:
            for stream in recording.streams:
                self._add_stream(recording, stream, owner, now_ms, resume_from_ms is not None)
                added.append(stream)
        except CallsealError:
            self._undo(added)
            raise
        for place, stream in enumerate(recording.streams):
            self.table.name(stream.number, recording.id, place)
        self.recordings[recording.name] = recording
        self._by_number[owner] = recording
        if resume_from_ms is not None:
            recording.sealed_through_ms = resume_from_ms
            gap = recording.add_gap("", resume_from_ms, max(resume_from_ms, recording.opened_ms), "worker restarted")
            self._sealing.tell_gaps(recording, [gap])

    def find(self, name: object) -> Recording:
        """An open recording. Raises NotFound."""
        recording = self.recordings.get(str(name))
        if recording is None:
            raise NotFound("recording: expected one that is open")
        return recording

    def elapsed_ms(self, recording: Recording, now_ms: int) -> int:
        """Where `now` stands on a recording's timeline."""
        return now_ms + int(self.table.base_ms[recording.streams[0].number])

    def take(self, packets: Bytes, lengths: Ints, streams: Ints, now_ms: int, read_ms: int = 0) -> None:
        """Steps 1 and 2, for one chunk that was drained at the wake `now_ms`, and was read to its end at `read_ms`."""
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
        at_ms = self._timeline.place(frames, self.receiver, arrived + max(read_ms - now_ms, 0), clock)
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
        sealed = self._sealing.seal(ripe, self._guards)
        for recording in self._find_waiting(now_ms):
            sealed += self._sealing.begin(recording)
        self._watch(now_ms)
        if through is not None and self._promises.waiting < TELLERS_LIMIT:
            self._promises.then(self._teller(through))
        self._promises.submit(sealed)

    def is_durable(self, ticket: int) -> None:
        """Step 6: fdatasync has returned for this ticket and all before it."""
        self._promises.keep(ticket)

    def close(self, recording: Recording, reason: str, now_ms: int, done: Callable[[], None]) -> None:
        """End a recording after everything it sent was taken; `done` is called when its END is durable."""
        sealed = self._sealing.seal(self._take_held(recording), self._guards)
        end_ms = max(0, self.elapsed_ms(recording, now_ms))
        self._sealing.tell_gaps(recording, recording.end_gaps(self.table, end_ms))
        counts = self.count(recording)
        self._tell_failed(np.array([stream.number for stream in recording.streams]))
        if recording.writer is None:
            sealed += self._sealing.begin(recording)
        sealed += self._sealing.end(recording, reason, end_ms, counts)
        self._promises.then(done)
        for stream in recording.streams:
            self._remove_stream(stream)
        del self.recordings[recording.name]
        self._promises.submit(sealed)

    def update(self, recording: Recording, streams: list[VoiceStream], now_ms: int) -> None:
        """New keys, pauses, codecs and streams, in the same order. Raises NotAcceptable, LimitExceeded, RequestError."""
        if len(streams) < len(recording.streams):
            raise RequestError("streams: expected those that are open, in the same order")
        owner = int(self.table.owner[recording.streams[0].number])
        added: list[VoiceStream] = []
        try:
            for place, new in enumerate(streams[len(recording.streams) :], len(recording.streams)):
                self._add_stream(recording, new, owner, now_ms, resume=False)
                self.table.name(new.number, recording.id, place)
                added.append(new)
            self._change(recording, streams, now_ms)
        except CallsealError:
            self._undo(added)
            raise
        recording.streams += added

    def _change(self, recording: Recording, streams: list[VoiceStream], now_ms: int) -> None:
        """What is new of the streams that are open."""
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
                self._sealing.tell_gaps(recording, recording.pause(old, new.paused, self.table, elapsed))
                self.table.paused[old.number] = new.paused
                self.table.last_ms[old.number] = elapsed

    def _undo(self, added: list[VoiceStream]) -> None:
        """Streams that were added a moment ago are none of this recording's after all; their numbers are the caller's again."""
        for stream in added:
            self.receiver.remove_stream(stream.number)
            self.reports.forget(stream.number)
            self._voice.forget(stream.number)
            self.table.owner[stream.number] = 0

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

    def places(self) -> bytes:
        """How far each source of each live stream was accepted, for a successor (`flows.places`)."""
        return write_places(self.table, *self.receiver.highest())

    def silent_ms(self, recording: Recording, now_ms: int) -> int:
        """How long no stream of it has had a packet."""
        last = max(int(self.table.last_ms[stream.number]) for stream in recording.streams)
        return self.elapsed_ms(recording, now_ms) - max(last, recording.opened_ms)

    def _take_held(self, recording: Recording) -> list[Held]:
        """Take one recording's frames out of what is held back: those of the others stay where they are."""
        first, *others = (stream.number for stream in recording.streams)
        taken = []
        for held in self._held:
            mine = held.frames.stream == first
            for number in others:
                mine |= held.frames.stream == number
            if mine.any():
                taken.append(held.take(mine))
                held.frames.payload[mine] = 0
                held.event_ms[mine] = GONE
        return taken

    def _find_waiting(self, now_ms: int) -> list[Recording]:
        """Recordings that have waited for their first frames long enough."""
        if not self._spool.has_room:
            return []
        waiting = [recording for recording in self.recordings.values() if recording.writer is None]
        return [it for it in waiting if self.elapsed_ms(it, now_ms) - it.opened_ms >= BEGIN_MS]

    def _watch(self, now_ms: int) -> None:
        """Say what is newly missing, and which packets did not verify."""
        live = np.flatnonzero(self.table.owner)
        for owner in np.unique(self.table.owner[live[self.table.changes_silence(live, now_ms)]]).tolist():
            recording = self._by_number[owner]
            self._sealing.tell_gaps(recording, recording.watch_silence(self.table, self.elapsed_ms(recording, now_ms)))
        for recording, missing in self._voice.find_missing(self._by_number, self.table, self.receiver.packets, now_ms):
            self._note("VoiceMissing", recording.name, missing)
        self._tell_failed(live)

    def _teller(self, through_ms: int) -> Callable[[], None]:
        """What is said of all recordings once this flush is durable; `through_ms` is of the monotonic clock."""
        reached = [(it, max(0, self.elapsed_ms(it, through_ms))) for it in self.recordings.values()]

        def tell() -> None:
            begun = []
            for recording, sealed_ms in reached:
                recording.sealed_through_ms = max(recording.sealed_through_ms, sealed_ms)
                if recording.writer is not None and recording.name in self.recordings:
                    begun.append([recording.name, recording.part, recording.sealed_through_ms])
            for first in range(0, len(begun), SEALED_AT_ONCE):
                self._note("Sealed", None, {"parts": begun[first : first + SEALED_AT_ONCE]})

        return tell

    def _tell_heard(self, streams: Ints, at_ms: Ints) -> None:
        """The first authenticated packet of each of these streams has come."""
        for number in np.unique(streams).tolist():
            self.table.first_ms[number] = from_ms = int(at_ms[streams == number].min())
            recording = self._by_number[int(self.table.owner[number])]
            data = {"part": recording.part, "label": recording.stream_of(number).label, "from_ms": max(0, from_ms)}
            self._note("StreamHeard", recording.name, data)

    def _tell_failed(self, numbers: Ints) -> None:
        """Packets of these streams that did not verify or came again since this was last told."""
        failed, replayed = self.table.take_failed(numbers, self.receiver.failed, self.receiver.replayed)
        for at in np.flatnonzero(failed | replayed).tolist():
            number = int(numbers[at])
            recording = self._by_number[int(self.table.owner[number])]
            data = {"label": recording.stream_of(number).label, "failed": int(failed[at]), "replayed": int(replayed[at])}
            self._note("PacketsFailed", recording.name, data)

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
