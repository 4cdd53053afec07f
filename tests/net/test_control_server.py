"""A control socket takes requests up in their order, and lets none wait for another."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from callseal.errors import NotFound
from callseal.model.message import Message, MessageDecoder, encode_message
from callseal.net.control_server import ControlServer


class Worker:
    """`slow` waits until let go; everything else answers at once. What happened stands in `seen`."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.let_go = asyncio.Event()
        self.begun, self.gone = asyncio.Event(), asyncio.Event()

    async def handle(self, request: Message, connection: int) -> Message:
        self.seen.append(request["id"])
        if request["type"] == "slow":
            self.begun.set()
            await self.let_go.wait()
            self.seen.append("slow done")
        if request["type"] == "unknown":
            raise NotFound("recording: expected one that is open")
        return {}

    def on_gone(self, connection: int) -> None:
        self.seen.append(f"{connection} gone")
        self.gone.set()


Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def serve(folder: Path, story: Callable[[Worker, Callable[[], Awaitable[Line]]], Awaitable[None]]) -> None:
    async def whole() -> None:
        worker, path = Worker(), folder / "s.sock"
        server = ControlServer(path, worker.handle, worker.on_gone, frozenset({os.getuid()}))
        await server.start()
        try:
            await story(worker, lambda: asyncio.open_unix_connection(str(path)))
        finally:
            await server.close()

    asyncio.run(asyncio.wait_for(whole(), 20))


async def replies(reader: asyncio.StreamReader, count: int) -> list[Message]:
    decoder, found = MessageDecoder(), list[Message]()
    while len(found) < count:
        data = await reader.read(65536)
        assert data, "the line ended"
        found += decoder.feed(data)
    return found


def requests(*kinds: str) -> bytes:
    return b"".join(encode_message({"type": kind, "id": number}) for number, kind in enumerate(kinds))


def test_one_that_waits_holds_up_no_other_and_all_are_taken_up_in_order(short_folder: Path) -> None:
    async def story(worker: Worker, connect: Callable[[], Awaitable[Line]]) -> None:
        reader, writer = await connect()
        writer.write(requests("slow", "quick", "unknown", "quick"))
        answered = await replies(reader, 3)
        assert [(reply["id"], reply["ok"]) for reply in answered] == [(1, True), (2, False), (3, True)]
        assert worker.seen == [0, 1, 2, 3]
        worker.let_go.set()
        (last,) = await replies(reader, 1)
        assert (last["id"], last["ok"]) == (0, True)
        writer.close()

    serve(short_folder, story)


def test_a_line_that_ends_is_told_of_after_its_last_request(short_folder: Path) -> None:
    async def story(worker: Worker, connect: Callable[[], Awaitable[Line]]) -> None:
        _reader, writer = await connect()
        writer.write(requests("slow", "quick"))
        await writer.drain()
        writer.close()
        await worker.begun.wait()
        other, again = await connect()
        again.write(requests("quick"))
        await replies(other, 1)
        assert not worker.gone.is_set(), "its request is still under way"
        worker.let_go.set()
        await worker.gone.wait()
        assert worker.seen[-2:] == ["slow done", "1 gone"]
        again.close()

    serve(short_folder, story)


def test_a_malformed_frame_ends_its_line_and_no_other(short_folder: Path) -> None:
    async def story(worker: Worker, connect: Callable[[], Awaitable[Line]]) -> None:
        reader, writer = await connect()
        bad, spoiler = await connect()
        spoiler.write(requests("quick") + b"\xff" * 8)
        assert len(await replies(bad, 1)) == 1
        assert await bad.read() == b""
        spoiler.close()
        writer.write(requests("quick"))
        assert len(await replies(reader, 1)) == 1
        writer.close()

    serve(short_folder, story)
