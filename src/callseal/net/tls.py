"""TLS for signalling: both ends prove who they are.

RFC 8446 and RFC 5246 (1.2 at least, 1.3 preferred), RFC 3261 section 26.3. A client's certificate must be issued by the local
authority, or lie in `peers/NAME.pem`; then its SHA-256 fingerprint names the peer, and one that no peer has is refused.
Invariant: no certificate, an unknown, a foreign or an expired one never becomes a connection.
"""

import hashlib
import hmac
import ssl
from pathlib import Path

from callseal.config.peers import Peer, load_peers
from callseal.errors import ConfigError, Unauthenticated

_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
_WORDS = (
    ("did not return a certificate", "no certificate"),
    ("peer_did_not_return_a_certificate", "no certificate"),
    ("expired", "expired certificate"),
    ("not yet valid", "certificate not yet valid"),
    ("certificate_verify_failed", "unknown certificate"),
    ("unsupported_protocol", "TLS version too old"),
    ("no_shared_cipher", "no cipher in common"),
    ("http_request", "not TLS"),
    ("wrong_version_number", "not TLS"),
    ("alert", "it refused our certificate"),
)


class PeerBook:
    """The peers and the TLS context that admits them, read again when their files change. Calls that are up go on."""

    def __init__(self, tls: Path, peers: Path) -> None:
        """Raises ConfigError where a certificate, key or peer cannot be read."""
        self._tls = tls
        self._folder = peers
        self._stamp = self._read_stamp()
        self._peers, self._context = self._load()

    @property
    def context(self) -> ssl.SSLContext:
        """The server's context."""
        return self._context

    def refresh(self) -> bool:
        """Read the files again where they have changed; returns whether they did. Raises ConfigError, and keeps the old ones."""
        stamp = self._read_stamp()
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        self._peers, self._context = self._load()
        return True

    def identify(self, connection: ssl.SSLObject) -> Peer:
        """Whose connection it is, by its certificate. Raises Unauthenticated."""
        certificate = connection.getpeercert(binary_form=True)
        if not certificate:
            raise Unauthenticated("no certificate")
        fingerprint = hashlib.sha256(certificate).hexdigest()
        for known, peer in self._peers.items():
            if hmac.compare_digest(known, fingerprint):
                return peer
        raise Unauthenticated("unknown certificate")

    def _load(self) -> tuple[dict[str, Peer], ssl.SSLContext]:
        return load_peers(self._folder), make_server_context(self._tls, sorted(self._folder.glob("*.pem")))

    def _read_stamp(self) -> tuple[tuple[str, int, int], ...]:
        files = [self._tls / "server.pem", self._tls / "ca.pem", *self._folder.glob("*.toml"), *self._folder.glob("*.pem")]
        found = ((path, path.stat()) for path in sorted(files) if path.exists())
        return tuple((path.name, stat.st_mtime_ns, stat.st_ino) for path, stat in found)


def make_server_context(tls: Path, pinned: list[Path]) -> ssl.SSLContext:
    """The recorder's context: its certificate, and whose certificates it believes. Raises ConfigError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # a pinned certificate is believed by itself
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_NO_COMPRESSION
    context.num_tickets = 0
    try:
        context.load_cert_chain(tls / "server.pem", tls / "server.key")
        for path in (tls / "ca.pem", *pinned):
            context.load_verify_locations(path)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError("tls: expected server.pem, server.key, ca.pem and readable certificates of peers") from error
    return context


def describe_transport(connection: ssl.SSLObject) -> str:
    """The measured version and cipher suite, such as `TLSv1.3 TLS_AES_256_GCM_SHA384`."""
    cipher = connection.cipher()
    return f"{connection.version()} {cipher[0] if cipher else 'unknown'}"


def explain_refusal(error: BaseException) -> str:
    """Why a handshake ended, in a few fixed words; nothing of what the stranger sent is repeated."""
    if isinstance(error, Unauthenticated):
        return str(error)
    text = f"{getattr(error, 'reason', '') or ''} {error}".lower()
    for sign, words in _WORDS:
        if sign in text:
            return words
    return "too slow" if "longer than" in text or isinstance(error, TimeoutError) else "handshake not finished"
