"""One SIP connection over TLS to the recorder: requests out, each response back to the one who waits for it.

RFC 3261 sections 17.1 (client transactions; over TLS nothing is sent twice), 18 and 26.3.2. Our certificate says who we are.
Invariants: the recorder's certificate is always verified; every wait has a limit; when the connection ends, every waiter is told.
"""

import asyncio
import ssl
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from callseal.errors import CallsealError, ConfigError, PeerError, Unauthenticated, Unavailable
from callseal.phone.message import Incoming, MessageReader, write_reply

ANSWER_WITHIN_SECONDS = 32.0
"""Timer F: 64 x T1 (RFC 3261 section 17.1.2.2)."""
CONNECT_WITHIN_SECONDS = 10.0
MAX_REQUESTS_KEPT = 1000
ALLOW = "INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE"


@dataclass(frozen=True)
class Destination:
    """Where the recorder is, and the files that prove each to the other."""

    host: str
    port: int
    server_name: str
    ca: Path
    certificate: Path | None
    """None for a cloud sender, which shows a secret instead."""
    key: Path | None
    user: str = "callseal"
    """The user of the request URI: a cloud sender's secret."""

    def __repr__(self) -> str:
        return f"Destination({self.host}:{self.port})"

    @property
    def uri(self) -> str:
        """The request URI of a recording session."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"sip:{self.user}@{host}:{self.port};transport=tls"


def make_tls(destination: Destination) -> ssl.SSLContext:
    """TLS 1.2 or later, verifying the recorder, showing our certificate. Raises ConfigError where a file is wrong."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for path in filter(None, (destination.ca, destination.certificate, destination.key)):
        if not path.is_file():
            raise ConfigError(
                f"expected a file at {path}, found none; `callseal up` makes it, or name yours with --ca, --cert, --key"
            )
    try:
        context.load_verify_locations(destination.ca)
        if destination.certificate is not None:
            context.load_cert_chain(destination.certificate, destination.key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"expected PEM files that belong together at {destination.ca}, {destination.certificate}, {destination.key}"
        ) from error
    return context


class Line:
    """One connection and its transactions. Calls share it, as the calls of one phone system do."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._waiting: dict[tuple[str, str], asyncio.Queue[Incoming | CallsealError]] = {}
        self._failure: CallsealError | None = None
        self._heard = False
        host, port = (writer.get_extra_info("sockname") or ("", 0))[:2]
        self.local = str(host), int(port)
        """Our own address on this connection; empty where the recorder hung up at once."""
        tls = writer.get_extra_info("ssl_object")
        self.tls = f"{tls.version()} {tls.cipher()[0]}" if tls else ""
        """The protocol version and cipher suite of this connection."""
        self.requests: deque[Incoming] = deque(maxlen=MAX_REQUESTS_KEPT)
        """What the recorder asked of us (OPTIONS, BYE), newest last; each was answered."""
        self._task = asyncio.create_task(self._read())

    @classmethod
    async def connect(cls, destination: Destination) -> "Line":
        """Connect and shake hands. Raises Unavailable where nobody answers, Unauthenticated where TLS is refused."""
        context = make_tls(destination)
        where = f"{destination.host}:{destination.port}"
        try:
            reader, writer = await asyncio.wait_for(
                asyncio.open_connection(destination.host, destination.port, ssl=context, server_hostname=destination.server_name),
                CONNECT_WITHIN_SECONDS,
            )
        except ssl.SSLCertVerificationError as error:
            raise Unauthenticated(
                f"TLS: {where} is not {destination.server_name} ({error.verify_message}); is {destination.ca} its CA?"
            ) from error
        except ssl.SSLError as error:
            raise _refused(error.reason) from error
        except TimeoutError as error:
            raise Unavailable(f"expected an answer from {where} within {CONNECT_WITHIN_SECONDS:.0f} s, got none") from error
        except OSError as error:
            raise Unavailable(f"nothing answers at {where}; is `callseal up` running?") from error
        line = cls(reader, writer)
        if not line.local[0]:
            await line._task
            await line.close()
            line.send(b"")
        return line

    async def request(self, branch: str, method: str, data: bytes, within_seconds: float = ANSWER_WITHIN_SECONDS) -> Incoming:
        """Send a request and return its final response. Raises Unavailable where none comes."""
        queue: asyncio.Queue[Incoming | CallsealError] = asyncio.Queue(maxsize=16)
        self._waiting[branch, method] = queue
        try:
            self.send(data)
            async with asyncio.timeout(within_seconds):
                while True:
                    answer = await queue.get()
                    if isinstance(answer, CallsealError):
                        raise answer
                    if answer.status >= 200:
                        return answer
        except TimeoutError as error:
            raise Unavailable(f"{method}: expected an answer within {within_seconds:.0f} s, got none") from error
        finally:
            del self._waiting[branch, method]

    def send(self, data: bytes) -> None:
        """Send bytes that have no answer (ACK). Raises what ended the connection, where it has ended."""
        if self._failure is not None:
            raise self._failure
        self._writer.write(data)

    async def close(self) -> None:
        """Say goodbye to TLS and end."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._writer.close()
        try:
            async with asyncio.timeout(2):
                await self._writer.wait_closed()
        except (OSError, TimeoutError):
            return

    async def _read(self) -> None:
        reader = MessageReader()
        failure: CallsealError | None = None
        try:
            while data := await self._reader.read(64 << 10):
                for message in reader.feed(data):
                    self._heard = True
                    self._take(message)
        except CallsealError as error:
            failure = error
        except ssl.SSLError as error:
            failure = _refused(error.reason)
        except OSError:
            failure = None  # a reset: what it means depends on whether we were ever answered
        if failure is None:
            failure = Unavailable("the recorder closed the connection") if self._heard else _refused("closed without an answer")
        self._failure = failure
        for queue in self._waiting.values():
            if not queue.full():
                queue.put_nowait(failure)

    def _take(self, message: Incoming) -> None:
        if message.method:
            self.requests.append(message)
            if message.method != "ACK":
                known = message.method in ("OPTIONS", "BYE", "CANCEL")
                self._writer.write(write_reply(message, *((200, "OK") if known else (501, "Not Implemented"))))
            return
        branch = _branch(message.header("Via"))
        queue = self._waiting.get((branch, message.sequence[1]))
        if queue is not None and not queue.full():
            queue.put_nowait(message)


def _branch(via: str) -> str:
    for parameter in via.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "branch":
            return value.strip()
    raise PeerError("Via: expected our branch in a response (RFC 3261 section 8.1.3.3)")


def _refused(reason: str | None) -> Unauthenticated:
    return Unauthenticated(
        f"TLS: the recorder refused our certificate ({(reason or 'no reason given').lower().replace('_', ' ')}); "
        "a phone system's certificate is made known in peers/NAME.toml"
    )
