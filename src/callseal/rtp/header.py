"""RTP headers of a whole batch, read as columns.

RFC 3550 section 5.1. Packets stand one a row in a uint8 array; nothing is copied but the fields.
Invariants: a row whose header does not fit its length, or whose version is not 2, is not valid; its other columns mean nothing.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FIXED_BYTES = 12
SPARE_BYTES = 16
"""Rows are this much wider than the longest packet taken, so that no span of a tag reaches into the next row."""

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]


class Headers(NamedTuple):
    """Columns of n packets. `start` is where the payload begins (after CSRCs and extension, RFC 3550 section 5.3.1)."""

    valid: Mask
    padded: Mask
    payload_type: Bytes
    sequence: Ints
    timestamp: Ints
    ssrc: Ints
    start: Ints


def read_headers(packets: Bytes, lengths: Ints) -> Headers:
    """Read n headers from `packets` (n rows, uint8) of `lengths` bytes each. Raises nothing: see `Headers.valid`."""
    head = packets[:, :FIXED_BYTES]
    first = head[:, 0]
    wide = np.ascontiguousarray(head)
    sequence = wide[:, 2:4].view(">u2")[:, 0].astype(np.int64) if len(head) else np.zeros(0, np.int64)
    fields = wide[:, 4:12].copy().view(">u4").astype(np.int64) if len(head) else np.zeros((0, 2), np.int64)
    valid = (lengths > FIXED_BYTES) & (lengths <= packets.shape[1] - SPARE_BYTES) & (first >> 6 == 2)
    start = FIXED_BYTES + 4 * (first & 0x0F).astype(np.int64)
    extended = np.flatnonzero(valid & ((first & 0x10) != 0))
    if len(extended):
        _skip_extensions(packets, lengths, start, valid, extended)
    valid &= start <= lengths
    return Headers(valid, (first & 0x20) != 0, head[:, 1] & np.uint8(0x7F), sequence, fields[:, 0], fields[:, 1], start)


def _skip_extensions(packets: Bytes, lengths: Ints, start: Ints, valid: Mask, rows: Ints) -> None:
    fits = start[rows] + 4 <= lengths[rows]
    valid[rows[~fits]] = False
    rows = rows[fits]
    words = packets[rows, start[rows] + 2].astype(np.int64) << 8 | packets[rows, start[rows] + 3]
    start[rows] += 4 + 4 * words
