"""The custodian's daemon: one Unix socket, one message after another, and a minute's timer for what time asks for.

1. Open or make the installation; invite the first people. 2. Bind the socket (for its clients alone). 3. Shut the
process in.
4. Issue a sealing card where one is due; be ready. 5. Serve until stopped; write what is still counted.
Limits: connections, bytes of a message, seconds that a half-sent message may take. A failed write ends the process: its next
start finishes what was begun.
"""

import asyncio
import contextlib
import socket
import struct
from datetime import UTC, datetime
from importlib import resources
from typing import Any, Final

from callseal.authn.passkey import RelyingParty
from callseal.config.folders import joint_mode, users_of
from callseal.config.settings import Config
from callseal.custodian.card import rotate_cards
from callseal.custodian.cell import FileCell
from callseal.custodian.custody import Custody, Place, Terms, start_custody
from callseal.custodian.first_run import invite_first_people
from callseal.custodian.service import answer, keep_house
from callseal.daemons.lifecycle import Lifecycle, start
from callseal.errors import CallsealError, ConfigError, InternalError, Unavailable
from callseal.model.message import Message, MessageDecoder, encode_message, refuse
from callseal.policy.decision import PolicySet
from callseal.store.events import EventWriter

LIMIT_BYTES: Final = 4 << 20
CONNECTIONS: Final = 64
HALF_SENT_SECONDS: Final = 10.0
HOUSE_SECONDS: Final = 60.0
FAILED: Final = 75
CLIENTS: Final = ("web", "watcher")
"""The daemons that may ask; by their users, where each has one of its own. Root may too: its commands do."""
_PEER = struct.Struct("3i")


def run(config: Config) -> int:
    """Serve until stopped; returns the exit code. Raises ConfigError, TamperedError, Unavailable at the start."""
    lifecycle = start("custodian", config)
    with EventWriter(config.data / "events", "custodian") as events:

        def alarm(kind: str, data: dict[str, Any]) -> None:
            events.write(kind, None, data, _now())
            events.sync()

        custody = open_custody(config, alarm)  # 1
        listener = bind(config)  # 2
        lifecycle.confine(
            write=[config.data / "custodian", config.data / "log", config.data / "cards", config.run, events_folder(config)]
        )  # 3
        rotate_cards(custody, _now())  # 4
        return lifecycle.run(lambda: Server(custody, lifecycle).serve(listener))  # 5


def open_custody(config: Config, alarm: Any) -> Custody:
    """Step 1, from the settings. Raises ConfigError, TamperedError, Unavailable."""
    if config.custody.cell != "file":
        raise ConfigError("custody.cell: expected file")
    texts = resources.files("callseal.policy")
    policy = PolicySet(
        texts.joinpath("policies.cedar").read_text(encoding="utf-8"),
        texts.joinpath("schema.cedarschema").read_text(encoding="utf-8"),
    )
    terms = Terms(
        config.retention.default_days, (), config.custody.recovery_copy_days, config.custody.max_early_destructions
    )
    origin = config.web.origin or f"http://localhost:{config.web.port}"
    party = RelyingParty(config.web.rp_id, (origin,))
    custody = start_custody(
        Place(config.data), terms, party, policy, FileCell(config.data / "custodian" / "cell"), alarm, _now()
    )
    invite_first_people(custody, _now())
    return custody


def bind(config: Config) -> socket.socket:
    """Step 2: the listening socket; one that a dead custodian left is replaced. Raises Unavailable."""
    path = config.custodian_socket
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        path.chmod(joint_mode(path.parent))
    except OSError as error:
        listener.close()
        raise Unavailable(f"custodian: expected to listen on its socket, got {error.strerror}") from error
    return listener


class Server:
    """Connections in, replies out. One message is worked on at a time, in a thread, so that the loop can still refuse."""

    def __init__(self, custody: Custody, lifecycle: Lifecycle) -> None:
        self._custody = custody
        self._lifecycle = lifecycle
        self._turn = asyncio.Lock()
        self._open: set[asyncio.StreamWriter] = set()
        self._failed = False

    async def serve(self, listener: socket.socket) -> int:
        """Until `stopping` is set; returns 0, or 75 after a failed write."""
        server = await asyncio.start_unix_server(self._welcome, sock=listener, backlog=CONNECTIONS)
        self._lifecycle.ready(str(self._lifecycle.config.custodian_socket))
        house = asyncio.create_task(self._keep_house())
        await self._lifecycle.stopping.wait()
        house.cancel()
        server.close()
        for writer in list(self._open):
            writer.transport.abort()
        async with self._turn:
            with contextlib.suppress(Unavailable):
                await asyncio.to_thread(keep_house, self._custody, _now(), stopping=True)
        return FAILED if self._failed else 0

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pid, uid, _ = _PEER.unpack(writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        clients = users_of(*(self._lifecycle.config.data / "events" / name for name in CLIENTS))
        self._lifecycle.log.debug("connected", pid=pid, uid=uid)
        if len(self._open) >= CONNECTIONS or uid not in clients:
            self._custody.refusals.note("message")
            self._lifecycle.log.warning("refused", pid=pid, uid=uid)
            writer.transport.abort()
            return
        self._open.add(writer)
        try:
            await self._converse(reader, writer, pid)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pid: int) -> None:
        decoder, half = MessageDecoder(LIMIT_BYTES), False
        while True:
            try:
                async with asyncio.timeout(HALF_SENT_SECONDS if half else None):
                    data = await reader.read(1 << 16)
                if not data:
                    return
                half = True
                for message in decoder.feed(data):
                    half = False
                    writer.write(encode_message(await self._answer(message), LIMIT_BYTES))
                    await writer.drain()
            except (CallsealError, TimeoutError) as error:  # not a message of ours: the connection ends, the process does not
                self._custody.refusals.note("message")
                self._lifecycle.log.warning("not a message", pid=pid, why=type(error).__name__)
                return

    async def _answer(self, message: Message) -> Message:
        async with self._turn:
            try:
                reply = await asyncio.to_thread(answer, self._custody, message, _now())
                self._custody.check()
            except Unavailable as error:
                self._fail(error)
                return refuse(message, error)
            except Exception as error:  # our own fault: said without its words, and the state may be half changed
                self._fail(error)
                return refuse(message, InternalError("custodian: a fault of its own; it starts again"))
        return reply

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(HOUSE_SECONDS)
            async with self._turn:
                try:
                    await asyncio.to_thread(keep_house, self._custody, _now())
                except Exception as error:
                    self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._lifecycle.log.error("failed", why=type(error).__name__)
        self._failed = True
        self._lifecycle.stopping.set()


def events_folder(config: Config) -> Any:
    """Where the custodian's own events are written."""
    return config.data / "events" / "custodian"


def _now() -> datetime:
    return datetime.now(UTC)
