"""How far each live source was accepted, as one value that outlives a worker: so that nothing is accepted twice.

RFC 3711 section 3.3.2 (replay protection must outlive the process that keeps it). One row a source, made as columns, since it is
written every second for all streams: recording (16) ‖ u8 place of the stream in it ‖ u32 SSRC ‖ u64 index.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from callseal.flows.stream_table import StreamTable
from callseal.model.ids import RecordingId
from callseal.rtp.header import Ints

_ROW: Final = np.dtype([("recording", "V16"), ("place", "u1"), ("ssrc", ">u4"), ("index", ">u8")])

Places = NDArray[np.void]


def write_places(table: StreamTable, stream: Ints, ssrc: Ints, index: Ints) -> bytes:
    """The value of n sources: their streams, SSRCs and highest indexes accepted."""
    rows: NDArray[Any] = np.empty(len(stream), _ROW)
    rows["recording"], rows["place"], rows["ssrc"], rows["index"] = table.recording[stream], table.place[stream], ssrc, index
    return rows.tobytes()


class PlacesBefore:
    """What a worker before this one left, until each of its recordings has been opened again."""

    def __init__(self, value: bytes) -> None:
        """`value` as it was written; what does not have its form counts as nothing."""
        whole = len(value) - len(value) % _ROW.itemsize
        self._rows: Places = np.frombuffer(value[:whole], _ROW)

    def take(self, recording: RecordingId) -> dict[int, dict[int, int]]:
        """By place of the stream, and in it by SSRC: the highest index accepted. Given once."""
        mine = self._rows["recording"] == np.void(bytes(recording))
        rows, self._rows = self._rows[mine], self._rows[~mine]
        found: dict[int, dict[int, int]] = {}
        for row in rows.tolist():
            found.setdefault(row[1], {})[row[2]] = row[3]
        return found

    def to_bytes(self) -> bytes:
        """What has not been taken, to be kept on."""
        return self._rows.tobytes()
