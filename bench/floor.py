"""The kernel's own price: sockets drained in batches as the media worker drains them, and everything dropped."""

import os
import resource
import time
from multiprocessing.connection import Connection

from callseal.net.udp_batch import UdpBatch, open_pair

WAKE_SECONDS = 0.2


def run(_suite: str, keys: list[bytes], core: int, line: Connection) -> None:
    """Serve until told to stop: ports out, then packets at each question."""
    os.sched_setaffinity(0, {core})
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    pairs = [open_pair("127.0.0.1") for _ in keys]
    line.send([pair.port for pair in pairs])
    sockets = [(pair.rtp.fileno(), number) for number, pair in enumerate(pairs)]
    batch, packets, due = UdpBatch(), 0, time.monotonic()
    while True:
        packets += sum(len(chunk.lengths) for chunk in batch.drain(sockets))
        due += WAKE_SECONDS
        while line.poll(max(0.0, due - time.monotonic())):
            if line.recv() == "stop":
                return
            line.send(packets)
