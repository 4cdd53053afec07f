"""Matroska clusters from columns of frames: no Python object for each frame.

Source: RFC 9559 sections 5.1.3 and 10.2 (Cluster, SimpleBlock). Sizes of blocks are written as EBML numbers of two bytes.
Invariants: a payload is kept as it came; the cluster ends in an EBML Void at a multiple of 1 KiB.
"""

import struct
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from callseal.audio.matroska import BLOCK_SPAN_MS, CLUSTER, PADDED_TO, SIMPLE_BLOCK, TIMESTAMP, padding_for
from callseal.errors import InternalError

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

HEAD_BYTES = 7
"""Of each block: element id, size (2), track, time (2), flags."""
LONGEST_PAYLOAD = (1 << 14) - 6
CLUSTER_BYTES = 512 << 10
STEP_ROWS = 2048
"""Frames laid out at once: more would leave the processor's cache."""
_KEYFRAME = 0x80
_HEAD = struct.Struct(">IQBBQ")
"""Cluster id, its size (8), and its time: id, size, milliseconds (8)."""
_SIZED_FROM = 12


def cut_clusters(edges: list[int], row_bytes: int) -> Iterator[list[int]]:
    """Edges of clusters, a list for each step: clusters of at most `CLUSTER_BYTES`, steps of about `STEP_ROWS`."""
    longest = max(1, CLUSTER_BYTES // row_bytes)
    cut: list[int] = []
    for begin, end in pairwise(edges):
        for at in range(begin, end, longest):
            cut.append(at)
            if at - cut[0] >= STEP_ROWS:
                yield cut
                cut = [at]
    yield [*cut, edges[-1]]


def write_clusters(edges: Sequence[int], track: Bytes, at_ms: Ints, length: Ints, payload: Bytes) -> Iterator[memoryview]:
    """A padded cluster of the frames `edges[i]` to `edges[i + 1]` for each i, each in order of time: their tracks (1 to 126),
    times, lengths, and payloads one a row. The columns are those of all clusters, so that numpy's fixed cost is paid once.

    Each stands in the same buffer, until the next one is asked for; in the end it is overwritten.
    A cluster's times span at most 32.7 s. Raises InternalError where they do not, or a payload is longer than a packet can be.
    """
    begins, counts = np.array(edges[:-1]), np.diff(edges)
    bases = np.maximum(at_ms[begins], 0)
    offset = at_ms - np.repeat(bases, counts)
    if int(np.abs(offset).max()) > BLOCK_SPAN_MS or payload.shape[1] > LONGEST_PAYLOAD:
        raise InternalError("cluster: expected at most 32.7 s and payloads below 16 KiB")
    rows = np.empty((len(track), HEAD_BYTES + payload.shape[1]), np.uint8)
    rows[:, 0] = SIMPLE_BLOCK
    rows[:, 1:3] = (0x4000 | length + 4).astype(">u2").view(np.uint8).reshape(-1, 2)
    rows[:, 3] = 0x80 | track
    rows[:, 4:6] = offset.astype(">i2").view(np.uint8).reshape(-1, 2)
    rows[:, 6] = _KEYFRAME
    rows[:, HEAD_BYTES:] = payload
    full = None if (length == payload.shape[1]).all() else HEAD_BYTES + length
    room = np.empty(_HEAD.size + int(counts.max()) * rows.shape[1] + 2 * PADDED_TO, np.uint8)
    try:
        for base, (begin, end) in zip(bases.tolist(), pairwise(edges), strict=True):
            yield _lay_out(room.data, base, rows[begin:end], None if full is None else full[begin:end])
    finally:
        rows[:] = 0
        room[:] = 0


def _lay_out(room: memoryview, base: int, rows: Bytes, full: Ints | None) -> memoryview:
    """One cluster of ready-made blocks; a row's bytes behind its payload (beyond `full`) are left out."""
    blocks = rows if full is None else rows[np.arange(rows.shape[1]) < full[:, None]]
    end = _HEAD.size + blocks.nbytes
    _HEAD.pack_into(room, 0, CLUSTER, 1 << 56 | end - _SIZED_FROM, TIMESTAMP, 0x88, base)
    room[_HEAD.size : end] = blocks.data.cast("B")
    padding = padding_for(end)
    room[end : end + len(padding)] = padding
    return room[: end + len(padding)]
