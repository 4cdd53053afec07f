"""The usual way, for comparison: asyncio with one callback a packet and libsrtp; the same sealing and the same spool."""

import asyncio
import os
import tempfile
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from pylibsrtp import Error, Policy, Session

from bench.traffic import PROFILES
from callseal.audio.cluster import write_clusters
from callseal.model.ids import RecordingId, new_recording_id
from callseal.store.spool import SpoolWriter
from callseal.vault.card import SealingCard
from callseal.vault.message import Kind
from callseal.vault.seal import PartSealer
from callseal.vault.spool import encode_frame
from callseal.vault.unseal import new_key_pair

SEAL_SECONDS = 0.8


class Receiver(asyncio.DatagramProtocol):
    """One stream: authenticates and keeps each packet as it comes."""

    def __init__(self, suite: str, key: bytes) -> None:
        self._session = Session(Policy(key, Policy.SSRC_ANY_INBOUND, 0, PROFILES[suite][0]))
        self.payloads: list[bytes] = []
        self.packets = 0

    def datagram_received(self, data: bytes, addr: object) -> None:
        try:
            self.payloads.append(self._session.unprotect(data)[12:])
        except Error:
            return
        self.packets += 1


def run(suite: str, keys: list[bytes], core: int, line: Connection) -> None:
    """Serve until told to stop: ports out, then packets at each question."""
    os.sched_setaffinity(0, {core})
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_serve(suite, keys, Path(folder), line))


async def _serve(suite: str, keys: list[bytes], folder: Path, line: Connection) -> None:
    loop = asyncio.get_running_loop()
    spool = SpoolWriter(folder, "bench", 1 << 30, lambda _ticket: None)
    spool.start()
    receivers, transports = [], []
    for key in keys:
        transport, receiver = await loop.create_datagram_endpoint(lambda key=key: Receiver(suite, key), ("127.0.0.1", 0))
        transport.get_extra_info("socket").setsockopt(1, 8, 4 << 20)
        receivers.append(receiver)
        transports.append(transport)
    card = SealingCard(1, new_key_pair()[1], datetime.now(UTC) + timedelta(days=1), 0)
    parts = [(recording := new_recording_id(), PartSealer(recording, 0, card)) for _ in range(len(keys) // 2)]
    line.send([transport.get_extra_info("sockname")[1] for transport in transports])
    asked = asyncio.Event()
    loop.add_reader(line.fileno(), asked.set)
    stop = False
    due = loop.time()
    while not stop:
        due += SEAL_SECONDS
        while (rest := due - loop.time()) > 0:
            try:
                await asyncio.wait_for(asked.wait(), rest)
            except TimeoutError:
                break
            asked.clear()
            if not line.poll():
                continue
            if stop := line.recv() == "stop":
                break
            line.send(sum(receiver.packets for receiver in receivers))
        spool.submit(_seal(parts, receivers))
    for transport in transports:
        transport.close()
    spool.close()


def _seal(parts: list[tuple[RecordingId, PartSealer]], receivers: list[Receiver]) -> list[bytes]:
    frames = []
    for number, (recording, sealer) in enumerate(parts):
        both = receivers[2 * number : 2 * number + 2]
        kept = [payload for receiver in both for payload in receiver.payloads]
        for receiver in both:
            receiver.payloads.clear()
        if kept:
            rows = np.frombuffer(b"".join(kept), np.uint8).reshape(len(kept), -1)
            track, at = np.ones(len(kept), np.int64), np.arange(len(kept))
            cluster = next(write_clusters([0, len(kept)], track, at, np.full(len(kept), rows.shape[1]), rows))
            frames.append(encode_frame(recording, 0, 0, sealer.seal(Kind.MEDIA, cluster)))
    return frames
