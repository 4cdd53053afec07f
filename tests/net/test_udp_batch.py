"""Datagrams drained in batches: every one, in order, from the right socket, and overwritten afterwards."""

import socket
import time

import pytest

from callseal.errors import Unavailable
from callseal.net import udp_batch
from callseal.net.udp_batch import LONGEST_BYTES, UdpBatch, open_pair


def _drain(udp: UdpBatch, sockets: list[tuple[int, int]]) -> list[tuple[int, bytes]]:
    found = []
    for packets, lengths, streams in udp.drain(sockets):
        found += [
            (stream, bytes(row[:length])) for row, length, stream in zip(packets, lengths.tolist(), streams.tolist(), strict=True)
        ]
    return found


def test_every_datagram_of_every_socket_is_taken_in_order_over_full_chunks() -> None:
    udp = UdpBatch(rows=16)
    pairs = [open_pair("127.0.0.1") for _ in range(3)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sent = [(stream, bytes([stream, n]) * (n + 1)) for n in range(40) for stream in range(3)]
        for stream, content in sent:
            sender.sendto(content, ("127.0.0.1", pairs[stream].port))
    got = _drain(udp, [(pair.rtp.fileno(), stream) for stream, pair in enumerate(pairs)])
    assert got == sorted(sent, key=lambda item: item[0])
    assert not udp.packets.any(), "what was received is overwritten"
    assert _drain(udp, [(pairs[0].rtp.fileno(), 0)]) == []
    for pair in pairs:
        pair.close()


def test_a_flooded_socket_is_left_for_the_next_time_and_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp_batch, "SOCKET_DATAGRAMS", 32)
    udp, flooded, quiet = UdpBatch(rows=16), open_pair("127.0.0.1"), open_pair("127.0.0.1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for n in range(100):
            sender.sendto(bytes([n]), ("127.0.0.1", flooded.port))
        sender.sendto(b"quiet", ("127.0.0.1", quiet.port))
    sockets = [(flooded.rtp.fileno(), 0), (quiet.rtp.fileno(), 1)]
    first = _drain(udp, sockets)
    assert udp.left_some
    assert (1, b"quiet") in first
    rest = []
    while udp.left_some:
        rest += _drain(udp, sockets)
    assert [content for stream, content in first + rest if stream == 0] == [bytes([n]) for n in range(100)]
    flooded.close()
    quiet.close()


def test_the_kernel_says_how_old_the_datagram_is_that_was_read_last() -> None:
    udp, pair = UdpBatch(rows=16), open_pair("127.0.0.1")
    sockets = [(pair.rtp.fileno(), 0)]
    assert pair.age_ms(time.time_ns()) == 0, "nothing was read"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        before = time.time_ns()
        sender.sendto(b"one", ("127.0.0.1", pair.port))
    assert len(_drain(udp, sockets)) == 1
    pair.age_ms(0)  # where the kernel had kept none it does so from here on
    after = time.time_ns()
    assert pair.age_ms(before + 120_000_000) <= 120 <= pair.age_ms(after + 120_000_000)
    assert pair.age_ms(before - 1_000_000_000) == 0, "the clock was set back"
    assert pair.age_ms(after + 2_000_000_000) == 0, "the clock was set on"
    pair.close()


def test_a_datagram_longer_than_a_row_is_cut_and_its_neighbours_are_whole() -> None:
    udp, pair = UdpBatch(rows=8), open_pair("127.0.0.1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for content in (b"before", b"x" * 4000, b"after"):
            sender.sendto(content, ("127.0.0.1", pair.port))
    assert _drain(udp, [(pair.rtp.fileno(), 0)]) == [(0, b"before"), (0, b"x" * LONGEST_BYTES), (0, b"after")]
    pair.close()


def test_ports_are_pairs_from_an_even_one_and_a_taken_one_is_refused() -> None:
    pair = open_pair("127.0.0.1")
    assert pair.port % 2 == 0
    assert pair.rtcp.getsockname()[1] == pair.port + 1
    with pytest.raises(Unavailable):
        open_pair("127.0.0.1", port=pair.port)
    with pytest.raises(Unavailable):
        open_pair("127.0.0.1", ports=range(pair.port, pair.port + 1, 2))
    port = pair.port
    pair.close()
    again = open_pair("127.0.0.1", port=port)
    assert again.port == port
    again.close()
