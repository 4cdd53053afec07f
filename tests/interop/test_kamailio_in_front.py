"""Two recorders behind the real Kamailio: calls to both, one drained, one killed; every dialog finds its recorder, and its true peer."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from callseal.errors import CallsealError
from callseal.phone.call import Call, Plan
from callseal.phone.line import Destination, Line
from tests.conftest import Stack
from tests.interop.kamailio import kamailio, know_proxy, said
from tests.stack.test_recording_assurance import VOICE, wait_for

pytestmark = pytest.mark.real
SPOOF = (("X-Callseal-Peer", "branch"),)


class Site:
    """Two recorders and a proxy. `calls` are live ones by the recorder that has them."""

    def __init__(self, folder: Path, recorders: list[Stack], port: int) -> None:
        self.folder, self.recorders, self.port = folder, recorders, port
        tls = recorders[0].data / "tls"
        self.proxy = Destination("127.0.0.1", port, "localhost", folder / "proxy-ca.pem", tls / "phone.pem", tls / "phone.key")
        self.seen: dict[str, list[Any]] = {}

    def started(self, recorder: Stack) -> list[dict[str, Any]]:
        return recorder.events("CallStarted")

    async def place(self, line: Line, *headers: tuple[str, str]) -> tuple[Call, Stack]:
        """One call, with headers of its own on every request, and which recorder has it."""
        before = [len(self.started(one)) for one in self.recorders]
        call = Call(line, self.proxy, Plan(), VOICE)
        written = call._headers
        call._headers = lambda *what: [*written(*what), *headers]  # type: ignore[method-assign]
        try:
            await call.invite()
        except CallsealError as error:
            call.close()
            raise AssertionError(f"{error}\n{said(self.folder)}") from error
        return call, await self._find(before)

    async def _find(self, before: list[int]) -> Stack:
        """Which recorder tells of a call more than before. Events follow what they tell, even after a kill: none may be left out."""
        end = time.monotonic() + 10
        while time.monotonic() < end:
            for one, count in zip(self.recorders, before, strict=True):
                if len(self.started(one)) > count:
                    return one
            await asyncio.sleep(0.05)
        raise AssertionError(f"no recorder has the call\n{said(self.folder)}")

    async def fork(self, recorder: Stack) -> Call:
        """The one call, straight to a recorder, as a phone system sends it to each."""
        host, _, port = recorder.address("sip").rpartition(":")
        tls = recorder.data / "tls"
        where = Destination(host, int(port), "localhost", tls / "ca.pem", tls / "phone.pem", tls / "phone.key")
        before = [len(self.started(one)) for one in self.recorders]
        call = Call(await Line.connect(where), where, Plan(), VOICE, "forked-to-both@pbx")
        await call.invite()
        assert await self._find(before) is recorder
        return call

    async def place_on(self, line: Line, wanted: Stack) -> Call:
        """Calls until one lies on this recorder; the others are hung up. A proxy that found it away asks it again every 2 s."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            call, found = await self.place(line)
            if found is wanted:
                return call
            await hang_up(call)
        raise AssertionError(f"no call went to it\n{said(self.folder)}")


async def hang_up(call: Call) -> None:
    await call.bye()
    call.close()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with ExitStack() as folders:
        names = [folders.enter_context(TemporaryDirectory(prefix="cs-", dir="/tmp")) for _ in range(3)]
        recorders, folder = [Stack(Path(name)) for name in names[:2]], Path(names[2])
        try:
            for recorder in recorders:
                recorder.start()
            with kamailio(folder, recorders, recorders[0]) as port:
                for recorder in recorders:
                    know_proxy(folder, recorder, ["phone"])
                yield Site(folder, recorders, port)
        finally:
            for recorder in recorders:
                assert recorder.process is not None
                assert recorder.process.stdout is not None
                if recorder.process.poll() is None:
                    recorder.stop()
                recorder.process.wait(20)
                recorder.process.stdout.close()


async def connect(site: Site) -> Line:
    """A line to the proxy, once it takes connections."""
    for _ in range(100):
        try:
            return await Line.connect(site.proxy)
        except CallsealError:
            await asyncio.sleep(0.1)
    raise AssertionError(said(site.folder))


def alive(recorder: Stack) -> int:
    """Calls that began and have not ended, by its events, which follow what they tell."""
    return len(recorder.events("CallStarted")) - len(ended(recorder))


def ended(recorder: Stack) -> list[str]:
    return [event["data"]["reason"] for event in recorder.events("CallEnded")]


def test_calls_go_to_whoever_takes_them_and_each_dialog_keeps_its_recorder(site: Site) -> None:
    first, second = site.recorders

    async def story() -> None:
        line = await connect(site)
        live = [await site.place_on(line, one) for one in site.recorders]
        spoofed, _found = await site.place(line, *SPOOF)  # the phone system claims to be another: the proxy takes that out
        await hang_up(spoofed)
        host, _, port = first.address("sip").rpartition(":")
        straight = await Line.connect(replace(site.proxy, host=host, port=int(port), ca=first.data / "tls" / "ca.pem"))
        direct, _found = await site.place(straight, *SPOOF)  # and straight to a recorder, which believes only the proxy
        await hang_up(direct)
        await straight.close()
        assert {event["data"]["peer"] for one in site.recorders for event in site.started(one)} == {"phone"}

        wait_for(lambda: alive(second) == 1, second)
        before = len(ended(second))
        await asyncio.to_thread(second.cli, ["drain"])
        began = time.monotonic()
        for _ in range(5):
            call, found = await site.place(line)
            assert found is first, "a drained recorder gets no new call"
            await hang_up(call)
        assert time.monotonic() - began < 15
        await live[1].invite()  # a change of the call that lives on the drained one
        await hang_up(live[1])
        wait_for(lambda: ended(second)[before:] == ["bye"], second)
        await asyncio.to_thread(second.cli, ["drain", "--off"])
        live[1] = await site.place_on(line, second)
        forked = [await site.fork(one) for one in site.recorders]  # the same call, sent to both by a phone system that knows both

        assert first.process is not None
        os.killpg(first.process.pid, signal.SIGKILL)
        began = time.monotonic()
        call, found = await site.place(line)
        assert found is second
        assert time.monotonic() - began < 10, "within seconds"
        await hang_up(call)
        await live[1].invite()
        await hang_up(live[1])
        await forked[1].invite()  # its other half goes on as if nothing had been
        wait_for(lambda: alive(second) == 1, second)
        await hang_up(forked[1])
        wait_for(lambda: alive(second) == 0, second)
        for gone in (live[0], forked[0]):
            gone.close()
        for one in (line, *(call.line for call in forked)):
            await one.close()

    asyncio.run(story())
    assert set(ended(second)) == {"bye"}
