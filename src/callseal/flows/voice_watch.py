"""Is there voice where there should be? What the worker measures of each stream, and what it says when a side is missing.

Of G.711 it keeps two numbers a stream: when it was last anything but flat, and how many milliseconds carried voice. No speech.
Other codecs are not looked into: of them only missing packets are found. What neither sees: a stream of comfort noise, music or
echo in place of a person; a side missing from a mixed stream; a muted telephone, which sends silence as a broken one does.
Invariants: each state is told once, until voice is back; a paused stream is expected to be silent; nothing here ends a call.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np

from callseal.audio.g711 import decode
from callseal.flows.recording import Recording, VoiceStream
from callseal.flows.stream_table import StreamTable
from callseal.rtp.frames import Frames
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
LAWS: Final = {"PCMA": 1, "PCMU": 2}
_CODES: Final = bytes(range(256))
_LINEAR: Final = np.stack([np.zeros(256, np.int16), decode("PCMA", _CODES), decode("PCMU", _CODES)])

Missing = dict[str, Any]
"""A `VoiceMissing` event's data: `part`, `from_ms`, `why`, `party` and `label` (empty: all streams)."""


class VoiceWatch:
    """Columns by stream number; times are the recording's, in ms."""

    def __init__(self, max_streams: int) -> None:
        self._law = np.zeros((max_streams, 128), np.uint8)
        self._loud_ms = np.zeros(max_streams, np.int64)
        self._voiced_ms = np.zeros(max_streams, np.int64)
        self._measured = np.zeros(max_streams, np.bool_)
        self._marks: dict[int, tuple[int, int]] = {}
        """By stream: since when it is flat, and what the others had spoken by then."""
        self._told: dict[int, set[str]] = {}

    def enter(self, stream: VoiceStream, elapsed_ms: int) -> None:
        """A stream begins, or is answered anew with other codecs."""
        self.forget(stream.number)
        self._loud_ms[stream.number] = elapsed_ms
        for codec in stream.codecs.values():
            self._law[stream.number, codec.pt] = LAWS.get(codec.name, 0) if codec.channels == 1 else 0

    def forget(self, number: int) -> None:
        """The stream is over."""
        self._law[number], self._loud_ms[number], self._voiced_ms[number], self._measured[number] = 0, 0, 0, False
        self._marks.pop(number, None)
        self._told.pop(number, None)

    def measure(self, frames: Frames, at_ms: Ints) -> None:
        """Look at frames that are about to be sealed. Samples beyond a frame's length are left out."""
        law = self._law[frames.stream, frames.payload_type]
        rows = np.flatnonzero((law > 0) & (frames.length > 0))
        if not len(rows):
            return
        linear = _LINEAR[law[rows, None], _pick_samples(frames, rows)]
        spread = linear.max(axis=1).astype(np.int32) - linear.min(axis=1)
        stream, at = frames.stream[rows], at_ms[rows]
        self._measured[stream] = True
        loud = spread > FLAT_SPREAD
        np.maximum.at(self._loud_ms, stream[loud], at[loud])
        voiced = spread > VOICE_SPREAD
        np.add.at(self._voiced_ms, stream[voiced], frames.length[rows[voiced]] // 8)

    def find_missing(self, recording: Recording, table: StreamTable, packets: Ints, elapsed_ms: int) -> list[Missing]:
        """What is newly missing from a recording; `packets` by stream number."""
        expected = [stream for stream in recording.streams if not stream.paused]
        for stream in recording.streams:
            if stream.paused:
                self._marks.pop(stream.number, None)
                self._told.pop(stream.number, None)
        return [*self._find_silent(recording, expected, table, packets, elapsed_ms), *self._find_flat(recording, expected)]

    def _find_silent(
        self, recording: Recording, expected: Sequence[VoiceStream], table: StreamTable, packets: Ints, elapsed_ms: int
    ) -> Iterator[Missing]:
        """Streams without packets: none since the start, all at once, or one while another flows."""
        began = {stream.number: bool(packets[stream.number]) for stream in expected}
        silent = [stream for stream in expected if table.silent_from_ms[stream.number] >= 0]
        due = [
            stream for stream in silent
            if began[stream.number] or elapsed_ms - int(table.silent_from_ms[stream.number]) > FIRST_PACKET_MS
        ]  # fmt: skip
        others_flow = len(silent) < len(expected)
        for stream in expected:
            if table.silent_from_ms[stream.number] < 0:
                self._told.get(stream.number, set()).discard("packets")
        new = [stream for stream in due if self._is_new(stream, "packets")]
        if not new:
            return
        from_ms = min(int(table.silent_from_ms[stream.number]) for stream in new)
        if others_flow:
            for stream in new:
                yield _missing(recording, stream, int(table.silent_from_ms[stream.number]), "one-side")
        else:
            yield _missing(recording, None, from_ms, "no-packets" if any(began.values()) else "none-yet")

    def _find_flat(self, recording: Recording, expected: Sequence[VoiceStream]) -> Iterator[Missing]:
        """Streams that send the same sample for ever while the others speak."""
        voiced = sum(int(self._voiced_ms[stream.number]) for stream in expected)
        for stream in expected:
            number = stream.number
            if not self._measured[number]:
                continue
            since, own = int(self._loud_ms[number]), int(self._voiced_ms[number])
            mark = self._marks.get(number)
            if mark is None or mark[0] != since:
                self._marks[number] = since, voiced - own
                self._told.get(number, set()).discard("flat")
                continue
            if voiced - own - mark[1] >= (FLAT_AFTER_VOICE_MS if own else FLAT_FROM_START_MS) and self._is_new(stream, "flat"):
                yield _missing(recording, stream, since, "flat")

    def _is_new(self, stream: VoiceStream, what: str) -> bool:
        told = self._told.setdefault(stream.number, set())
        if what in told:
            return False
        told.add(what)
        return True


def _pick_samples(frames: Frames, rows: Ints) -> Bytes:
    """One sample in `EVERY_SAMPLE` of these frames, one frame a row; a shorter frame's last one stands for what it has not."""
    length = frames.length[rows]
    longest = int(length.max())
    if len(rows) == len(frames) and (length == longest).all():
        return frames.payload[:, :longest:EVERY_SAMPLE]
    return frames.payload[rows[:, None], np.minimum(np.arange(0, longest, EVERY_SAMPLE), length[:, None] - 1)]


def _missing(recording: Recording, stream: VoiceStream | None, from_ms: int, why: str) -> Missing:
    label, party = (stream.label, stream.party) if stream else ("", "")
    return {"part": recording.part, "from_ms": max(0, from_ms), "why": why, "label": label, "party": party}
