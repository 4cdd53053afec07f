"""The media workers as one: a new recording goes to the worker with the fewest streams, and everything of it stays there.

docs/architecture.md, "Media control". Invariants: a recording is never on two workers: another is asked only after one has said
no, or has died and its successor does not know of it; a worker that is away, or owes a reply, gets nothing new while another
stands; a new call waits for a worker that was lost a moment ago, and never longer than `RETURN_SECONDS` from then.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import Any

from callseal.config.settings import Config
from callseal.errors import CallsealError, LimitExceeded, Unavailable
from callseal.model.message import Message, raise_refusal
from callseal.net.media_client import MediaClient

RETURN_SECONDS = 3.0
"""How long a worker that was killed may take to be back: a new call that needs it waits so long."""


class Placement:
    """Which recording is on which worker, and how many streams each worker has."""

    def __init__(self) -> None:
        self._places: dict[str, tuple[int, int]] = {}
        self.streams: Counter[int] = Counter()

    def worker_of(self, recording: str) -> int | None:
        """The worker that has it; None where none has."""
        place = self._places.get(recording)
        return None if place is None else place[0]

    def put(self, recording: str, worker: int, streams: int) -> None:
        """A recording is on a worker, with so many streams."""
        self.remove(recording)
        self._places[recording] = worker, streams
        self.streams[worker] += streams

    def remove(self, recording: str) -> None:
        """A recording is over, if it is known."""
        worker, streams = self._places.pop(recording, (0, 0))
        self.streams[worker] -= streams

    def choose(self, workers: Collection[int]) -> int | None:
        """The one of these with the fewest streams, the first of equals; None of none."""
        return min(workers, key=lambda worker: (self.streams[worker], worker), default=None)


class MediaPool:
    """A line to each worker. `on_connected(worker)` runs each time that its line stands."""

    def __init__(self, config: Config, on_connected: Callable[[int], Awaitable[None]]) -> None:
        workers = range(config.media.workers)
        self._lines = [MediaClient(config.media_socket(worker), partial(on_connected, worker)) for worker in workers]
        self._placement = Placement()

    async def run(self) -> None:
        """Keep every line until cancelled."""
        await asyncio.gather(*(line.run() for line in self._lines))

    async def wait_connected(self) -> None:
        """Until every line stands."""
        await asyncio.gather(*(line.connected.wait() for line in self._lines))

    @property
    def is_connected(self) -> bool:
        """Whether every line stands."""
        return all(line.connected.is_set() for line in self._lines)

    def worker_of(self, recording: str) -> int | None:
        """The worker that has a recording, whether it is away or not."""
        return self._placement.worker_of(recording)

    def place(self, recording: str, worker: int, streams: int) -> None:
        """A recording that a process before this one had put on a worker."""
        self._placement.put(recording, worker, streams)

    async def open(self, recording: str, request: Message) -> tuple[int, Message]:
        """Open a recording, or the next part of one on its own worker; returns the worker and its reply.

        Raises what the last one asked refuses with, or Unavailable where none comes back or the one that was asked is silent.
        """
        worker = self._placement.worker_of(recording)
        if worker is not None:
            return worker, await self._line(worker).request("media.open", **request)
        refusal: CallsealError = Unavailable("media: no worker is connected")
        asked: set[int] = set()
        has_died = False
        while (worker := await self._choose(asked)) is not None:
            self._placement.put(recording, worker, len(request["streams"]))
            try:
                reply = await self._lines[worker].exchange("media.open", **request)
            except Unavailable:
                if has_died or not await self._has_lost(worker, recording):
                    raise  # what kills two workers is not given to a third
                has_died = True
                self._placement.remove(recording)
                continue
            try:
                raise_refusal(reply)
            except (LimitExceeded, Unavailable) as error:
                refusal = error
                asked.add(worker)
                self._placement.remove(recording)
                continue
            return worker, reply
        raise refusal

    async def update(self, recording: str, streams: list[dict[str, Any]]) -> tuple[int, Message]:
        """Change a recording's streams; returns its worker and the reply. Raises as the worker does, or Unavailable."""
        worker, reply = await self._ask(recording, "media.update", streams=streams)
        self._placement.put(recording, worker, len(streams))
        return worker, reply

    async def tell_meta(self, recording: str, meta: Message) -> None:
        """Give its worker what is known of a call now. Raises as the worker does, or Unavailable."""
        await self._ask(recording, "media.meta", meta=meta)

    async def close(self, recording: str, reason: str) -> None:
        """End a recording, if any worker has it. Raises as the worker does, or Unavailable; it is over all the same."""
        if self._placement.worker_of(recording) is None:
            return
        try:
            await self._ask(recording, "media.close", reason=reason)
        finally:
            self._placement.remove(recording)

    async def status(self, worker: int) -> Message:
        """One worker's own account. Raises Unavailable."""
        return await self._line(worker).request("media.status")

    async def statuses(self) -> dict[int, Message]:
        """Every worker's account, of those that answer."""
        workers = range(len(self._lines))
        answers = await asyncio.gather(*(self.status(worker) for worker in workers), return_exceptions=True)
        return {worker: answer for worker, answer in zip(workers, answers, strict=True) if isinstance(answer, dict)}

    async def _choose(self, asked: Collection[int]) -> int | None:
        """The least loaded worker that stands and was not asked yet; those that owe a reply come last. Where none of them
        stands, the first to be back."""
        lines = {worker: line for worker, line in enumerate(self._lines) if worker not in asked}
        standing = [worker for worker, line in lines.items() if line.connected.is_set()]
        if not standing:
            await _wait_any(lines.values())
            standing = [worker for worker, line in lines.items() if line.connected.is_set()]
        prompt = [worker for worker in standing if not self._lines[worker].is_late]
        return self._placement.choose(prompt or standing)

    async def _has_lost(self, worker: int, recording: str) -> bool:
        """Whether a worker that broke off is back and knows nothing of a recording: only then may it be opened again."""
        if self._lines[worker].is_silent:
            return False
        await _wait_any([self._lines[worker]])
        try:
            status = await self.status(worker)
        except CallsealError:
            return False
        return all(entry.get("recording") != recording for entry in status["recordings"])

    async def _ask(self, recording: str, kind: str, **fields: Any) -> tuple[int, Message]:
        worker = self._placement.worker_of(recording)
        if worker is None:
            raise Unavailable("media: no worker has this recording")
        return worker, await self._line(worker).request(kind, recording=recording, **fields)

    def _line(self, worker: int) -> MediaClient:
        """Raises Unavailable for a worker that the settings do not have (any more)."""
        if not 0 <= worker < len(self._lines):
            raise Unavailable(f"media-{worker}: expected one of the {len(self._lines)} of the settings")
        return self._lines[worker]


async def _wait_any(lines: Collection[MediaClient]) -> None:
    """Until one of these lines stands, or each has been lost for `RETURN_SECONDS`."""
    until = max((line.lost_at for line in lines), default=0.0) + RETURN_SECONDS
    waits = [asyncio.create_task(line.connected.wait()) for line in lines]
    try:
        if waits and (seconds := until - asyncio.get_running_loop().time()) > 0:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
