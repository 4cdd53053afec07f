"""What the worker must know of every stream, as columns by stream number: read for whole batches of frames at once.

Invariants: a number belongs to one recording (`owner`, 0 for none) until it is given back; a payload type that no codec names is
`UNKNOWN`, and nothing of it is kept.
"""

from typing import Final

import numpy as np

from callseal.cards.guard import INSPECTABLE
from callseal.errors import LimitExceeded
from callseal.flows.recording import SILENT_MS, VoiceStream
from callseal.model.ids import RecordingId
from callseal.rtp.header import Ints, Mask

UNKNOWN: Final = 0
VOICE: Final = 1
EVENT: Final = 2
BLIND: Final = 3
"""Voice of a guarded class in a codec that no guard can look into."""


class StreamTable:
    """Columns by stream number, some by payload type too."""

    def __init__(self, max_streams: int) -> None:
        self._free = list(range(max_streams - 1, -1, -1))
        self.owner = np.zeros(max_streams, np.int64)
        """Which recording, by the recorder's own number."""
        self.recording = np.zeros(max_streams, "V16")
        """The recording's id."""
        self.place = np.zeros(max_streams, np.uint8)
        """Which of its streams it is, in the order of its offer."""
        self.base_ms = np.zeros(max_streams, np.int64)
        """Add to the monotonic clock for the recording's time."""
        self.last_ms = np.zeros(max_streams, np.int64)
        """When its last packet came, in the recording's time."""
        self.silent_from_ms = np.full(max_streams, -1, np.int64)
        """Since when it has had no packet, once that is longer than `SILENT_MS`; -1 for none."""
        self.first_ms = np.full(max_streams, -1, np.int64)
        """When its first packet came; -1 while none has."""
        self._told_failed, self._told_replayed = (np.zeros(max_streams, np.int64) for _ in range(2))
        self.paused = np.zeros(max_streams, np.bool_)
        self.kind = np.zeros((max_streams, 128), np.uint8)
        self.clock_hz = np.full((max_streams, 128), 8000, np.int64)
        self.track = np.zeros((max_streams, 128), np.uint8)
        """The track in the open part; 0 where it has none yet."""

    def take_number(self) -> int:
        """A free number. Raises LimitExceeded."""
        if not self._free:
            raise LimitExceeded("streams: expected a free one on this worker")
        return self._free.pop()

    def give_number(self, number: int) -> None:
        """Give a number back."""
        self.owner[number] = 0
        self._free.insert(0, number)

    def name(self, number: int, recording: RecordingId, place: int) -> None:
        """Which stream of which recording a number is."""
        self.recording[number], self.place[number] = np.void(bytes(recording)), place

    def enter(self, stream: VoiceStream, owner: int, elapsed_ms: int, now_ms: int) -> None:
        """A stream begins, `elapsed_ms` after its recording did."""
        number = stream.number
        self.base_ms[number] = elapsed_ms - now_ms
        self.owner[number], self.paused[number], self.last_ms[number] = owner, stream.paused, elapsed_ms
        self.silent_from_ms[number] = -1
        self.first_ms[number] = -1
        self._told_failed[number] = self._told_replayed[number] = 0
        stream.paused_at_ms = elapsed_ms if stream.paused else -1
        self.enter_codecs(stream)

    def hear(self, streams: Ints, arrived_ms: Ints) -> None:
        """Packets came on these streams; a silence that they end is kept until `Recording.watch_silence` has told of it."""
        last = self.last_ms[streams]
        late = (arrived_ms - last > SILENT_MS) & (self.silent_from_ms[streams] < 0) & ~self.paused[streams]
        self.silent_from_ms[streams[late]] = last[late]
        self.last_ms[streams] = arrived_ms

    def changes_silence(self, numbers: Ints, now_ms: int) -> Mask:
        """Which of these streams have fallen silent, or speak again, and `Recording.watch_silence` has not told of it."""
        last, since = self.last_ms[numbers], self.silent_from_ms[numbers]
        fallen = (since < 0) & ~self.paused[numbers] & (now_ms + self.base_ms[numbers] - last > SILENT_MS)
        speaks: Mask = (since >= 0) & (since < last)
        return fallen | speaks

    def take_failed(self, numbers: Ints, failed: Ints, replayed: Ints) -> tuple[Ints, Ints]:
        """By each of these streams: how many packets failed and came again since this was last asked; the totals are given."""
        newly = failed[numbers] - self._told_failed[numbers], replayed[numbers] - self._told_replayed[numbers]
        self._told_failed[numbers], self._told_replayed[numbers] = failed[numbers], replayed[numbers]
        return newly

    def enter_codecs(self, stream: VoiceStream) -> None:
        """What its payload types mean, from now on; its next frames begin a part that has a track for them."""
        number = stream.number
        self.kind[number], self.track[number], self.clock_hz[number] = UNKNOWN, 0, stream.clock_hz
        for codec in stream.codecs.values():
            is_blind = stream.guarded and codec.name not in INSPECTABLE
            self.kind[number, codec.pt], self.clock_hz[number, codec.pt] = BLIND if is_blind else VOICE, codec.clock_hz
        for pt in stream.event_pts:
            self.kind[number, pt] = EVENT

    def set_tracks(self, streams: list[VoiceStream], tracks: dict[tuple[int, int], int]) -> None:
        """The tracks of a new part, by stream number and payload type."""
        for stream in streams:
            self.track[stream.number] = 0
        for (number, pt), track in tracks.items():
            self.track[number, pt] = track
