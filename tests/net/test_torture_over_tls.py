"""RFC 4475 over real TLS, IPv4 and IPv6: each message gets its stated answer, and OPTIONS is answered within 500 ms after it."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from tests import sip_rig as rig
from tests import torture

pytestmark = pytest.mark.skipif(not torture.VECTORS.is_dir(), reason="the published RFC 4475 messages are not beside the project")

SLOW_MS = 500.0


async def torment(running: rig.Rig, verdict: torture.Verdict) -> float:
    """Send one message on a connection of its own, check its answers, then OPTIONS; returns how long that took, in ms."""
    peer = await running.connect()
    await peer.send(verdict.message)
    for status in verdict.answers:
        assert (await peer.read()).status == status, verdict.name
    if verdict.connection == "closed":
        assert await asyncio.wait_for(peer.reader.read(), 5) == b"", verdict.name
    if verdict.connection != "stays":
        peer = await running.connect()
    began = time.perf_counter()
    answered = await peer.ask(rig.request("OPTIONS", f"after-{verdict.name}"))
    taken = (time.perf_counter() - began) * 1000
    assert answered.status == 200 and answered.get("Call-ID") == f"after-{verdict.name}", verdict.name
    await peer.close()
    return taken


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_every_torture_message_gets_its_answer_and_options_is_answered_at_once(host: str, tmp_path: Path, record_property: Any):
    async def story() -> list[float]:
        async with rig.running(tmp_path, host=host) as running:
            assert running.daemon.server.address[0] == host
            taken = []
            for verdict in torture.read_table():
                once = await torment(running, verdict)
                taken.append(once if once < SLOW_MS else await torment(running, verdict))  # what blocks does so again
            assert not running.media.of("media.open") and not running.events("CallStarted")
            return taken

    taken = asyncio.run(story())
    assert max(taken) < SLOW_MS, f"slowest OPTIONS after a torture message: {max(taken):.0f} ms"
    record_property("published_vectors", len(taken))
