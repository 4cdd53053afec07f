"""Is there voice where there should be? What the worker measures of each stream, and what it says when a side is missing.

Of G.711 it keeps two numbers a stream: when it was last anything but flat, and how many milliseconds carried voice. No speech.
Other codecs are not looked into: of them only missing packets are found. What neither sees: a stream of comfort noise, music or
echo in place of a person; a side missing from a mixed stream; a muted telephone, which sends silence as a broken one does.
Invariants: each state is told once, until voice is back; a paused stream is expected to be silent; nothing here ends a call.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np

from callseal.audio.g711 import decode
from callseal.flows.recording import Recording, VoiceStream
from callseal.flows.stream_table import StreamTable
from callseal.rtp.header import Bytes, Ints

FIRST_PACKET_MS: Final = 5000
"""A call without a packet for so long after its start is told of."""
FLAT_SPREAD: Final = 48
"""Highest less lowest sample of a frame without any sound, of 16-bit samples: the smallest steps of either law."""
VOICE_SPREAD: Final = 1200
"""The same of a frame that carries voice: about -35 dBov; the noise of a line stays far below it."""
FLAT_FROM_START_MS: Final = 10_000
FLAT_AFTER_VOICE_MS: Final = 60_000
"""How long the others must have spoken over a flat stream: of one that has spoken before, which may be muted, longer."""
EVERY_SAMPLE: Final = 13
"""One sample in thirteen is looked at: prime to the periods of common tones."""
EVERY_FRAME: Final = 4
"""One frame in four is looked at."""
LAWS: Final = {"PCMA": 1, "PCMU": 2}
_CODES: Final = bytes(range(256))
_LINEAR: Final = np.stack([np.zeros(256, np.int16), decode("PCMA", _CODES), decode("PCMU", _CODES)])

Missing = dict[str, Any]
"""A `VoiceMissing` event's data: `part`, `from_ms`, `why`, `party` and `label` (empty: all streams)."""


class VoiceWatch:
    """Columns by stream number; times are the recording's, in ms."""

    def __init__(self, max_streams: int) -> None:
        self._law = np.zeros((max_streams, 128), np.uint8)
        self._loud_ms, self._voiced_ms, self._others_ms = (np.zeros(max_streams, np.int64) for _ in range(3))
        """When it was last anything but flat, for how long it carried voice, and what the others had spoken by its last sound."""
        self._flat_since_ms = np.full(max_streams, -1, np.int64)
        self._measured, self._told_packets, self._told_flat = (np.zeros(max_streams, np.bool_) for _ in range(3))

    def enter(self, stream: VoiceStream, elapsed_ms: int) -> None:
        """A stream begins, or is answered anew with other codecs."""
        self.forget(stream.number)
        self._loud_ms[stream.number] = elapsed_ms
        for codec in stream.codecs.values():
            self._law[stream.number, codec.pt] = LAWS.get(codec.name, 0) if codec.channels == 1 else 0

    def forget(self, number: int) -> None:
        """The stream is over."""
        for column in (self._law, self._loud_ms, self._voiced_ms, self._measured, self._told_packets, self._told_flat):
            column[number] = 0
        self._flat_since_ms[number] = -1

    def measure(self, stream: Ints, payload_type: Bytes, index: Ints, at_ms: Ints, length: Ints, payload: Bytes) -> None:
        """Look at some of n frames that are about to be sealed. Samples beyond a frame's length are left out."""
        rows = np.flatnonzero((index % EVERY_FRAME == 0) & (length > 0))
        law = self._law[stream[rows], payload_type[rows]]
        rows, law = rows[law > 0], law[law > 0]
        if not len(rows):
            return
        stream, at, length = stream[rows], at_ms[rows], length[rows]
        linear = _LINEAR[law[:, None], _pick_samples(payload, rows, length)]
        spread = linear.max(axis=1).astype(np.int32) - linear.min(axis=1)
        self._measured[stream] = True
        loud = spread > FLAT_SPREAD
        np.maximum.at(self._loud_ms, stream[loud], at[loud])
        voiced = spread > VOICE_SPREAD
        np.add.at(self._voiced_ms, stream[voiced], length[voiced] // 8 * EVERY_FRAME)

    def find_missing(
        self, recordings: Mapping[int, Recording], table: StreamTable, packets: Ints, now_ms: int
    ) -> list[tuple[Recording, Missing]]:
        """What is newly missing, over all recordings (by owner in the table); `packets` by stream number."""
        live = np.flatnonzero(table.owner)
        silent = (table.silent_from_ms[live] >= 0) & ~table.paused[live]
        self._told_packets[live[~silent]] = False
        numbers = live[silent & ~self._told_packets[live]]
        waited_ms = now_ms + table.base_ms[numbers] - table.silent_from_ms[numbers]
        new = numbers[(packets[numbers] > 0) | (waited_ms > FIRST_PACKET_MS)]
        self._told_packets[new] = True
        found = []
        for owner in np.unique(table.owner[new]).tolist():
            recording = recordings[owner]
            newly = {number for number in new.tolist() if table.owner[number] == owner}
            found += [(recording, missing) for missing in _find_silent(recording, newly, table, packets)]
        for number in self._find_flat(table, live[~table.paused[live]]):
            recording = recordings[int(table.owner[number])]
            found.append((recording, _missing(recording, recording.stream_of(number), int(self._loud_ms[number]), "flat")))
        self._flat_since_ms[live[table.paused[live]]] = -1
        return found

    def _find_flat(self, table: StreamTable, expected: Ints) -> list[int]:
        """Streams that send the same sample for ever while the others of their recording speak."""
        _owners, of = np.unique(table.owner[expected], return_inverse=True)
        voiced = self._voiced_ms[expected]
        others = np.bincount(of, voiced, len(_owners)).astype(np.int64)[of] - voiced
        measured = self._measured[expected]
        expected, voiced, others = expected[measured], voiced[measured], others[measured]
        heard = self._flat_since_ms[expected] != self._loud_ms[expected]
        again = expected[heard]
        self._flat_since_ms[again], self._others_ms[again], self._told_flat[again] = self._loud_ms[again], others[heard], False
        spoken = others - self._others_ms[expected]
        flat = expected[~self._told_flat[expected] & (spoken >= np.where(voiced > 0, FLAT_AFTER_VOICE_MS, FLAT_FROM_START_MS))]
        self._told_flat[flat] = True
        return [int(number) for number in flat]


def _find_silent(recording: Recording, newly: set[int], table: StreamTable, packets: Ints) -> Iterator[Missing]:
    """Streams newly without packets: none since the start, all at once, or one while another flows."""
    expected = [stream for stream in recording.streams if not stream.paused]
    new = [stream for stream in expected if stream.number in newly]
    since = {stream.number: int(table.silent_from_ms[stream.number]) for stream in expected}
    if any(from_ms < 0 for from_ms in since.values()):
        for stream in new:
            yield _missing(recording, stream, since[stream.number], "one-side")
    elif new:
        began = any(packets[number] for number in since)
        yield _missing(recording, None, min(since[stream.number] for stream in new), "no-packets" if began else "none-yet")


def _pick_samples(payload: Bytes, rows: Ints, length: Ints) -> Bytes:
    """One sample in `EVERY_SAMPLE` of these frames, one frame a row; a shorter frame's last one stands for what it has not."""
    picked = np.minimum(np.arange(0, int(length.max()), EVERY_SAMPLE), length[:, None] - 1)
    samples: Bytes = payload[rows[:, None], picked]
    return samples


def _missing(recording: Recording, stream: VoiceStream | None, from_ms: int, why: str) -> Missing:
    label, party = (stream.label, stream.party) if stream else ("", "")
    return {"part": recording.part, "from_ms": max(0, from_ms), "why": why, "label": label, "party": party}
