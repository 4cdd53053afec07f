"""Clusters written from columns say the same as those written block by block, and play in FFmpeg."""

import io
from itertools import accumulate

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callseal.audio import cluster
from callseal.audio.matroska import BLOCK_SPAN_MS, Block, TrackHead, write_head
from callseal.audio.matroska_reader import read_blocks
from callseal.errors import InternalError
from tests.matroska_blocks import write_clusters


def _write(blocks: list[Block], edges: list[int] | None = None) -> bytes:
    width = max(len(block.payload) for block in blocks)
    payload = np.zeros((len(blocks), max(1, width)), np.uint8)
    for row, block in enumerate(blocks):
        payload[row, : len(block.payload)] = np.frombuffer(block.payload, np.uint8)
    columns = ([block.track for block in blocks], [block.at_ms for block in blocks], [len(block.payload) for block in blocks])
    made = cluster.write_clusters(edges or [0, len(blocks)], *(np.array(column, np.int64) for column in columns), payload)
    return b"".join(bytes(one) for one in made)


BLOCKS = st.lists(
    st.builds(Block, st.integers(1, 126), st.integers(0, BLOCK_SPAN_MS), st.binary(max_size=300)), min_size=1, max_size=60
)


@settings(max_examples=150, deadline=None)
@given(BLOCKS)
def test_columns_and_blocks_give_the_same_reading(blocks: list[Block]) -> None:
    ordered = sorted(blocks, key=lambda block: block.at_ms)
    made = _write(ordered)
    assert list(read_blocks(made)) == list(read_blocks(write_clusters(ordered))) == ordered
    assert len(made) % 1024 == 0


@settings(max_examples=50, deadline=None)
@given(st.lists(BLOCKS, min_size=1, max_size=5))
def test_clusters_of_many_recordings_written_at_once_are_those_written_one_by_one(groups: list[list[Block]]) -> None:
    ordered = [sorted(blocks, key=lambda block: block.at_ms) for blocks in groups]
    edges = [0, *accumulate(len(blocks) for blocks in ordered)]
    assert _write([block for blocks in ordered for block in blocks], edges) == b"".join(_write(blocks) for blocks in ordered)


@pytest.mark.parametrize("sizes", [[160] * 50, [10, 20] * 30, [1, 3, 2, 80, 1]])
def test_the_size_of_a_message_tells_kibibytes_only(sizes: list[int]) -> None:
    assert len(_write([Block(1, 20 * n, bytes(size)) for n, size in enumerate(sizes)])) % 1024 == 0


def test_a_span_that_a_block_cannot_say_is_refused() -> None:
    with pytest.raises(InternalError):
        _write([Block(1, 0, b"x"), Block(1, BLOCK_SPAN_MS + 1, b"x")])


@pytest.mark.parametrize(("codec", "decoder"), [("PCMA", "pcm_alaw"), ("PCMU", "pcm_mulaw"), ("G722", "g722")])
def test_ffmpeg_opens_head_and_clusters_with_a_gap_and_a_cut_end(codec: str, decoder: str) -> None:
    head = write_head([TrackHead(1, "1", "customer", codec, 8000), TrackHead(2, "2", "staff", codec, 8000)])
    chance = np.random.default_rng(7)
    sent = [Block(track, at, chance.bytes(160)) for at in [*range(0, 980, 20), *range(3000, 3980, 20)] for track in (1, 2)]
    whole = head + _write([b for b in sent if b.at_ms < 1000]) + _write([b for b in sent if b.at_ms >= 1000])
    for content, kept in ((whole, len(sent)), (head + _write(sent[:98]), 98)):
        with av.open(io.BytesIO(content)) as container:
            assert [stream.codec_context.name for stream in container.streams] == [decoder] * 2
            packets = [packet for packet in container.demux() if packet.size]
        got = sorted(
            (packet.stream_index + 1, int(packet.pts * packet.time_base * 1000 + 0.5), bytes(packet)) for packet in packets
        )
        assert got == sorted((block.track, block.at_ms, block.payload) for block in sent[:kept])
