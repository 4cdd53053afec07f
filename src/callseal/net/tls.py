"""TLS for signalling: both ends prove who they are.

RFC 8446 and RFC 5246 (1.2 at least, 1.3 preferred), RFC 3261 section 26.3. A client's certificate must be issued by the local
authority, lie in `peers/NAME.pem`, or be issued by `peers/NAME.ca.pem`; then its SHA-256 fingerprint, or a name in it that this
very authority vouched for, names the peer. Only the allowed addresses of a cloud sender may come without one (`net.admission`).
Invariant: no certificate, an unknown, a foreign or an expired one never becomes a connection from any other address.
"""

import hashlib
import hmac
import ipaddress
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from callseal.config.peers import ClearRtp, Peer, load_peers
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
    """The peers and the TLS contexts that admit them, read again when their files change. Calls that are up go on."""

    def __init__(self, tls: Path, peers: Path, exceptions: "Exceptions | None" = None) -> None:
        """Raises ConfigError where a certificate, key or peer cannot be read."""
        self._tls = tls
        self._folder = peers
        self._exceptions = exceptions
        self._stamp = self._read_stamp()
        self._load()

    @property
    def context(self) -> ssl.SSLContext:
        """The server's context for everybody who must show a certificate."""
        return self._context

    @property
    def peers(self) -> Mapping[str, Peer]:
        """Every peer by name."""
        return self._peers

    def refresh(self) -> bool:
        """Read the files again where they have changed; returns whether they did. Raises ConfigError, and keeps the old ones."""
        stamp = self._read_stamp()
        if stamp == self._stamp:
            return self._except()
        self._stamp = stamp
        self._load()
        return True

    def find(self, name: str) -> Peer | None:
        """A peer by name, as its file stands now."""
        return self._peers.get(name)

    def is_allowed(self, peer: Peer, address: str) -> bool:
        """Whether a cloud sender may call from an address."""
        return any(_read_address(address) in network for network in peer.networks)

    def context_for(self, address: str) -> ssl.SSLContext:
        """The context for a caller: only an allowed address of a cloud sender may come without a certificate."""
        may = [self.is_allowed(peer, address) for peer in self._peers.values() if peer.is_cloud]
        return self._open_context if any(may) else self._context

    def identify(self, connection: ssl.SSLObject, address: str) -> Peer | None:
        """Whose connection it is, by its certificate; None where a cloud sender's secret is yet to come, whatever else it shows.

        Raises Unauthenticated. Every peer is compared, whichever fits.
        """
        certificate = connection.getpeercert(binary_form=True)
        found = (self._by_fingerprint(certificate) or self._by_name(certificate)) if certificate else None
        if found is None and self.context_for(address) is not self._open_context:
            raise Unauthenticated("unknown certificate" if certificate else "no certificate")
        return found

    def prove(self, address: str, words: Iterable[str], now: datetime) -> tuple[Peer | None, str]:
        """The cloud sender that may call from here and whose live secret is among these words, with the word; else (None, "")."""
        digests = {word: hashlib.sha256(unquote(word).lower().encode()).hexdigest() for word in words}
        found: tuple[Peer | None, str] = (None, "")
        for peer in self._peers.values():
            allowed = peer.is_cloud and self.is_allowed(peer, address)
            for secret in peer.secrets:
                for word, digest in digests.items():
                    if hmac.compare_digest(secret.sha256, digest) & allowed & secret.is_live(now):
                        found = (peer, word)
        return found

    def _by_fingerprint(self, certificate: bytes) -> Peer | None:
        fingerprint = hashlib.sha256(certificate).hexdigest()
        found = None
        for peer in self._peers.values():
            for known in peer.fingerprints:
                if hmac.compare_digest(known, fingerprint):
                    found = peer
        return found

    def _by_name(self, certificate: bytes) -> Peer | None:
        """By a name in it, where the authority of that very peer issued it: another peer's authority vouches for nobody else."""
        leaf = x509.load_der_x509_certificate(certificate)
        names = read_names(leaf)
        found = None
        for peer in self._peers.values():
            if peer.certificate_names & names and any(_is_issued_by(leaf, issuer) for issuer in self._authorities[peer.name]):
                found = peer
        return found

    def _load(self) -> None:
        peers = load_peers(self._folder)
        files = sorted(self._folder.glob("*.pem"))
        pinned = [path for path in files if path.name.removesuffix(".pem").removesuffix(".ca") in peers]
        context = make_server_context(self._tls, pinned)
        opened = make_server_context(self._tls, pinned)
        opened.verify_mode = ssl.CERT_OPTIONAL
        opened.load_default_certs(ssl.Purpose.CLIENT_AUTH)  # a cloud may show one of a public authority: it names nobody here
        authorities = {name: self._read_authorities(name) for name, peer in peers.items() if peer.certificate_names}
        self._peers, self._context, self._open_context, self._authorities = peers, context, opened, authorities
        self._except()

    def _except(self) -> bool:
        """Ask again which exceptions hold: time, routes and the note change by themselves. Returns whether any did."""
        live = self._exceptions.read() if self._exceptions is not None else {}
        excepted = {name: replace(peer, clear_rtp=live.get(name)) for name, peer in self._peers.items()}
        changed, self._peers = excepted != self._peers, excepted
        return changed

    def _read_authorities(self, name: str) -> list[x509.Certificate]:
        own = self._folder / f"{name}.ca.pem"
        try:
            return x509.load_pem_x509_certificates((own if own.exists() else self._tls / "ca.pem").read_bytes())
        except (OSError, ValueError) as error:
            raise ConfigError(f"peers/{name}: expected a readable certificate authority") from error

    def _read_stamp(self) -> tuple[tuple[str, int, int], ...]:
        files = [self._tls / "server.pem", self._tls / "ca.pem", *self._folder.glob("*.toml"), *self._folder.glob("*.pem")]
        files += [self._exceptions.path] if self._exceptions is not None else []
        found = ((path, path.stat()) for path in sorted(files) if path.exists())
        return tuple((path.name, stat.st_mtime_ns, stat.st_ino) for path, stat in found)


class Exceptions(Protocol):
    """Where live exceptions are read: what the custodian's log vouches for."""

    path: Path

    def read(self) -> Mapping[str, ClearRtp]:
        """Live exceptions by peer; none where nothing can be believed."""
        ...


def read_names(certificate: x509.Certificate) -> frozenset[str]:
    """The DNS names that a certificate is for, in lower case; nothing else in it names anybody."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return frozenset()
    return frozenset(name.lower() for name in names.get_values_for_type(x509.DNSName))


def _is_issued_by(leaf: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _read_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """A caller's address; one that is IPv4 within IPv6 is IPv4."""
    address = ipaddress.ip_address(text.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


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
