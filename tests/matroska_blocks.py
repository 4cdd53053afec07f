"""A second writer of clusters, block by block from the page of RFC 9559: the oracle of `audio.cluster`, which writes columns."""

import struct
from collections.abc import Iterable, Sequence

from callseal.audio.matroska import BLOCK_SPAN_MS, Block, pad


def write_clusters(blocks: Iterable[Block]) -> bytes:
    """Clusters for these blocks in the order of their time, padded; nothing at all is a lone padding.

    A block further than 32.7 s from its cluster's first begins another cluster (section 10.1).
    """
    clusters: list[bytes] = []
    group: list[Block] = []
    for block in sorted(blocks, key=lambda block: block.at_ms):
        if group and block.at_ms - group[0].at_ms > BLOCK_SPAN_MS:
            clusters.append(_cluster(group))
            group = []
        group.append(block)
    if group:
        clusters.append(_cluster(group))
    return pad(b"".join(clusters))


def _cluster(blocks: Sequence[Block]) -> bytes:
    base = blocks[0].at_ms
    body = _element(b"\xe7", base.to_bytes(max(1, (base.bit_length() + 7) // 8), "big"))
    for block in blocks:
        body += _element(b"\xa3", bytes([0x80 | block.track]) + struct.pack(">hB", block.at_ms - base, 0x80) + block.payload)
    return _element(b"\x1f\x43\xb6\x75", body)


def _element(name: bytes, content: bytes) -> bytes:
    """RFC 8794: an id, a length of eight bytes, the content."""
    return name + (1 << 56 | len(content)).to_bytes(8, "big") + content
