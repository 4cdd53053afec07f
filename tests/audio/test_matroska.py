"""What we write as Matroska is read by FFmpeg and by our own strict reader; what is cut or bent is refused."""

import io
import os
from contextlib import suppress

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callseal.audio import g711
from callseal.audio.matroska import PADDED_TO, Block, TrackHead, pad, write_head
from callseal.audio.matroska_reader import read_blocks, read_tracks
from callseal.errors import TamperedError
from tests.matroska_blocks import write_clusters

TWO = [TrackHead(1, "1", "customer", "PCMA", 8000), TrackHead(2, "label two", "staff", "PCMU", 8000)]
blocks_of_any_kind = st.lists(
    st.builds(Block, st.integers(1, 2), st.integers(0, 7_200_000), st.binary(min_size=1, max_size=200)), max_size=20
)


def test_ffmpeg_hears_the_samples_that_went_in() -> None:
    tone = (8000 * np.sin(np.arange(8000) * 2 * np.pi * 440 / 8000)).astype(np.int16)
    coded = {1: g711.encode("PCMA", tone), 2: g711.encode("PCMU", tone)}
    blocks = [Block(track, n * 20, coded[track][n * 160 : (n + 1) * 160]) for track in coded for n in range(50)]
    file = av.open(io.BytesIO(write_head(TWO) + write_clusters(blocks[:60]) + write_clusters(blocks[60:])))
    assert [stream.codec_context.name for stream in file.streams] == ["pcm_alaw", "pcm_mulaw"]
    heard = np.concatenate([frame.to_ndarray().ravel() for frame in file.decode(file.streams[0])])
    np.testing.assert_array_equal(heard, g711.decode("PCMA", coded[1]))


@pytest.mark.parametrize(("codec", "name"), [("G722", "adpcm_g722"), ("opus", "opus"), ("G729", "g729")])
def test_ffmpeg_knows_the_codec_by_its_name(codec: str, name: str) -> None:
    rate = 48000 if codec == "opus" else 8000
    head = write_head([TrackHead(1, "1", "customer", codec, rate)])
    payload = b"\xf8\xff\xfe" if codec == "opus" else bytes(20)
    file = av.open(io.BytesIO(head + write_clusters([Block(1, n * 20, payload) for n in range(10)])))
    assert file.streams[0].codec_context.name in (name, "g722" if codec == "G722" else name)


def test_an_unknown_codec_keeps_its_name_and_its_payloads() -> None:
    track = TrackHead(1, "x", "unknown", "EVS", 16000)
    assert read_tracks(write_head([track])) == [track]


@given(blocks_of_any_kind)
def test_our_reader_gives_back_every_block(blocks: list[Block]) -> None:
    clusters = write_clusters(blocks)
    assert len(clusters) % PADDED_TO == 0
    assert sorted(read_blocks(clusters), key=repr) == sorted(blocks, key=repr)


@given(st.integers(0, 5000))
def test_padding_ends_on_a_kibibyte_and_never_adds_two(length: int) -> None:
    padded = pad(bytes(length))
    assert len(padded) % PADDED_TO == 0
    assert 0 <= len(padded) - length <= PADDED_TO + 1
    assert len(padded) > 0


@settings(max_examples=200)
@given(st.data())
def test_a_bent_head_or_cluster_is_refused_or_read_but_never_breaks_the_reader(data: st.DataObject) -> None:
    whole = bytearray(data.draw(st.sampled_from([write_head(TWO), write_clusters([Block(1, 5, os.urandom(40))])])))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    cut = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    with suppress(TamperedError):
        read_tracks(cut)
    with suppress(TamperedError):
        list(read_blocks(cut))


def test_a_head_without_tracks_is_refused() -> None:
    with pytest.raises(TamperedError):
        read_tracks(write_clusters([]))
