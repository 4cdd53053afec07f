"""A socket's line: what it may say, how often, how much may wait for it."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.websockets import WebSocketDisconnect

from callseal.web import line as module
from callseal.web.line import IN_TEN_SECONDS, WAITING_LIMIT, SocketLine


class FakeSocket:
    """What the line uses of a WebSocket: texts that come, texts that went, how it was closed."""

    def __init__(self, texts: list[str]) -> None:
        self.texts = iter(texts)
        self.sent: list[dict[str, Any]] = []
        self.code = 0
        self.waits = asyncio.Event()

    async def receive_text(self) -> str:
        for text in self.texts:
            if text == "wait":
                await self.waits.wait()
            return text
        raise WebSocketDisconnect(1000)

    async def send_text(self, text: str) -> None:
        self.sent.append(json.loads(text))

    async def close(self, code: int) -> None:
        self.code = code


def ticking(step: float) -> Any:
    def times() -> Iterator[float]:
        at = 0.0
        while True:
            yield at
            at += step

    clock = times()
    return lambda: next(clock)


async def read(texts: list[str], *, step: float = 1.0, most: int = 1000) -> tuple[int, int]:
    socket = FakeSocket(texts)
    line = SocketLine(socket, ticking(step), most)  # type: ignore[arg-type]
    return len([frame async for frame in line.frames()]), socket.code


GOOD = '{"type":"later"}'


@pytest.mark.parametrize("bad", ["no json", "[]", "{}", '{"type":1}', '{"type":"' + "x" * 65536 + '"}', "[" * 100_000])
def test_what_is_no_frame_ends_the_line(bad: str) -> None:
    assert asyncio.run(read([GOOD, bad, GOOD])) == (1, 1008)


def test_too_often_and_too_much_end_the_line() -> None:
    assert asyncio.run(read([GOOD] * 100, step=0.1)) == (IN_TEN_SECONDS, 1008)
    assert asyncio.run(read([GOOD] * 100, step=1.0)) == (100, 1000)
    assert asyncio.run(read([GOOD] * 100, step=1.0, most=7)) == (7, 1008)


def test_a_socket_that_says_nothing_at_its_beginning_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_SECONDS", 0.05)
    assert asyncio.run(read(["wait"])) == (0, 1000)


def test_a_reader_that_does_not_read_is_closed_and_the_last_word_closes_too() -> None:
    async def line() -> None:
        slow = FakeSocket(["wait"])
        full = SocketLine(slow, ticking(1.0), 10)  # type: ignore[arg-type]
        for number in range(WAITING_LIMIT + 1):
            full.send({"type": "ring", "n": number})
        slow.waits.set()
        assert [frame async for frame in full.frames()] == []
        assert slow.code == 1008
        socket = FakeSocket(["wait"])
        told = SocketLine(socket, ticking(1.0), 10, last="end")  # type: ignore[arg-type]
        told.send({"type": "ringing"})
        told.send({"type": "end"})
        told.send({"type": "ringing"})
        reading = asyncio.create_task(told.frames().__anext__())
        while not socket.code:
            await asyncio.sleep(0)
        assert [frame["type"] for frame in socket.sent] == ["ringing", "end"]
        socket.waits.set()
        with pytest.raises(StopAsyncIteration):
            await reading

    asyncio.run(line())
