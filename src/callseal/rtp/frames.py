"""Authenticated frames as columns: what `SrtpReceiver` gives, taken apart and put together.

RFC 3550 section 5.1 (padding). Invariant: beyond its length a payload's row is zero.
"""

from dataclasses import dataclass

import numpy as np

from callseal.rtp.header import Bytes, Ints, Mask


@dataclass(frozen=True)
class Frames:
    """Columns of n authenticated packets, in order of arrival within each stream. `index` is 48-bit, `timestamp` is unwrapped;
    row i of `payload` holds `length[i]` bytes and zeros after them."""

    stream: Ints
    slot: Ints
    index: Ints
    timestamp: Ints
    payload_type: Bytes
    length: Ints
    payload: Bytes

    def __len__(self) -> int:
        return len(self.stream)

    def take(self, rows: Ints | Mask) -> "Frames":
        """Some of these frames, by row numbers or a mask; the columns are copies."""
        return Frames(
            self.stream[rows], self.slot[rows], self.index[rows], self.timestamp[rows], self.payload_type[rows],
            self.length[rows], self.payload[rows],
        )  # fmt: skip


def empty_frames() -> Frames:
    """Frames of no packet."""
    none = np.zeros(0, np.int64)
    return Frames(none, none, none, none, np.zeros(0, np.uint8), none, np.zeros((0, 1), np.uint8))


def join_frames(parts: list[Frames], wipe: bool = False) -> Frames:
    """Frames one after another; payloads become as wide as the widest. With `wipe` each part is overwritten and let go as soon
    as it has been copied, and `parts` is empty in the end: a second of everybody is not held twice."""
    kept = [part for part in parts if len(part)]
    if wipe:
        parts.clear()
    if len(kept) <= 1:
        return kept[0] if kept else empty_frames()
    stream, slot, index, timestamp, payload_type, length = (
        np.concatenate([getattr(part, name) for part in kept])
        for name in ("stream", "slot", "index", "timestamp", "payload_type", "length")
    )
    payload = np.zeros((len(length), max(part.payload.shape[1] for part in kept)), np.uint8)
    at = 0
    kept.reverse()
    while kept:
        part = kept.pop()
        payload[at : at + len(part), : part.payload.shape[1]] = part.payload
        at += len(part)
        if wipe:
            part.payload[:] = 0
    return Frames(stream, slot, index, timestamp, payload_type, length, payload)


def blank_tails(payload: Bytes, length: Ints) -> None:
    if (length < payload.shape[1]).any():
        payload[np.arange(payload.shape[1]) >= length[:, None]] = 0


def remove_padding(frames: Frames, padded: Mask) -> Frames:
    """Take off RTP padding (RFC 3550 section 5.1); a padding longer than its payload leaves nothing."""
    rows = np.flatnonzero(padded & (frames.length > 0))
    if len(rows):
        last = frames.payload[rows, frames.length[rows] - 1].astype(np.int64)
        frames.length[rows] = np.where((last > 0) & (last <= frames.length[rows]), frames.length[rows] - last, 0)
        blank_tails(frames.payload, frames.length)
    return frames
