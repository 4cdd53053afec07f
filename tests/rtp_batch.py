"""Packets as rows, as the worker drains them."""

from collections.abc import Sequence

import numpy as np

from callseal.rtp.frames import Frames
from callseal.rtp.header import Bytes, Ints
from callseal.rtp.srtp import SrtpReceiver

ROW_BYTES = 1536


def rows_of(packets: Sequence[bytes]) -> tuple[Bytes, Ints]:
    rows = np.zeros((len(packets), ROW_BYTES), np.uint8)
    for row, packet in enumerate(packets):
        rows[row, : len(packet)] = np.frombuffer(packet, np.uint8)
    return rows, np.array([len(packet) for packet in packets], np.int64)


def unprotect(receiver: SrtpReceiver, packets: Sequence[bytes], stream: int = 0) -> Frames:
    rows, lengths = rows_of(packets)
    return receiver.unprotect(rows, lengths, np.full(len(packets), stream, np.int64))


def payloads_of(frames: Frames) -> list[bytes]:
    return [bytes(row[:length]) for row, length in zip(frames.payload, frames.length.tolist(), strict=True)]
