"""Telephone-events: keypad tones as RTP payloads. What they span is read; which key it was is not.

RFC 4733 section 2.3: event (8), end and volume (8), duration (16) in timestamp units from the packet's own timestamp, which stays
the event's first moment in all its packets. Invariant: the event code never leaves this module, for a digit may be a card's.
"""

import numpy as np

from callseal.rtp.header import Bytes, Ints

PAYLOAD_BYTES = 4


def read_durations(payload: Bytes, length: Ints) -> Ints:
    """The duration so far of n event payloads, in timestamp units; 0 where a payload is shorter than an event."""
    if payload.shape[1] < PAYLOAD_BYTES:
        return np.zeros(len(length), np.int64)
    duration = payload[:, 2].astype(np.int64) << 8 | payload[:, 3]
    return np.where(length >= PAYLOAD_BYTES, duration, 0)
