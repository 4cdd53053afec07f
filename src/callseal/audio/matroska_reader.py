"""Reads the Matroska that `audio.matroska` writes, and nothing wider: heads and clusters of known size.

Source: RFC 8794, RFC 9559. Invariants: lengths are checked before they are used; whatever else is met raises TamperedError.
"""

import struct
from collections.abc import Iterator

from callseal.audio import matroska
from callseal.audio.matroska import Block, TrackHead
from callseal.errors import TamperedError

_UNKNOWN = -1


def read_tracks(head: bytes) -> list[TrackHead]:
    """The tracks of a head. Raises TamperedError."""
    tracks: list[TrackHead] = []
    for name, content in _walk(memoryview(head), {matroska.SEGMENT, matroska.TRACKS}):
        if name == matroska.TRACK_ENTRY:
            tracks.append(_read_track(content))
    if not tracks:
        raise TamperedError("recording: expected a head with tracks")
    return tracks


def read_blocks(clusters: bytes) -> Iterator[Block]:
    """The blocks of clusters, in their order. Raises TamperedError."""
    base = 0
    for name, content in _walk(memoryview(clusters), {matroska.CLUSTER}):
        if name == matroska.TIMESTAMP:
            base = int.from_bytes(content, "big")
        elif name == matroska.SIMPLE_BLOCK:
            if len(content) < 4 or not content[0] & 0x80:
                raise TamperedError("recording: expected a block with a track number below 128")
            (offset,) = struct.unpack_from(">h", content, 1)
            yield Block(content[0] & 0x7F, base + offset, bytes(content[4:]))


def _read_track(content: memoryview) -> TrackHead:
    fields = dict(_walk(content, set()))
    audio = dict(_walk(fields.get(matroska.AUDIO, memoryview(b"")), set()))
    try:
        party, _, label = bytes(fields[matroska.TRACK_NAME]).decode().partition(" [")
        codec = bytes(fields[matroska.CODEC_NAME]).decode()
        (rate,) = struct.unpack(">d", audio[matroska.SAMPLING_FREQUENCY])
        return TrackHead(
            number=int.from_bytes(fields[matroska.TRACK_NUMBER], "big"),
            label=label.removesuffix("]"),
            party=party,
            codec=codec,
            clock_hz=8000 if codec == "G722" else int(rate),
            channels=int.from_bytes(audio[matroska.CHANNELS], "big"),
        )
    except (KeyError, struct.error, UnicodeDecodeError) as error:
        raise TamperedError("recording: expected a track with a number, a name, a codec and its rate") from error


def _walk(data: memoryview, enter: set[int]) -> Iterator[tuple[int, memoryview]]:
    """Every element as `(id, content)`; of those named in `enter`, what is inside instead."""
    at = 0
    while at < len(data):
        name, at = _read_number(data, at, keep_marker=True)
        length, at = _read_number(data, at, keep_marker=False)
        end = len(data) if length == _UNKNOWN else at + length
        if end > len(data):
            raise TamperedError("recording: expected an element that ends within its message")
        if name in enter:
            yield from _walk(data[at:end], enter)
        else:
            yield name, data[at:end]
        at = end


def _read_number(data: memoryview, at: int, *, keep_marker: bool) -> tuple[int, int]:
    first = data[at] if at < len(data) else 0
    width = 9 - first.bit_length()
    if first == 0 or at + width > len(data):
        raise TamperedError("recording: expected an EBML number")
    value = int.from_bytes(data[at : at + width], "big")
    if not keep_marker:
        value -= 1 << 7 * width
        if value == (1 << 7 * width) - 1:
            value = _UNKNOWN
    return value, at + width
