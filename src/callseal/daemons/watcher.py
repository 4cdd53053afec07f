"""The watcher: brings finished recordings in, carries events to the log, has what is due destroyed, and raises alerts.

1. Bring the database to this version; shut the process in: it writes rows and objects, frees spools, and reads events.
2. Round by round: capture, relay; less often reconcile, dispose, drain. What is away is waited for, and says so once.
   Beside it alerts and figures, for which nobody else is waited, and mail.
3. On SIGTERM, end after the round that is going on: every round may be cut off anywhere.

Invariants: no key comes near this process; `callseal.vault.unseal` and the custodian are not imported (import contract).
"""

import asyncio
import contextlib
import os
import time
from datetime import UTC, datetime, timedelta
from datetime import time as clock_time
from pathlib import Path
from typing import Any

import structlog

from callseal.audit.cosignature import CosignatureVerifier, parse_cosigner
from callseal.config.settings import Config
from callseal.connectors.witness import HttpWitness, LocalWitness
from callseal.daemons.lifecycle import Lifecycle, start
from callseal.errors import CallsealError, Unavailable
from callseal.flows.alert import Watch
from callseal.flows.capture import Capture
from callseal.flows.dispose import Disposal
from callseal.flows.drain import Drain
from callseal.flows.metrics import write_gauges
from callseal.flows.post import Post
from callseal.flows.reconcile import Reconciliation
from callseal.flows.relay import Relay
from callseal.flows.witness import Witnessing, read_witness_key
from callseal.keyring.client import Keyring
from callseal.model.call import Severity
from callseal.model.message import Message
from callseal.notify.journal import announce
from callseal.notify.mail import send_mail, write_mail
from callseal.store.database import Database
from callseal.store.events import EventWriter
from callseal.store.files import make_folder
from callseal.store.objects import ObjectStore
from callseal.store.private_calls import forget

ROUND_SECONDS = 0.2
RECONCILE_EVERY = timedelta(seconds=1)
FORGET_EVERY = timedelta(hours=1)
POST_SECONDS = 5.0
ALERT_EVERY = timedelta(seconds=2)
DISPOSE_EVERY = timedelta(seconds=60)
DRAIN_EVERY = timedelta(minutes=10)
PROBE_EVERY = timedelta(seconds=5)
PROBE_SECONDS = 5.0
DATABASE_GRACE = timedelta(seconds=5)
WITNESS_EVERY = timedelta(seconds=2)
FORGET_EVERY = timedelta(minutes=10)
LONGEST_PAUSE_SECONDS = 5.0


class WatchedKeyring:
    """The custodian's client, with since when it has been away."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self.away_since: datetime | None = None

    async def ask(self, message_type: str, **fields: Any) -> Message:
        """As `Keyring.ask`. A refusal is an answer; Unavailable is none."""
        try:
            reply = await self._keyring.ask(message_type, **fields)
        except Unavailable:
            self.away_since = self.away_since or datetime.now(UTC)
            raise
        self.away_since = None
        return reply

    async def probe(self, now: datetime) -> None:
        """Ask whether it is there, with less patience than for work; where it does not say so, it has been away since `now`."""
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await self._keyring.ask("status")
        except (Unavailable, TimeoutError):
            self.away_since = self.away_since or now
        else:
            self.away_since = None


class Watcher:
    """All flows of this process on one loop, one after another."""

    def __init__(self, config: Config, database: Database, events: EventWriter) -> None:
        objects = ObjectStore(config.data / "objects")
        self._database = database
        self._events = events
        self.keyring = WatchedKeyring(Keyring(config.custodian_socket))
        self.capture = Capture(database, objects, self.keyring, config.data, events.write, config.retention)
        self._relay = Relay(database, self.keyring, config.data)
        self._disposal = Disposal(database, objects, self.keyring)
        self._drain = Drain(database, self.keyring, self.capture.spool)
        self._reconciliation = Reconciliation(database, events.write, timedelta(days=config.retention.default_days + 1))
        self._watch = Watch(database, config.data, announce)
        self._keep_days = config.private.keep_days
        self._witnessing = make_witnessing(config)
        self._next: dict[str, datetime] = {}
        self._was_away = self._is_told = False
        self._database_away_since: datetime | None = None
        self._round_milliseconds = 0
        self._log = structlog.get_logger()

    async def round(self, now: datetime) -> bool:
        """One round of step 2; returns whether everything could be done."""
        began = time.monotonic()
        done = await self._try("capture", self.capture.step(now))
        done &= await self._try("relay", self._relay.step())
        if self._is_time("reconcile", now, RECONCILE_EVERY):
            done &= await self._try("reconcile", self._reconcile(now))
        if self._is_time("dispose", now, DISPOSE_EVERY):
            done &= await self._try("dispose", self._disposal.step(now))
        if self._is_time("drain", now, DRAIN_EVERY):
            done &= await self._try("drain", self._drain.step())
        if self._witnessing is not None and self._is_time("witness", now, WITNESS_EVERY):
            done &= await self._try("witness", self._witnessing.step(now))
        if self._is_time("forget", now, FORGET_EVERY):
            done &= await self._try("forget", self._forget(now))
        self._round_milliseconds = int((time.monotonic() - began) * 1000)
        self._events.sync()
        return done

    async def keep_telling(self) -> None:
        """Alerts and figures, until cancelled, whatever a round waits for; a database that is away is told of without it."""
        while True:
            now = datetime.now(UTC)
            if self._is_time("probe", now, PROBE_EVERY):
                await self._try("probe", self.keyring.probe(now))
            self._note_absence(now)
            if await self._try("alert", self._tell(now)):
                self._database_away_since = None
            else:
                self._tell_of_database(now)
            await asyncio.sleep(ALERT_EVERY.total_seconds())

    def _tell_of_database(self, now: datetime) -> None:
        self._database_away_since = self._database_away_since or now
        if not self._is_told and now - self._database_away_since > DATABASE_GRACE:
            text = "The database does not answer. Calls are still recorded and sealed."
            announce("database_away", Severity.CRITICAL, text, None)
        self._is_told = now - self._database_away_since > DATABASE_GRACE

    async def _forget(self, now: datetime) -> None:
        with self._database.write() as connection:
            forget(connection, self._keep_days, now)

    async def _reconcile(self, now: datetime) -> None:
        self._reconciliation.step(now)
        if self._is_time("forget records", now, FORGET_EVERY):
            self._reconciliation.forget_old(now)

    async def _tell(self, now: datetime) -> None:
        self.capture.take_events(now)  # a round may wait for the custodian, and alerts must not speak of what was true before
        spool_age = self.capture.waiting_age(now)
        self._watch.step(now, spool_age, self.keyring.away_since)
        away = self.keyring.away_since
        gauges = {
            "spool_age_seconds": int(spool_age.total_seconds()) if spool_age else 0,
            "spool_parts_waiting": self.capture.waiting,
            "spool_damaged_bytes": self.capture.spool.damaged_bytes,
            "custodian_away_seconds": int((now - away).total_seconds()) if away else 0,
            "watcher_step_milliseconds": self._round_milliseconds,
        }
        with self._database.write() as connection:
            write_gauges(connection, gauges, now)

    async def _try(self, flow: str, work: Any) -> bool:
        try:
            await work
        except Unavailable as error:
            self._log.warning("waiting", flow=flow, why=str(error))
            return False
        except (CallsealError, OSError) as error:
            self._log.error("failed", flow=flow, kind=type(error).__name__, why=str(error))
            return False
        return True

    def _is_time(self, what: str, now: datetime, every: timedelta) -> bool:
        if now < self._next.get(what, now):
            return False
        self._next[what] = now + every
        return True

    def _note_absence(self, now: datetime) -> None:
        is_away = self.keyring.away_since is not None
        if is_away and not self._was_away:
            self._events.write("CustodianAway", None, {}, now)
        self._was_away = is_away


def make_witnessing(config: Config) -> Witnessing | None:
    """The witness of the settings, where private calls ask for one. Raises ConfigError, TamperedError."""
    private, data = config.private, config.data
    if not private.enabled:
        return None
    if private.witness != "local":
        key = parse_cosigner(private.witness_key)
        return Witnessing(data / "log", data / "witness", HttpWitness(private.witness), lambda: key)

    def local_key() -> CosignatureVerifier:
        return read_witness_key(data / "witness-key" / "witness.vkey")

    return Witnessing(data / "log", data / "witness", LocalWitness(config.run / "witness.address"), local_key)


def run(config: Config) -> int:
    """Watch until stopped; returns the exit code."""
    lifecycle = start("watcher", config)
    data = config.data
    database = Database(config.database_url)
    database.migrate()  # 1
    writes = [data / name for name in ("database", "objects", "spool", "events/watcher")]
    reads = [data / "events"]
    if config.private.enabled:
        make_folder(data / "log")
        make_folder(data / "witness-key")
        writes.append(data / "witness")
        reads += [data / "log", data / "witness-key"]
    (data / "events").mkdir(parents=True, exist_ok=True, mode=0o700)
    mail = config.mail
    trusted = [Path(name) for name in (mail.password_file, mail.ca_file) if name]
    port = mail.port if mail.host else 0
    lifecycle.confine(read=[*reads, *trusted], write=[config.run, *writes], connect=config.private.enabled, connect_port=port)
    with EventWriter(data / "events", "watcher") as events:
        return lifecycle.run(lambda: _watch(lifecycle, config, database, events))


async def _watch(lifecycle: Lifecycle, config: Config, database: Database, events: EventWriter) -> int:
    watcher = Watcher(config, database, events)
    facts = {"instance": f"watcher-{os.getpid()}", "pid": os.getpid()}
    events.write("WorkerStarted", None, facts, datetime.now(UTC))
    lifecycle.ready("no address")
    beside = [asyncio.create_task(watcher.keep_telling())]
    if config.mail.host:
        beside.append(asyncio.create_task(_post(config, database)))
    pause = ROUND_SECONDS
    while not lifecycle.stopping.is_set():
        done = await watcher.round(datetime.now(UTC))  # 2
        pause = ROUND_SECONDS if done else min(pause * 2, LONGEST_PAUSE_SECONDS)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(lifecycle.stopping.wait(), pause)
    for task in beside:
        task.cancel()
    await asyncio.gather(*beside, return_exceptions=True)
    events.write("WorkerStopped", None, facts, datetime.now(UTC))  # 3
    events.sync()
    database.close()
    return 0


async def _post(config: Config, database: Database) -> None:
    """Mail what is due until cancelled; what cannot be sent waits in the outbox."""
    log = structlog.get_logger()

    async def send(name: str, subject: str, body: str, made_at: datetime) -> None:
        await asyncio.to_thread(send_mail, config.mail, write_mail(config.mail, name, subject, body, made_at))

    console = config.web.origin or f"http://localhost:{config.web.port}"
    post = Post(database, send, config.business, console, clock_time.fromisoformat(config.mail.at))
    while True:
        try:
            post.report(datetime.now(UTC))
            while await post.deliver(datetime.now(UTC)):
                log.info("mailed")
        except Unavailable as error:
            log.warning("waiting", flow="post", why=str(error))
        await asyncio.sleep(POST_SECONDS)
