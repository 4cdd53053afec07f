"""A media worker: wakes five times a second, drains one socket a stream, and lets `flows.record` seal what came.

1. Open the spool and the events of this instance; shut the process in; start the spool's thread; serve the control socket.
2. Every `WAKE_MS`: drain all RTP sockets; every `FLUSH_MS`: seal, and hand over to the spool.
3. When the spool says durable, what was sealed counts as sealed.
4. On SIGTERM: end every recording, and wait until that is durable.

docs/architecture.md "Media control". Invariants: this process cannot open what it sealed (import contract); without a
sealing card no recording is opened; a call that signalling lost is ended `ORPHAN_MS` after its last packet.
"""

import asyncio
import os
import resource
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import structlog

from callseal.config.folders import users_of
from callseal.config.settings import Config
from callseal.daemons.lifecycle import Lifecycle, start
from callseal.daemons.media_account import MediaAccount
from callseal.daemons.process import give_large_blocks_back, pin_to_core
from callseal.daemons.sealing_cards import SealingCards
from callseal.errors import CallsealError, ConfigError, LimitExceeded, RequestError
from callseal.flows.places import PlacesBefore
from callseal.flows.record import FLUSH_MS, Recorder
from callseal.flows.recording import MAX_STREAMS, Recording, VoiceStream, encode_meta
from callseal.model.clock import parse_time
from callseal.model.ids import RecordingId, parse_recording_id
from callseal.model.message import Message
from callseal.net.control_server import ControlServer
from callseal.net.multi_buffer import find_engine
from callseal.net.stream_sockets import StreamSockets
from callseal.net.udp_batch import Chunk, Share
from callseal.store.event_queue import EventQueue
from callseal.store.events import Event, EventWriter, read_events
from callseal.store.memory_log import KEY_BYTES, MemoryLog
from callseal.store.spool import SpoolWriter

WAKE_MS = 197
"""A prime: no packet time divides it, so that wakes find packets of every age, and the timeline their true moment."""
ORPHAN_MS = 10_000
CLOSE_SECONDS = 1.5
REASONS = ("bye", "cancel", "signalling_lost", "refused")
EVENTS_REREAD = 50_000
_PLACES = b"places".ljust(KEY_BYTES, b"\0")
_MUXED_RTCP = (192, 223)
"""Second bytes of an RTCP packet on an RTP port (RFC 5761 section 4)."""


def now_ms() -> int:
    """A monotonic clock in whole milliseconds."""
    return time.monotonic_ns() // 1_000_000


class MediaDaemon:
    """One worker: sockets, recorder, spool, events."""

    def __init__(
        self, config: Config, worker: int, instance: str, events: EventWriter, memory: MemoryLog, memory_locked: bool = False
    ) -> None:
        self._config, self._source, self.instance = config, config.media_names[worker], instance
        self.events = EventQueue(events, memory)
        self._log = structlog.get_logger()
        self._loop = asyncio.get_running_loop()
        spool = config.data / "spool" / self._source
        self.spool = SpoolWriter(spool, instance, config.media.spool_segment_bytes, self._on_durable)
        cards = SealingCards(config.data / "cards", config.data / "log" / "log.vkey", self.note)
        engine, why = find_engine(config.media.engine)
        self._log.info("SRTP", engine=engine.name, why=why)
        media = config.media
        self._sockets = StreamSockets(media.host, media.first_port, media.last_port, Share(worker, media.workers))
        self.recorder = Recorder(self.spool, self.note, cards.choose, instance, age_ms=self._sockets.age_ms, engine=engine)
        self.server = ControlServer(
            config.media_socket(worker), self.handle, self._on_gone, users_of(config.data / "events" / "sip")
        )
        self.account = MediaAccount(config.run, self._source, self.recorder, self.spool, self.events, memory_locked)
        self._before = _last_life(config, self._source, events.last, self.events.kept)
        self._memory = memory
        self._places_before = PlacesBefore(memory.get(_PLACES) or b"")
        self._wakes = 0
        self._late_ms: deque[int] = deque(maxlen=3000)
        self._told_disk = False
        self._tasks: set[asyncio.Task[Any]] = set()

    def note(self, kind: str, recording: str | None, data: dict[str, Any]) -> None:
        """Note one event; no disk ever holds up a call."""
        try:
            self.events.put(kind, recording, data, datetime.now(UTC))
        except CallsealError as error:
            self._log.error("event not written", kind=kind, why=str(error))

    async def run(self, stopping: asyncio.Event) -> None:
        """Wake until stopped, then end every recording."""
        due = now_ms()
        flush_at = due + FLUSH_MS
        while not stopping.is_set():
            self._late_ms.append(now_ms() - due)
            began = self._drain()
            if began >= flush_at:
                self._flush(began)
                flush_at = max(flush_at + FLUSH_MS, began + FLUSH_MS // 2)
            due = max(due + WAKE_MS, now_ms() + 1)
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), (due - now_ms()) / 1000)
        await asyncio.gather(*[self._close(recording, "worker_stopped") for recording in list(self.recorder.recordings.values())])

    async def handle(self, request: Message, connection: int) -> Message:
        """One control request. Raises CallsealError, which becomes the refusal."""
        match request["type"]:
            case "media.open":
                return self._open(request, connection)
            case "media.status":
                return self._status()
            case "media.update" | "media.meta" | "media.close" as kind:
                recording = self.recorder.find(request.get("recording"))
                recording.connection = connection
                if kind == "media.update":
                    return self._update(recording, request)
                if kind == "media.meta":
                    self.recorder.update_meta(recording, encode_meta(request.get("meta")), now_ms())
                    return {}
                reason = request.get("reason")
                return await self._close(recording, reason if reason in REASONS else "refused")
        raise RequestError(f"type: expected a media request, got {str(request['type'])[:40]}")

    def _open(self, request: Message, connection: int) -> Message:
        recording_id = parse_recording_id(str(request["recording"]))
        meta = encode_meta(request.get("meta", {}))
        fields = _check_streams(request)
        opened_ms = max(0, int((datetime.now(UTC) - parse_time(request["started_at"])).total_seconds() * 1000))
        last_part, sealed_ms = self._before.get(recording_id.hex(), (-1, 0))
        part = max(int(request.get("part", 0)), last_part + 1)
        guarded = self._config.cards.guards(str(request.get("class")))
        with self._new_streams() as take:
            streams = [VoiceStream.read(take(stream), stream, guarded) for stream in fields]
            if request.get("resume"):
                self._remind(recording_id, streams)
            recording = Recording(recording_id, part, streams, meta, opened_ms)
            recording.connection = connection
            self.recorder.open(recording, now_ms(), sealed_ms if request.get("resume") else None)
        return self._listen(recording)

    def _update(self, recording: Recording, request: Message) -> Message:
        fields = _check_streams(request)
        known = [stream.number for stream in recording.streams]
        guarded = recording.streams[0].guarded
        with self._new_streams() as take:
            numbers = known + [take(stream) for stream in fields[len(known) :]]
            streams = [VoiceStream.read(number, stream, guarded) for number, stream in zip(numbers, fields, strict=False)]
            self._drain_of(recording)
            self.recorder.update(recording, streams, now_ms())
        reply = self._listen(recording)
        for stream in recording.streams:
            self._sockets.let_go(stream.number, stream.is_clear)
        return reply

    @contextmanager
    def _new_streams(self) -> Iterator[Callable[[dict[str, Any]], int]]:
        """Gives a number with its sockets for each new stream, and takes all of them back where this does not end well."""
        taken: list[int] = []

        def take(stream: dict[str, Any]) -> int:
            taken.append(number := self.recorder.table.take_number())
            self._sockets.bind(number, stream)
            return number

        try:
            yield take
        except BaseException:
            for number in taken:
                self._sockets.close(number)
                self.recorder.table.give_number(number)
            raise

    def _listen(self, recording: Recording) -> Message:
        numbers = [stream.number for stream in recording.streams]
        self._sockets.listen(numbers)
        return {"ports": [self._sockets.port(number) for number in numbers], "part": recording.part}

    async def _close(self, recording: Recording, reason: str) -> Message:
        self._drain_of(recording)
        counts = self.recorder.count(recording)
        self.account.end(recording)
        ended = asyncio.Event()
        self.recorder.close(recording, reason, now_ms(), ended.set)
        for stream in recording.streams:
            self._sockets.close(stream.number)
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await ended.wait()
                await self._events_written()
        return {"sealed_through_ms": recording.sealed_through_ms, **counts}

    def _remind(self, recording: RecordingId, streams: list[VoiceStream]) -> None:
        """What the worker before this one had accepted of these streams: none of it counts again."""
        for place, heard in self._places_before.take(recording).items():
            if place < len(streams):
                streams[place].heard = heard

    def _remember(self) -> None:
        """Keep each live stream's place in SRTP's replay lists, for a successor (RFC 3711 section 3.3.2)."""
        with suppress(LimitExceeded):
            self._memory.put(_PLACES, self.recorder.places() + self._places_before.to_bytes())

    def _status(self) -> Message:
        late = sorted(self._late_ms)
        return {
            "recordings": [self.recorder.status(recording) for recording in self.recorder.recordings.values()],
            "wakes": self._wakes,
            "late_ms_p99": late[len(late) * 99 // 100] if late else 0,
            "reports": {"verified": self.recorder.reports.verified, "failed": self.recorder.reports.failed},
        }

    def _drain(self) -> int:
        """Take everything that waits on the RTP sockets; returns when that began."""
        began = now_ms()
        self._wakes += 1
        self._take(self._sockets.drain(), began)
        self.recorder.woke(began, all_taken=not self._sockets.left_some)
        return began

    def _drain_of(self, recording: Recording) -> None:
        """Take everything that waits for one recording."""
        self._take(self._sockets.drain([stream.number for stream in recording.streams]), now_ms())

    def _take(self, chunks: Iterable[Chunk], began: int) -> None:
        for packets, lengths, streams in chunks:
            read = now_ms()
            rtcp = (packets[:, 1] >= _MUXED_RTCP[0]) & (packets[:, 1] <= _MUXED_RTCP[1])
            if rtcp.any():
                self.recorder.reports.take(packets[rtcp], lengths[rtcp], streams[rtcp])
                packets, lengths, streams = packets[~rtcp], lengths[~rtcp], streams[~rtcp]
            self.recorder.take(packets, lengths, streams, began, read)
        for number, count in self._sockets.take_refused():
            self.recorder.receiver.failed[number] += count

    def _flush(self, began: int) -> None:
        for chunk in self._sockets.drain_reports():
            self.recorder.reports.take(*chunk)
        self.recorder.flush(began)
        self._remember()
        for recording in list(self.recorder.recordings.values()):
            if recording.connection == 0 and self.recorder.silent_ms(recording, began) > ORPHAN_MS:
                self._spawn(self._close(recording, "signalling_lost"))
        failing = "spool" if self.spool.failing else "events" if self.events.failing else ""
        if failing and not self._told_disk:
            self.note("DiskLow", None, {"why": failing})
        self._told_disk = bool(failing)
        if (late := self.account.find_late(now_ms())) is not None:
            self.note("SealingLate", None, late)
        self.events.tidy()
        self._spawn(self.account.write(datetime.now(UTC), now_ms(), self._wakes, self._late_ms))

    async def _events_written(self) -> None:
        """Everything noted so far stands in the events' file."""
        written = asyncio.Event()

        def tell() -> None:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(written.set)

        self.events.then(tell, datetime.now(UTC))
        await written.wait()

    def _spawn(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _on_durable(self, ticket: int) -> None:
        with suppress(RuntimeError):  # the loop has ended; nobody is left to tell
            self._loop.call_soon_threadsafe(self.recorder.is_durable, ticket)

    def _on_gone(self, connection: int) -> None:
        for recording in self.recorder.recordings.values():
            if recording.connection == connection:
                recording.connection = 0


def _check_streams(request: Message) -> list[dict[str, Any]]:
    streams = request.get("streams")
    if not isinstance(streams, list) or not streams or not all(isinstance(stream, dict) for stream in streams):
        raise RequestError("streams: expected a list of streams")
    if len(streams) > MAX_STREAMS:
        raise LimitExceeded(f"streams: expected at most {MAX_STREAMS}, got {len(streams)}")
    return streams


def _last_life(config: Config, source: str, last: int, kept: list[Event]) -> dict[str, tuple[int, int]]:
    """By recording: its last part and how far it was durable, from this worker's own newest events."""
    found: dict[str, tuple[int, int]] = {}
    for event in [*read_events(config.data / "events", source, max(0, last - EVENTS_REREAD), EVENTS_REREAD), *kept]:
        data = event["data"]
        reached = data.get("parts", []) if event["type"] == "Sealed" else []
        if event["type"] in ("PartStarted", "PartEnded") and event["recording"]:
            reached = [[event["recording"], data.get("part", 0), data.get("sealed_through_ms", 0)]]
        for recording, part, through_ms in reached:
            before = found.get(recording, (-1, 0))
            found[recording] = max(before[0], part), max(before[1], through_ms)
    return found


async def serve(lifecycle: Lifecycle, worker: int) -> int:
    """Work until told to stop."""
    config, source, instance = lifecycle.config, lifecycle.name, os.urandom(8).hex()
    with EventWriter(config.data / "events", source) as events:
        daemon = MediaDaemon(config, worker, instance, events, lifecycle.open_memory(), lifecycle.memory_locked)
        lifecycle.confine(
            read=[config.data / "cards", config.data / "log"],
            write=[config.data / "spool" / source, config.data / "events" / source, config.run],
        )
        daemon.spool.start()
        daemon.events.start()
        await daemon.server.start()
        daemon.note("WorkerStarted", None, {"instance": instance, "pid": os.getpid()})
        lifecycle.ready(str(config.media_socket(worker)))
        await daemon.run(lifecycle.stopping)
        await daemon.server.close()
        daemon.note("WorkerStopped", None, {"instance": instance, "pid": os.getpid()})
        daemon.spool.close()
        daemon.account.remove()
        daemon.events.close()
    return 0


def run(config: Config, worker: int = 0) -> int:
    """Run a media worker to its end; returns its exit code. Raises ConfigError for one that the settings do not have."""
    if not 0 <= worker < config.media.workers:
        raise ConfigError(f"--worker: expected 0 to {config.media.workers - 1} (media.workers), got {worker}")
    lifecycle = start(config.media_names[worker], config)
    give_large_blocks_back()
    if (core := pin_to_core(worker, config.media.workers)) is not None:
        lifecycle.log.info("pinned", core=core)
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return lifecycle.run(lambda: serve(lifecycle, worker))
