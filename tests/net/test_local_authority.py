"""The local authority: what it makes once, and who it admits."""

import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from callseal.config.peers import load_peers
from callseal.errors import ConfigError
from callseal.net.authority import ensure_authority, fingerprint_of, issue_client
from callseal.net.tls import PeerBook

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    tls, peers = tmp_path / "tls", tmp_path / "peers"
    tls.mkdir()
    peers.mkdir()
    ensure_authority(tls, peers, server_name="recorder.example", now=NOW)
    return tls, peers


def test_what_exists_is_never_overwritten(folders):
    tls, peers = folders
    before = {path.name: path.read_bytes() for folder in folders for path in folder.iterdir()}
    ensure_authority(tls, peers, server_name="another.example", now=NOW)
    assert before == {path.name: path.read_bytes() for folder in folders for path in folder.iterdir()}


def test_keys_are_for_their_owner_only_and_certificates_for_one_purpose(folders):
    tls, _ = folders
    assert {stat.S_IMODE(path.stat().st_mode) for path in tls.glob("*.key")} == {0o600}
    server = x509.load_pem_x509_certificate((tls / "server.pem").read_bytes())
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["recorder.example", "localhost"]
    purposes = {
        name: list(x509.load_pem_x509_certificate((tls / name).read_bytes()).extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
        for name in ("server.pem", "phone.pem")
    }
    assert purposes == {"server.pem": [ExtendedKeyUsageOID.SERVER_AUTH], "phone.pem": [ExtendedKeyUsageOID.CLIENT_AUTH]}


def test_the_test_phone_is_a_peer_by_its_fingerprint(folders):
    tls, peers = folders
    assert load_peers(peers)["phone"].fingerprints == {fingerprint_of(tls / "phone.pem")}


def test_a_new_peer_is_seen_and_a_broken_file_keeps_the_old_peers(folders):
    tls, peers = folders
    book = PeerBook(tls, peers)
    assert not book.refresh()
    (peers / "sbc.toml").write_text(f'certificate_sha256 = ["{issue_client(tls, "sbc", NOW)}"]\nclass = "sales"\n')
    old = book.context
    assert book.refresh() and book.context is not old
    (peers / "worse.toml").write_text("certificate_sha256 = 7\n")
    kept = book.context
    with pytest.raises(ConfigError, match=r"worse\.toml"):
        book.refresh()
    assert book.context is kept


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("a", "", "fingerprint"), ("a", 'certificate_sha256 = "12"', "64 hex"), ("A", f'certificate_sha256 = "{"0" * 64}"', "lower-case"),
        ("a", f'certificate_sha256 = "{"0" * 64}"\nsrtp = "optional"', "require"), ("a", f'certificate_sha256 = "{"0" * 64}"\nx = 1', "unknown"),
        ("a", f'certificate_sha256 = "{"0" * 64}"\nclass = "../x"', "class"), ("a", "=", "a.toml"),
    ],
)  # fmt: skip
def test_a_wrong_peer_file_is_named_with_what_is_wrong(tmp_path: Path, name, text, why):
    (tmp_path / f"{name}.toml").write_text(text)
    with pytest.raises(ConfigError, match=why):
        load_peers(tmp_path)


def test_one_certificate_cannot_be_two_peers(tmp_path: Path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.toml").write_text(f'certificate_sha256 = "{"0" * 64}"')
    with pytest.raises(ConfigError, match="already"):
        load_peers(tmp_path)
