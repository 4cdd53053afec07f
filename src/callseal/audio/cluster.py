"""One Matroska cluster from columns of frames: no Python object for each frame.

Source: RFC 9559 sections 5.1.3 and 10.2 (Cluster, SimpleBlock). Sizes of blocks are written as EBML numbers of two bytes.
Invariants: a payload is kept as it came; the cluster ends in an EBML Void at a multiple of 1 KiB.
"""

import struct

import numpy as np
from numpy.typing import NDArray

from callseal.audio.matroska import BLOCK_SPAN_MS, CLUSTER, SIMPLE_BLOCK, TIMESTAMP, pad
from callseal.errors import InternalError

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

HEAD_BYTES = 7
"""Of each block: element id, size (2), track, time (2), flags."""
LONGEST_PAYLOAD = (1 << 14) - 6
_KEYFRAME = 0x80


def write_cluster(track: Ints, at_ms: Ints, length: Ints, payload: Bytes) -> bytes:
    """One padded cluster of n frames in order of time: their tracks (1 to 126), times, lengths, and payloads one a row.

    The times span at most 32.7 s. Raises InternalError where they do not, or a payload is longer than a packet can be.
    """
    base = max(0, int(at_ms[0]))
    offset = at_ms - base
    if int(np.abs(offset).max()) > BLOCK_SPAN_MS or payload.shape[1] > LONGEST_PAYLOAD:
        raise InternalError("cluster: expected at most 32.7 s and payloads below 16 KiB")
    rows = np.empty((len(track), HEAD_BYTES + payload.shape[1]), np.uint8)
    rows[:, 0] = SIMPLE_BLOCK
    rows[:, 1:3] = (0x4000 | length + 4).astype(">u2").view(np.uint8).reshape(-1, 2)
    rows[:, 3] = 0x80 | track
    rows[:, 4:6] = offset.astype(">i2").view(np.uint8).reshape(-1, 2)
    rows[:, 6] = _KEYFRAME
    rows[:, HEAD_BYTES:] = payload
    if (length == payload.shape[1]).all():
        blocks = rows.tobytes()
    else:
        blocks = rows[np.arange(rows.shape[1]) < HEAD_BYTES + length[:, None]].tobytes()
    rows[:] = 0
    time = struct.pack(">BBQ", TIMESTAMP, 0x88, base)
    return pad(struct.pack(">IQ", CLUSTER, 1 << 56 | len(time) + len(blocks)) + time + blocks)
