"""What signalling believes of exceptions: the pinned key's newest note, in its day, for a network that is really here."""

import ipaddress
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from callseal.audit.exception import ClearException, ExceptionNote, encode_exceptions
from callseal.audit.note import Signer, sign_note
from callseal.net.exceptions import SignedExceptions, is_direct

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
ROUTES4 = """Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT
eth0 00000000 0101A8C0 0003 0 0 0 00000000 0 0 0
eth0 0001A8C0 00000000 0001 0 0 0 00FFFFFF 0 0 0
wg0 0000090A 00000000 0001 0 0 0 00FFFFFF 0 0 0
eth0 00000A0A 0201A8C0 0003 0 0 0 0000FFFF 0 0 0
tun0 00000000 00000000 0001 0 0 0 00000000 0 0 0
"""
ROUTES6 = """fd000000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001 wg0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003 eth0
"""


class Note:
    """A note file, its signer and a clock."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.signer, self.now = folder, Signer.from_seed("test/2026", os.urandom(32)), NOW
        (folder / "log.vkey").write_text(self.signer.verifier.vkey() + "\n")
        (folder / "route").write_text(ROUTES4)
        (folder / "ipv6_route").write_text(ROUTES6)
        self.exceptions = SignedExceptions(folder / "exceptions.note", folder / "log.vkey", lambda: self.now, folder)

    def write(self, *exceptions: ClearException, serial: int = 5, hours: float = 48, signer: Signer | None = None) -> "Note":
        note = ExceptionNote(serial, NOW + timedelta(hours=hours), exceptions)
        self.exceptions.path.write_text(encode_exceptions(note, lambda text: sign_note(text, signer or self.signer).decode()))
        return self

    def peers(self) -> list[str]:
        return sorted(self.exceptions.read())


def one(peer: str = "pbx", network: str = "10.9.0.0/24", interface: str = "wg0", days: float = 9) -> ClearException:
    return ClearException(os.urandom(16).hex(), peer, network, interface, NOW + timedelta(days=days))


@pytest.fixture
def note(tmp_path: Path) -> Note:
    return Note(tmp_path)


def test_without_a_note_nothing_is_excepted_and_nothing_is_in_doubt(note: Note):
    assert note.peers() == [] and note.exceptions.doubts == []


def test_what_the_note_says_holds_until_its_end_and_until_the_notes(note: Note):
    found = note.write(one(), one("other", days=1)).exceptions.read()
    assert found["pbx"].label == "clear, by exception until 6 Dec 2026"
    note.now = NOW + timedelta(days=1)
    assert note.peers() == ["pbx"]
    note.now = NOW + timedelta(hours=48)
    assert note.peers() == [] and "past its day" in note.exceptions.doubts[0]


def test_another_key_another_text_and_no_pinned_key_are_not_believed(note: Note):
    note.write(one(), signer=Signer.from_seed("test/2026", os.urandom(32)))
    assert note.peers() == []
    note.write(one())
    note.exceptions.path.write_text(note.exceptions.path.read_text().replace("pbx", "sbc"))
    assert note.peers() == [] and note.exceptions.doubts
    note.write(one())
    (note.folder / "log.vkey").unlink()
    assert note.peers() == []


def test_an_older_note_put_back_counts_for_nothing(note: Note):
    note.write(one(), serial=5)
    old = note.exceptions.path.read_text()
    assert note.peers() == ["pbx"]
    assert note.write(serial=6).peers() == []
    note.exceptions.path.write_text(old)
    assert note.peers() == [] and "older" in note.exceptions.doubts[0]


@pytest.mark.parametrize(
    ("network", "interface", "direct"),
    [
        ("10.9.0.0/24", "wg0", True), ("10.9.0.128/25", "wg0", True), ("10.9.0.0/16", "wg0", False), ("10.9.0.0/24", "eth0", False),
        ("192.168.1.7/32", "eth0", True), ("10.10.0.0/16", "eth0", False), ("8.8.8.0/24", "eth0", False), ("8.8.8.0/24", "tun0", False),
        ("fd00::/64", "wg0", True), ("fd00:0:0:1::/64", "wg0", False), ("2001:db8::/64", "eth0", False), ("127.0.0.0/8", "lo", True),
        ("127.0.0.0/8", "eth0", False), ("10.9.0.0/24", "lo", False),
    ],
)  # fmt: skip
def test_only_a_network_without_a_gateway_on_that_very_interface_is_direct(note: Note, network, interface, direct):
    assert is_direct(ipaddress.ip_network(network), interface, note.folder) is direct
    assert note.write(one(network=network, interface=interface)).peers() == (["pbx"] if direct else [])


def test_where_routes_cannot_be_read_nothing_is_direct(tmp_path: Path):
    assert not is_direct(ipaddress.ip_network("10.9.0.0/24"), "wg0", tmp_path / "nowhere")


def test_this_machines_own_routes_can_be_read():
    assert is_direct(ipaddress.ip_network("127.0.0.0/8"), "lo")
    is_direct(ipaddress.ip_network("10.9.0.0/24"), "wg0")
