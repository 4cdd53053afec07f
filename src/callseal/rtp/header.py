"""RTP headers of a whole batch, read as columns.

RFC 3550 section 5.1. Packets stand one a row in a uint8 array; nothing is copied but the fields.
Invariants: a row whose header does not fit its length, or whose version is not 2, is not valid; its other columns mean nothing.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

FIXED_BYTES = 12
SPARE_BYTES = 16
"""Rows are this much wider than the longest packet taken, so that no span of a tag reaches into the next row."""

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]


_FIXED: Final = np.dtype([("first", "u1"), ("second", "u1"), ("sequence", ">u2"), ("timestamp", ">u4"), ("ssrc", ">u4")])


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
    head = np.ndarray(len(packets), _FIXED, packets, strides=packets.strides[:1])
    first = head["first"]
    valid = (lengths > FIXED_BYTES) & (lengths <= packets.shape[1] - SPARE_BYTES) & (first >> 6 == 2)
    start = FIXED_BYTES + 4 * (first & 0x0F).astype(np.int64)
    extended = np.flatnonzero(valid & ((first & 0x10) != 0))
    if len(extended):
        _skip_extensions(packets, lengths, start, valid, extended)
    valid &= start <= lengths
    sequence, timestamp, ssrc = (head[name].astype(np.int64) for name in ("sequence", "timestamp", "ssrc"))
    return Headers(valid, (first & 0x20) != 0, head["second"] & np.uint8(0x7F), sequence, timestamp, ssrc, start)


def at_any_byte(packets: Bytes, kind: type | str) -> NDArray[Any]:
    """The same bytes as values of `kind`, one beginning at each byte; written to, they write to `packets`."""
    dtype = np.dtype(kind)
    return np.ndarray(max(0, packets.size - dtype.itemsize + 1), dtype, packets, strides=(1,))


def read_spans(packets: Bytes, begins: Ints, width: int) -> Bytes:
    """A copy of `width` bytes from each of `begins`, counted over all bytes of `packets`; what would follow its last is zero."""
    beyond = int(begins.max(initial=0)) + width - packets.size
    flat = np.concatenate((packets.ravel(), np.zeros(beyond, np.uint8))) if beyond > 0 else packets
    spans: Bytes = at_any_byte(flat, f"V{width}")[begins].view(np.uint8).reshape(-1, width)
    return spans


def _skip_extensions(packets: Bytes, lengths: Ints, start: Ints, valid: Mask, rows: Ints) -> None:
    fits = start[rows] + 4 <= lengths[rows]
    valid[rows[~fits]] = False
    rows = rows[fits]
    words = packets[rows, start[rows] + 2].astype(np.int64) << 8 | packets[rows, start[rows] + 3]
    start[rows] += 4 + 4 * words
