"""The signalling daemon: wires the SIP rules to TLS connections, the media workers and the event file.

1. A peer's message goes to the recorder; its outputs are carried out in order.
2. A new recording goes to the least loaded media worker; its orders go there one after another, their replies to the recorder.
3. Reports become numbered events, written and made durable by a thread of their own.
4. On the control socket the operator asks for a drain, and how it stands (`sip_control`).
5. When a media worker has been restarted, every live recording of its own is opened again as its next part, and what it refuses
   then is asked again each second.
6. What changed in a dialog is kept in memory that outlives this process before anything is answered; its successor takes it up.

The custodian and the database are not needed here. Personal data goes to media only, inside `meta`.
"""

import asyncio
import hmac
from collections import deque
from collections.abc import Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from os import getpid, urandom
from typing import Any

import structlog

from callseal.config.settings import Config
from callseal.daemons.lifecycle import Lifecycle, start
from callseal.daemons.peer_watch import PeerWatch
from callseal.daemons.sip_control import SipControl
from callseal.errors import CallsealError, ConfigError, Conflict, InternalError, LimitExceeded
from callseal.net.exceptions import SignedExceptions
from callseal.net.media_pool import MediaPool
from callseal.net.sip_server import Limits, Message, SipServer
from callseal.net.tls import PeerBook
from callseal.sip.exchange import CloseMedia, Connection, OpenMedia, Output, Report, Send, UpdateMedia, UpdateMeta
from callseal.sip.recorder import Recorder
from callseal.sip.signalling import SignallingWatch
from callseal.sip.snapshot import read_dialog, write_dialog
from callseal.store.event_queue import EventQueue, is_event_key
from callseal.store.events import EventWriter
from callseal.store.memory_log import MemoryLog

Order = OpenMedia | UpdateMedia | UpdateMeta | CloseMedia

TICK_SECONDS = 0.25
SWEEP_SECONDS = 1.0
REFRESH_SECONDS = 1.0
REFUSALS_PER_MINUTE = 60
LIMITED = ("PeerRefused", "BadRequest")
"""Events that strangers or a faulty peer could cause without end."""


class SipDaemon:
    """The recorder and what it acts through."""

    def __init__(self, config: Config, events: EventWriter, memory: MemoryLog) -> None:
        self._log = structlog.get_logger()
        self.events = EventQueue(events, memory)
        self._recorder = Recorder(config.media.host, config.sip.max_dialogs)
        exceptions = SignedExceptions(config.data / "cards" / "exceptions.note", config.data / "log" / "log.vkey")
        self._book = book = PeerBook(config.data / "tls", config.data / "peers", exceptions)
        self._peer_watch = PeerWatch(config.data / "tls", config.data / "peers", self.report)
        limits = Limits(connections=config.sip.max_connections)
        self.server = SipServer(book, limits, self._on_message, self._on_refused, self._owner_of)
        self.media = MediaPool(config, self._on_media)
        self.control = SipControl(config, self._recorder, self.report)
        self._tasks: set[asyncio.Task[None]] = set()
        self._orders: dict[str, deque[Order]] = {}
        self._unopened: set[str] = set()
        """Live recordings that their worker, back again, would not begin."""
        self._suppressed: dict[str, int] = {}
        self._recent: dict[str, deque[float]] = {kind: deque(maxlen=REFUSALS_PER_MINUTE) for kind in LIMITED}
        self._signalling = SignallingWatch()
        self._memory = memory
        self._take_up()

    def start_tasks(self) -> None:
        """Begin to serve."""
        self.events.start()
        self.server.start()
        for loop in (self.media.run(), self._tick(), self._sweep(), self._refresh()):
            self._spawn(loop)

    async def close(self) -> None:
        """Stop: connections close; recordings go on until media finds no more packets."""
        await self.server.close()
        await self.control.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def report(self, kind: str, recording: str | None, data: dict[str, Any]) -> None:
        """Note one event; no disk ever holds up a call."""
        if kind in LIMITED and not self._may_report(kind, data):
            return
        try:
            self.events.put(kind, recording, data, datetime.now(UTC))
        except CallsealError as error:
            self._log.error("event not written", kind=kind, why=str(error))

    def _may_report(self, kind: str, data: dict[str, Any]) -> bool:
        """At most `REFUSALS_PER_MINUTE`; the next one says how many were left out."""
        recent, now = self._recent[kind], asyncio.get_running_loop().time()
        if len(recent) == recent.maxlen and now - recent[0] < 60:
            self._suppressed[kind] = self._suppressed.get(kind, 0) + 1
            return False
        recent.append(now)
        if left_out := self._suppressed.pop(kind, 0):
            data["not_shown"] = left_out
        return True

    def _on_message(self, connection: Connection, message: Message) -> None:
        try:
            outputs = self._recorder.receive(connection, message, datetime.now(UTC))
        except CallsealError as error:
            self._log.error("request not handled", peer=connection.peer.name, why=str(error))
            return
        self._carry_out(outputs)

    def _on_refused(self, address: str, why: str) -> None:
        self.report("PeerRefused", None, {"address": address, "why": why})

    def _owner_of(self, tag: str) -> str | None:
        """The peer of a live dialog by our own tag, compared with each."""
        found = None
        for dialog in self._recorder.sessions.dialogs.all():
            if hmac.compare_digest(dialog.local_tag.encode(), tag.encode("utf-8", "surrogateescape")):
                found = dialog.peer
        return found

    def _take_up(self) -> None:
        """Lead on the dialogs that a process before this one has left."""
        for key, data in self._memory.items().items():
            if is_event_key(key):
                continue
            try:
                self._recorder.sessions.restore(read_dialog(data))
            except InternalError as error:
                self._log.error("dialog not taken up", why=str(error))
                self._memory.remove(key)
        for dialog in self._recorder.sessions.dialogs.all():
            self.media.place(dialog.recording, dialog.worker, len(dialog.ports))
        if live := len(self._recorder.sessions.dialogs):
            self._log.warning("dialogs taken up", dialogs=live)

    def _remember(self) -> None:
        """Keep what has changed, for a successor."""
        for recording, dialog in self._recorder.sessions.dialogs.take_touched():
            key = bytes.fromhex(recording)
            if dialog is None:
                self._memory.remove(key)
                continue
            try:
                self._memory.put(key, write_dialog(dialog))
            except LimitExceeded as error:
                self._log.error("dialog not remembered", recording=recording, why=str(error))

    def _carry_out(self, outputs: list[Output]) -> None:
        self._remember()
        for output in outputs:
            match output:
                case Send():
                    self.server.send(output.connection, output.data, output.close)
                case Report():
                    self.report(output.kind, output.recording, output.data)
                case _:
                    self._order(output)

    def _order(self, output: Order) -> None:
        """Queue a media order behind those of its recording."""
        waiting = self._orders.get(output.recording)
        if waiting is not None:
            waiting.append(output)
            return
        self._orders[output.recording] = deque([output])
        self._spawn(self._do_orders(output.recording))

    async def _do_orders(self, recording: str) -> None:
        orders = self._orders[recording]
        try:
            while orders:
                await self._do_order(orders[0])
                orders.popleft()
        finally:
            del self._orders[recording]

    async def _do_order(self, output: Order) -> None:
        try:
            match output:
                case OpenMedia():
                    self._media_answered(output.recording, *await self.media.open(output.recording, output.request))
                case UpdateMedia():
                    self._media_answered(output.recording, *await self.media.update(output.recording, output.streams))
                case UpdateMeta():
                    await self.media.tell_meta(output.recording, output.meta)
                case CloseMedia():
                    await self.media.close(output.recording, output.reason)
        except CallsealError as error:
            self._log.warning("media refused", order=type(output).__name__, recording=output.recording, why=str(error))
            if isinstance(output, OpenMedia) and output.request["resume"] and not isinstance(error, Conflict):
                self._unopened.add(output.recording)
            if isinstance(output, OpenMedia | UpdateMedia):
                self._carry_out(self._recorder.media_failed(output.recording, datetime.now(UTC)))

    def _media_answered(self, recording: str, worker: int, reply: dict[str, Any]) -> None:
        ports = reply.get("ports")
        if not isinstance(ports, list) or not all(isinstance(port, int) for port in ports):
            raise InternalError("media: expected ports in the reply")
        self._carry_out(self._recorder.media_answered(recording, ports, datetime.now(UTC), worker))

    async def _on_media(self, worker: int) -> None:
        """The line to a worker stands (again): say what goes on of what it had, and open again what it no longer knows. Where
        this fails, the line is tried again."""
        recordings = [dialog.recording for dialog in self._recorder.sessions.dialogs.all()]
        live = [recording for recording in recordings if self.media.worker_of(recording) == worker]
        if not live:
            return
        status = await self.media.status(worker)
        known = {entry.get("recording") for entry in status.get("recordings", [])}
        for recording in live:
            if (order := self._recorder.attach(recording, recording in known)) is not None:
                self._carry_out([order])

    def _open_again(self) -> None:
        for recording in self._unopened - self._orders.keys():
            self._unopened.discard(recording)
            if (order := self._recorder.attach(recording, False, again=True)) is not None:
                self._carry_out([order])

    async def _refresh(self) -> None:
        """Changed certificates and peers are taken up without a restart; calls that are up go on."""
        while True:
            changed = False
            try:
                changed = self.server.refresh()
                self._peer_watch.step(self._book.peers, changed, datetime.now(UTC))
            except ConfigError as error:
                self._log.error("peers not read again", why=str(error))
            await asyncio.sleep(REFRESH_SECONDS)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self._carry_out(self._recorder.tick(datetime.now(UTC)))
            self.events.tidy()

    async def _sweep(self) -> None:
        """Open again what was refused. Tell of recordings whose peer is gone and whose packets have stopped; end them later:
        nobody is left to send BYE."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self._open_again()
            dialogs = self._recorder.sessions.dialogs.all()
            if all(self.server.has_peer(peer) for peer in {dialog.peer for dialog in dialogs}):
                continue
            statuses = await self.media.statuses()
            dialogs = [dialog for dialog in dialogs if self.media.worker_of(dialog.recording) in statuses]
            entries = [entry for status in statuses.values() for entry in status["recordings"]]
            packets = {entry["recording"]: [stream.get("packets") for stream in entry.get("streams", [])] for entry in entries}
            lost, over = self._signalling.step(dialogs, packets, self.server.has_peer, asyncio.get_running_loop().time())
            peers = {dialog.recording: dialog.peer for dialog in dialogs}
            for recording in lost:
                self.report("SignallingLost", recording, {"peer": peers[recording], "why": "no-connection"})
            for recording in over:
                self._carry_out(self._recorder.end(recording, "signalling_lost"))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.error("task ended", error=type(error).__name__, exc_info=error)


async def serve(lifecycle: Lifecycle) -> int:
    """Serve until told to stop."""
    config = lifecycle.config
    instance = urandom(8).hex()
    with EventWriter(config.data / "events", "sip") as events:
        daemon = SipDaemon(config, events, lifecycle.open_memory())
        daemon.server.open(config.sip.host, config.sip.port)
        lifecycle.confine(
            read=[config.data / name for name in ("tls", "peers", "cards", "log")],
            write=[config.data / "events" / "sip", config.run],
        )
        daemon.report("WorkerStarted", None, {"instance": instance, "pid": getpid()})
        await daemon.control.start()
        daemon.start_tasks()
        with suppress(TimeoutError):
            await asyncio.wait_for(daemon.media.wait_connected(), 5)
        host, port = daemon.server.address
        lifecycle.ready(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        await lifecycle.stopping.wait()
        await daemon.close()
        daemon.report("WorkerStopped", None, {"instance": instance, "pid": getpid()})
        daemon.events.close()
    return 0


def run(config: Config) -> int:
    """Run the signalling daemon to its end; returns its exit code."""
    lifecycle = start("sip", config)
    return lifecycle.run(lambda: serve(lifecycle))
