"""Voice in the clear, by exception: from the named network and one source only, sealed like any other; never beside a key."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from callseal.errors import CallsealError, NotAcceptable, RequestError, Unavailable
from tests.media_rig import MediaRig, Sender, running

pytestmark = pytest.mark.real
HERE = {"network": "127.0.0.0/9", "interface": "lo"}


@pytest.fixture(scope="module")
def rig() -> Iterator[MediaRig]:
    with TemporaryDirectory(prefix="cs-m-", dir="/tmp") as folder, running(Path(folder)) as started:
        yield started


class ClearCall:
    """A recording of one stream in the clear; sockets of any loopback address speak to it."""

    def __init__(self, rig: MediaRig, clear: dict[str, str] = HERE, **more: Any) -> None:
        self.rig, self.recording, self.sender = rig, os.urandom(16).hex(), Sender()
        self.fields = {"suite": "", "key": "", "clear": clear, **more}
        (self.port,) = rig.open(self.recording, [self.sender.stream(**self.fields)])
        self.sockets: dict[str, socket.socket] = {}

    def send(self, address: str, count: int = 1, name: str = "") -> list[bytes]:
        if (name or address) not in self.sockets:
            self.sockets[name or address] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.sockets[name or address].bind((address, 0))
        sent = []
        for _ in range(count):
            sent.append(os.urandom(160))
            self.sockets[name or address].sendto(self.sender.packet(sent[-1]), ("127.0.0.1", self.port))
            self.sender.sent += 1
        return sent

    def wait(self, field: str, count: int) -> dict[str, Any]:
        return self.rig.wait_status(self.recording, lambda status: status["streams"][0][field] >= count)["streams"][0]

    def close(self) -> list[bytes]:
        self.rig.ask("media.close", recording=self.recording, reason="bye")
        for each in [*self.sockets.values(), self.sender.socket]:
            each.close()
        return [payload for part in self.rig.open_parts(self.recording) for payload in part.payloads]


def test_what_one_source_of_the_network_sends_is_sealed_and_nothing_of_it_lies_in_the_clear(rig: MediaRig) -> None:
    call = ClearCall(rig)
    sent = call.send("127.0.0.1", 30)
    call.wait("packets", 30)
    sent += call.send("127.0.0.1", 30)
    assert call.wait("packets", 60)["failed"] == 0
    assert call.close() == sent
    spool = b"".join(path.read_bytes() for path in rig.data.rglob("*") if path.is_file())
    assert all(payload not in spool for payload in sent) and rig.private_key not in spool


def test_another_network_another_source_and_what_is_no_rtp_latch_nothing(rig: MediaRig) -> None:
    call = ClearCall(rig)
    call.send("127.200.0.1", 5)
    for junk in (b"", b"\x80", b"hello hello hello", b"\x80\xc8" + bytes(20), b"\x40\x08" + bytes(40)):
        call.send("127.0.0.9", 0, "junk")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.sendto(junk, ("127.0.0.1", call.port))
    refused = call.wait("failed", 10)
    assert refused["packets"] == 0
    sent = call.send("127.0.0.1", 3)
    call.wait("packets", 3)
    call.send("127.0.0.1", 20, "same address, another port")
    call.send("127.0.0.2", 20)
    sent += call.send("127.0.0.1", 3)
    assert call.wait("packets", 6)["packets"] == 6
    assert call.close() == sent


def test_a_flood_of_others_in_the_very_wake_of_the_latch_inserts_nothing(rig: MediaRig) -> None:
    call = ClearCall(rig)
    sent = []
    for _ in range(20):
        call.send("127.200.0.1", 3)
        sent += call.send("127.0.0.1")
        call.send("127.200.0.2", 3)
    call.wait("packets", 20)
    assert call.close() == sent


def test_a_replayed_packet_is_dropped_in_the_clear_too(rig: MediaRig) -> None:
    call = ClearCall(rig)
    sent = call.send("127.0.0.1", 3)
    call.sender.sent -= 1
    call.send("127.0.0.1")
    assert call.wait("replayed", 1)["packets"] == 3
    assert call.close() == sent


def test_a_new_offer_lets_it_move_within_its_network_and_take_up_keys_but_never_lose_them(rig: MediaRig) -> None:
    call = ClearCall(rig)
    sent = call.send("127.0.0.1", 3)
    call.wait("packets", 3)
    rig.ask("media.update", recording=call.recording, streams=[call.sender.stream(**call.fields)])
    call.send("127.200.0.1", 3)
    sent += call.send("127.0.0.7", 3)
    call.wait("packets", 6)
    ported = rig.ask("media.update", recording=call.recording, streams=[call.sender.stream()])
    assert ported["ports"] == [call.port]
    call.send("127.0.0.7", 4)
    call.wait("failed", 4)
    call.sender.port = call.port
    secured = [os.urandom(160) for _ in range(3)]
    for payload in secured:
        call.sender.send(payload)
    call.wait("packets", 9)
    with pytest.raises(NotAcceptable):
        rig.ask("media.update", recording=call.recording, streams=[call.sender.stream(**call.fields)])
    assert call.close() == [*sent, *secured]


def test_the_interface_is_bound_to_and_one_that_is_not_there_is_refused(rig: MediaRig) -> None:
    with pytest.raises(Unavailable, match="interface"):
        ClearCall(rig, {"network": "127.0.0.0/8", "interface": "wg-none"})


@pytest.mark.parametrize(
    "fields",
    [
        {"suite": "", "key": ""}, {"suite": "NONE", "key": ""}, {"suite": "", "key": "", "clear": {"network": "10.0.0.0/8"}},
        {"suite": "", "key": "", "clear": {"network": "x", "interface": "lo"}}, {"suite": "AEAD_AES_256_GCM", "clear": HERE},
        {"suite": "", "key": "", "clear": "yes"},
    ],
)  # fmt: skip
def test_there_is_no_other_way_to_a_stream_without_keys(rig: MediaRig, fields: dict[str, Any]) -> None:
    with pytest.raises((RequestError, NotAcceptable)) as refused:
        rig.open(os.urandom(16).hex(), [Sender().stream(**fields)])
    assert isinstance(refused.value, CallsealError)
    ClearCall(rig).close()
