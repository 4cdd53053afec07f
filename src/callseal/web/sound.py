"""An opened recording as the bytes of a WAV file: the whole, or one range of it, a second of sound at a time."""

from collections.abc import Iterator, Sequence

from callseal.flows.opened import OpenedRecording
from callseal.web.wav import HEADER_BYTES, Wav


def shape_of(opened: OpenedRecording, tracks: Sequence[int]) -> Wav:
    """The WAV of these tracks, in their order, as channels."""
    return Wav(len(tracks), opened.rate_hz, opened.frames)


def whole(opened: OpenedRecording) -> Iterator[bytes]:
    """The WAV of all tracks. Raises NotFound after the keys are wiped, TamperedError."""
    tracks = [track.number for track in opened.tracks]
    return bytes_between(opened, tracks, 0, shape_of(opened, tracks).total_bytes - 1)


def bytes_between(opened: OpenedRecording, tracks: Sequence[int], first: int, last: int) -> Iterator[bytes]:
    """Bytes `first` to `last` (inclusive) of the WAV of these tracks. Raises NotFound, TamperedError."""
    wav = shape_of(opened, tracks)
    if first < HEADER_BYTES:
        yield wav.header()[first : last + 1]
    at, end = max(0, first - HEADER_BYTES), last + 1 - HEADER_BYTES
    while at < end:
        frame = at // wav.frame_bytes
        to_frame = min(frame + wav.rate_hz, -(-end // wav.frame_bytes))
        samples = opened.samples(tracks, frame, to_frame).astype("<i2").tobytes()
        piece = samples[at - frame * wav.frame_bytes : end - frame * wav.frame_bytes]
        yield piece
        at += len(piece)
