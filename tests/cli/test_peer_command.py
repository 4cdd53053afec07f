"""`callseal peer`: what it writes is what the recorder reads, what it prints can be pasted, and a secret is shown once."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from typer.testing import CliRunner

from callseal.audit.exception import ClearException, ExceptionNote, encode_exceptions
from callseal.audit.note import Signer, sign_note
from callseal.cli.main import make_app
from callseal.config.peers import load_peers, read_peer
from callseal.config.vendors import SECRET, list_vendors, load_vendor
from callseal.errors import CallsealError, ConfigError, Conflict, NotFound, RequestError
from callseal.net.authority import fingerprint_of, is_own
from tests.certificates import Authority


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "callseal.toml").write_text(f'data = "{tmp_path / "data"}"\n[media]\nfirst_port = 20000\nlast_port = 20999\n')
    monkeypatch.setenv("CALLSEAL_CONFIG", str(tmp_path / "callseal.toml"))
    return tmp_path / "data"


def run(*words: str) -> str:
    """What a command prints; raises what it raises."""
    done = CliRunner().invoke(make_app(["peer"]), ["peer", *words])
    if isinstance(done.exception, CallsealError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def peer(data: Path, name: str = "sbc"):
    return read_peer(data / "peers" / f"{name}.toml")


@pytest.mark.parametrize("kind", list_vendors())
def test_each_type_is_added_listed_and_removed(data: Path, kind: str):
    cloud = load_vendor(kind).proof == SECRET
    told = json.loads(run("add", "sbc", "--type", kind, "--host", "rec.example", "--from", "198.51.100.7", "--json"))
    assert peer(data).kind == kind and peer(data).is_cloud == cloud
    assert "rec.example" in told["configuration"] and "<<" not in told["configuration"]
    assert "saddr 198.51.100.7 udp dport 20000-20999" in told["firewall"]
    if not cloud:
        assert told["fingerprints"] == [fingerprint_of(data / "tls" / "sbc.pem")] and is_own(data / "tls", "sbc")
    assert [row["name"] for row in json.loads(run("list", "--json"))] == ["phone", "sbc"]
    run("remove", "sbc")
    assert "sbc" not in load_peers(data / "peers") and not list((data / "tls").glob("sbc.*"))


def test_a_cloud_sender_needs_its_addresses_and_its_secret_is_kept_as_a_digest_only(data: Path):
    with pytest.raises(RequestError, match="secret alone"):
        run("add", "tw", "--type", "twilio")
    shown = run("add", "tw", "--type", "twilio", "--from", "192.0.2.0/24")
    (word,) = set(re.findall(r"[0-9a-f]{32}", shown))
    kept = (data / "peers" / "tw.toml").read_text()
    assert word not in kept and sha256(word.encode()).hexdigest() in kept
    assert word not in run("list")


def test_a_secret_is_renewed_with_an_overlap_that_ends(data: Path):
    run("add", "tw", "--type", "telnyx", "--from", "192.0.2.0/24")
    (old,) = peer(data, "tw").secrets
    shown = run("renew", "tw", "--overlap-days", "2")
    before, after = peer(data, "tw").secrets
    assert before.sha256 == old.sha256 and after.until is None and sha256(re.findall(r"[0-9a-f]{32}", shown)[0].encode()).hexdigest() == after.sha256
    now = datetime.now(UTC)
    assert before.is_live(now + timedelta(days=1)) and not before.is_live(now + timedelta(days=2))
    run("renew", "tw", "--finish")
    assert peer(data, "tw").secrets == (after,)
    for _ in range(8):
        run("renew", "tw")
    assert len(peer(data, "tw").secrets) == 4


def test_a_certificate_is_renewed_beside_the_old_one_until_finished(data: Path):
    run("add", "sbc", "--type", "oracle")
    (old,) = peer(data).fingerprints
    run("renew", "sbc")
    new = fingerprint_of(data / "tls" / "sbc.pem")
    assert peer(data).fingerprints == {old, new} and old != new
    run("renew", "sbc", "--finish")
    assert peer(data).fingerprints == {new}


def test_the_recorders_own_certificate_is_renewed_unless_it_is_anothers(data: Path, tmp_path: Path):
    run("add", "sbc")
    before = (data / "tls" / "server.pem").read_bytes()
    run("renew", "--server")
    assert (data / "tls" / "server.pem").read_bytes() != before and is_own(data / "tls", "server")
    foreign = Authority(tmp_path).issue("rec.example")
    (data / "tls" / "server.pem").write_bytes(foreign.certificate.read_bytes())
    with pytest.raises(RequestError, match="your authority"):
        run("renew", "--server")


def _request(key, signer=None) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "anything")])
    return x509.CertificateSigningRequestBuilder().subject_name(subject).sign(signer or key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_its_own_request_is_signed_for_its_key_and_under_our_name(data: Path, tmp_path: Path):
    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "sbc.csr").write_bytes(_request(key))
    run("add", "sbc", "--csr", str(tmp_path / "sbc.csr"))
    issued = x509.load_pem_x509_certificate((data / "tls" / "sbc.pem").read_bytes())
    assert issued.public_key() == key.public_key() and not (data / "tls" / "sbc.key").exists()
    assert issued.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName) == ["sbc"]
    (tmp_path / "weak.csr").write_bytes(_request(rsa.generate_private_key(65537, 1024)))
    for bad in ("weak.csr", "callseal.toml"):
        with pytest.raises(ConfigError, match="csr"):
            run("add", "weak", "--csr", str(tmp_path / bad))
        assert "weak" not in load_peers(data / "peers")


def test_its_own_certificate_or_authority_lies_beside_its_file_and_goes_with_it(data: Path, tmp_path: Path):
    authority = Authority(tmp_path, "theirs")
    issued = authority.issue("sbc.example", ("sbc.example",))
    run("add", "pinned", "--certificate", str(issued.certificate))
    run("add", "named", "--authority", str(authority.file), "--certificate-name", "SBC.example")
    assert peer(data, "pinned").fingerprints == {fingerprint_of(issued.certificate)}
    assert peer(data, "named").certificate_names == {"sbc.example"} and not peer(data, "named").fingerprints
    assert sorted(path.name for path in (data / "peers").glob("*.pem")) == ["named.ca.pem", "pinned.pem"]
    with pytest.raises(ConfigError, match="already"):
        run("add", "twice", "--certificate", str(issued.certificate))
    assert not (data / "peers" / "twice.toml").exists()
    run("remove", "named")
    run("remove", "pinned")
    assert not list((data / "peers").glob("*.pem"))


def test_what_does_not_fit_is_named(data: Path):
    run("add", "sbc")
    for words, kind, why in (
        (("add", "sbc"), Conflict, "again"), (("add", "Sbc"), RequestError, "lower-case"), (("add", "server"), RequestError, "server"),
        (("add", "x", "--type", "nobody"), ConfigError, "expected one of"), (("add", "x", "--type", "twilio", "--from", "0.0.0.0/0"), ConfigError, "/8"),
        (("add", "x", "--fingerprint", "12"), ConfigError, "64 hex"), (("remove", "nobody"), NotFound, "list"), (("renew",), RequestError, "--server"),
        (("add", "x", "--authority", "a.pem"), RequestError, "certificate-name"), (("check", "nobody"), NotFound, "list"),
    ):  # fmt: skip
        with pytest.raises(kind, match=why):
            run(*words)
    assert sorted(load_peers(data / "peers")) == ["phone", "sbc"]


def test_the_command_itself_says_one_sentence_and_an_exit_code(data: Path):
    done = subprocess.run([sys.executable, "-m", "callseal.cli.main", "peer", "remove", "nobody"], capture_output=True, text=True, check=False)
    assert done.returncode != 0 and done.stderr.count("\n") == 1 and "callseal peer list" in done.stderr


def test_doctor_says_how_long_each_certificate_lasts_and_how_to_renew_it(data: Path, tmp_path: Path):
    from callseal.cli.doctor import examine
    from callseal.config.settings import load_config

    run("add", "sbc")
    run("add", "pinned", "--certificate", str(Authority(tmp_path, "theirs").issue("pinned").certificate))
    later = datetime.now(UTC) + timedelta(days=380)
    found = {finding.what: finding for finding in examine(load_config(), later) if finding.what.startswith("certificate ")}
    assert found["certificate sbc"].fix == "callseal peer renew sbc" and found["certificate server"].fix == "callseal peer renew --server"
    assert found["certificate pinned"].verdict == "bad" and "renew it there" in found["certificate pinned"].fix


def test_a_standing_exception_is_listed_beside_its_peer_and_a_forged_one_is_not(data: Path):
    run("add", "sbc")
    signer = Signer.from_seed("test/2026", bytes(32))
    (data / "log" / "log.vkey").write_text(signer.verifier.vkey() + "\n")
    now = datetime.now(UTC)
    one = ClearException("ab" * 16, "sbc", "127.0.0.0/8", "lo", now + timedelta(days=3))
    for by, expected in ((signer, True), (Signer.from_seed("test/2026", b"x" * 32), False)):
        text = encode_exceptions(ExceptionNote(1, now + timedelta(days=1), (one,)), lambda plain, by=by: sign_note(plain, by).decode())
        (data / "cards" / "exceptions.note").write_text(text)
        listed = {row["name"]: row["clear"] for row in json.loads(run("list", "--json"))}
        assert listed["sbc"].startswith("clear, by exception until ") is expected and listed["phone"] == ""
