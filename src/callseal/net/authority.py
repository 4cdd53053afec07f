"""The local certificate authority: made once, it issues the recorder's server certificate and its peers' client certificates.

RFC 5280, EC P-256 with SHA-256. Files in `tls/`: `ca.pem` and `ca.key`, `server.pem` and `server.key`, `NAME.pem` and `NAME.key`.
Invariants: nothing that exists is overwritten, a key's file is 0600 from its first byte, a certificate's serial is random.
"""

import ipaddress
import os
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from callseal.config.folders import file_mode
from callseal.errors import ConfigError

AUTHORITY_DAYS = 3650
CERTIFICATE_DAYS = 397
BACKDATED = timedelta(minutes=5)
TEST_PHONE = "phone"
OWN_NAMES = ("ca", "server")
WARNED_DAYS = 30

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


def ensure_authority(tls: Path, peers: Path, *, server_name: str, now: datetime) -> None:
    """Make what is missing of: authority, server certificate, the test phone's certificate, and its entry among the peers.

    Raises ConfigError where files are there that cannot be read, OSError where they cannot be written.
    """
    if not (tls / "ca.pem").exists():
        _make_authority(tls, now)
    if not (tls / "server.pem").exists():
        issue_server(tls, server_name, now)
    if not (tls / f"{TEST_PHONE}.pem").exists():
        issue_client(tls, TEST_PHONE, now)
    entry = peers / f"{TEST_PHONE}.toml"
    if not entry.exists():
        text = f'certificate_sha256 = "{fingerprint_of(tls / f"{TEST_PHONE}.pem")}"\nclass = "default"\nsrtp = "require"\n'
        _write(entry, text.encode())


def issue_server(tls: Path, server_name: str, now: datetime) -> None:
    """Issue the recorder's own certificate, for its name, localhost and the loopback addresses."""
    names: list[x509.GeneralName] = [_general_name(server_name)]
    names += [name for name in map(_general_name, ("localhost", "127.0.0.1", "::1")) if name not in names]
    _issue(tls, "server", server_name, names, ExtendedKeyUsageOID.SERVER_AUTH, now)


def issue_client(tls: Path, name: str, now: datetime) -> str:
    """Issue a peer's certificate as `NAME.pem` and `NAME.key`; returns its fingerprint (hex SHA-256 of the DER)."""
    _issue(tls, name, name, [x509.DNSName(name)], ExtendedKeyUsageOID.CLIENT_AUTH, now)
    return fingerprint_of(tls / f"{name}.pem")


def sign_request(tls: Path, name: str, request: bytes, now: datetime) -> str:
    """Issue a peer's certificate as `NAME.pem` for the key in its own PKCS #10 request (RFC 2986); returns its fingerprint.

    Of the request only the key is taken: the name is ours to give. Raises ConfigError where it is none, or signs for another key.
    """
    try:
        asked = x509.load_pem_x509_csr(request)
        is_own = asked.is_signature_valid
    except ValueError as error:
        raise ConfigError("csr: expected a certificate signing request in PEM") from error
    key = asked.public_key()
    if not is_own or not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey) or key.key_size < _least_bits(key):
        raise ConfigError("csr: expected one signed by its own key, RSA of at least 2048 bits or an elliptic curve of 256")
    certificate = _sign(tls, key, name, [x509.DNSName(name)], ExtendedKeyUsageOID.CLIENT_AUTH, now)
    _write(tls / f"{name}.pem", certificate.public_bytes(serialization.Encoding.PEM))
    return fingerprint_of(tls / f"{name}.pem")


def is_own(tls: Path, name: str) -> bool:
    """Whether our authority issued `NAME.pem`. Raises ConfigError."""
    try:
        _load_certificate(tls / f"{name}.pem").verify_directly_issued_by(_load_certificate(tls / "ca.pem"))
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def expires_at(path: Path) -> datetime:
    """When a PEM certificate ends. Raises ConfigError."""
    return _load_certificate(path).not_valid_after_utc


def days_left(tls: Path, peers: Path, now: datetime, within: int = WARNED_DAYS) -> dict[str, int]:
    """Of each certificate that ends within so many days, the days, by the name of whose it is (`server`, `ca`, or a peer's).

    Looks at ours, at those we issued to peers that are known, and at those that lie beside the peers' files.
    """
    known = {path.stem for path in peers.glob("*.toml")}
    files = [(path.stem, path) for path in tls.glob("*.pem") if path.stem in known | set(OWN_NAMES)]
    files += [(path.name.removesuffix(".pem").removesuffix(".ca"), path) for path in peers.glob("*.pem")]
    found: dict[str, int] = {}
    for name, path in files:
        days = (expires_at(path) - now).days
        if days < within:
            found[name] = min(days, found.get(name, days))
    return found


def fingerprint_of(path: Path) -> str:
    """Hex SHA-256 of a PEM certificate's DER. Raises ConfigError."""
    return _load_certificate(path).fingerprint(hashes.SHA256()).hex()


def _make_authority(tls: Path, now: datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Callseal local authority")])
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    certificate = (
        _begin(name, name, key.public_key(), now, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    _save(tls, "ca", key, certificate)


def _issue(
    tls: Path, name: str, common_name: str, names: list[x509.GeneralName], purpose: x509.ObjectIdentifier, now: datetime
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    _save(tls, name, key, _sign(tls, key.public_key(), common_name, names, purpose, now))


def _sign(
    tls: Path, key: PublicKey, common_name: str, names: list[x509.GeneralName], purpose: x509.ObjectIdentifier, now: datetime
) -> x509.Certificate:
    authority, authority_key = _load_certificate(tls / "ca.pem"), _load_key(tls / "ca.key")
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])
    usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
    issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    return (
        _begin(subject, authority.subject, key, now, CERTIFICATE_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(issuer_key, critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def _least_bits(key: PublicKey) -> int:
    return 2048 if isinstance(key, rsa.RSAPublicKey) else 256


def _begin(subject: x509.Name, issuer: x509.Name, key: PublicKey, now: datetime, days: int) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _general_name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _save(tls: Path, name: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
    """The key first: a certificate that stands has its key beside it."""
    text = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    key_path = tls / f"{name}.key"
    key_path.unlink(missing_ok=True)  # left by a start that ended between key and certificate
    _write(key_path, text)
    _write(tls / f"{name}.pem", certificate.public_bytes(serialization.Encoding.PEM))


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    is_secret = path.suffix == ".key" and path.name != "server.key"  # that one the recorder reads, the others nobody here
    mode = 0o600 if is_secret else file_mode(path.parent)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _load_certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"tls/{path.name}: expected a PEM certificate") from error


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"tls/{path.name}: expected a PEM key") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError(f"tls/{path.name}: expected an EC key")
    return key
