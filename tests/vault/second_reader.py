"""A second reader of keys and sealed recordings, written from docs/spec/keys.md and docs/spec/sealed-recording.md alone.

It shares no code with the vault: hashlib, hmac, and `cryptography` for AES-GCM, ML-KEM and X25519 only; its
HPKE is RFC 9180 section 5 written out. `Refused` is its one error.
"""

import hashlib
import hmac
import struct
from collections.abc import Iterable, Iterator

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SUITE_ID = b"HPKE" + bytes.fromhex("647a00010002")


class Refused(Exception):
    """What was read is not what the specification allows."""


def demand(holds: bool, what: str) -> None:
    if not holds:
        raise Refused(what)


def hkdf_expand(hash_name: str, key: bytes, info: bytes, length: int) -> bytes:
    out = block = b""
    count = 0
    while len(out) < length:
        count += 1
        block = hmac.digest(key, block + info + bytes([count]), hash_name)
        out += block
    return out[:length]


def ex(key: bytes, label: str, length: int) -> bytes:
    """keys.md section 1."""
    return hkdf_expand("sha512", key, b"callseal/v1/" + label.encode(), length)


def open_c256(key: bytes, context: bytes, sealed: bytes) -> bytes:
    """keys.md section 2."""
    demand(len(key) == 32 and len(sealed) >= 72, "too short")
    info = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\x00" + sealed[:24] + context
    derived = hkdf_expand("sha512", key, info, 76)
    demand(hmac.compare_digest(derived[44:], sealed[24:56]), "commitment")
    chunks = [sealed[at : at + 16400] for at in range(56, len(sealed), 16400)]
    demand(16 <= len(chunks[-1]) < 16400, "last chunk")
    base = int.from_bytes(derived[32:44])
    try:
        opened = [AESGCM(derived[:32]).decrypt((base ^ n).to_bytes(12), chunk, None) for n, chunk in enumerate(chunks)]
    except InvalidTag:
        raise Refused("chunk") from None
    return b"".join(opened)


def leaf_of(nodes: Iterable[tuple[int, int, bytes]], index: int) -> bytes:
    """keys.md section 3."""
    for depth, prefix, key in nodes:
        if index >> (32 - depth) == prefix:
            for bit in range(31 - depth, -1, -1):
                pair = ex(key, "tree", 64)
                key = pair[32:] if index >> bit & 1 else pair[:32]
            return key
    raise Refused("no node gives this leaf")


def read_tree(data: bytes) -> list[tuple[int, int, bytes]]:
    """keys.md section 3, the written form."""
    demand(len(data) >= 4 and len(data) == 4 + 37 * int.from_bytes(data[:4]), "length of tree")
    nodes = list(struct.iter_unpack(">BI32s", data[4:]))
    free = 0
    for depth, prefix, _key in nodes:
        demand(depth <= 32 and prefix >> depth == 0, "node")
        demand(prefix << (32 - depth) >= free, "order of nodes")
        free = (prefix + 1) << (32 - depth)
    return nodes


def shared_secrets(private: bytes, sealed: bytes) -> tuple[bytes, bytes]:
    """keys.md section 4: of ML-KEM-768 and of X25519."""
    lattice, curve = MLKEM768PrivateKey.from_seed_bytes(private[:64]), X25519PrivateKey.from_private_bytes(private[64:])
    return lattice.decapsulate(sealed[:1088]), curve.exchange(X25519PublicKey.from_public_bytes(sealed[1088:1120]))


def combine(private: bytes, sealed: bytes, of_lattice: bytes, of_curve: bytes) -> bytes:
    """keys.md section 4: the combiner of draft-ietf-hpke-pq."""
    own = X25519PrivateKey.from_private_bytes(private[64:]).public_key().public_bytes_raw()
    return hashlib.sha3_256(of_lattice + of_curve + sealed[1088:1120] + own + b"\\.//^\\").digest()


def open_hpke(private: bytes, info: bytes, sealed: bytes) -> bytes:
    """keys.md section 4: RFC 9180 base mode, sequence 0, no AAD."""
    secret, schedule = key_schedule(combine(private, sealed, *shared_secrets(private, sealed)), info)

    def labelled(label: bytes, length: int) -> bytes:
        return hkdf_expand("sha256", secret, struct.pack(">H", length) + b"HPKE-v1" + SUITE_ID + label + schedule, length)

    try:
        return AESGCM(labelled(b"key", 32)).decrypt(labelled(b"base_nonce", 12), sealed[1120:], None)
    except InvalidTag:
        raise Refused("sealed DEK") from None


def key_schedule(shared: bytes, info: bytes) -> tuple[bytes, bytes]:
    """RFC 9180 section 5.1: secret and context."""

    def extract(salt: bytes, label: bytes, ikm: bytes) -> bytes:
        return hmac.digest(salt, b"HPKE-v1" + SUITE_ID + label + ikm, "sha256")

    schedule = b"\x00" + extract(b"", b"psk_id_hash", b"") + extract(b"", b"info_hash", info)
    return extract(shared, b"secret", b""), schedule


def open_header(header: bytes, private: bytes) -> tuple[bytes, bytes]:
    """sealed-recording.md section 2: SHA-256(core) and DEK."""
    demand(len(header) == 1228 and header[:4] == b"CSR1", "header")
    lattice, curve = MLKEM768PrivateKey.from_seed_bytes(private[:64]), X25519PrivateKey.from_private_bytes(private[64:])
    public = lattice.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()
    demand(header[28:60] == hashlib.sha256(public).digest(), "another public key")
    digest = hashlib.sha256(header[:60]).digest()
    dek = open_hpke(private, b"callseal/v1/part" + digest, header[60:])
    demand(len(dek) == 32, "DEK")
    return digest, dek


def open_message(digest: bytes, leaf: bytes, message: bytes) -> bytes:
    """sealed-recording.md section 3."""
    return open_c256(leaf, b"seg" + digest + message[:37], message[37:])


def read_frames(data: bytes) -> Iterator[tuple[bytes, int, int, bytes]]:
    """sealed-recording.md section 4: (recording, part, at_ms, payload) of every frame that checks."""
    at = data.find(b"CSF1")
    while at >= 0:
        length, recording, part, at_ms, checksum = struct.unpack_from(">I16sIII", data.ljust(at + 36, b"\0"), at + 4)
        payload = data[at + 36 : at + 36 + length]
        if length == len(payload) and crc32c(data[at : at + 32] + payload) == checksum:
            yield recording, part, at_ms, payload
            at += 35 + length
        at = data.find(b"CSF1", at + 1)


def crc32c(data: bytes) -> int:
    """RFC 3720 appendix B.4, a bit at a time."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def read_object(data: bytes) -> tuple[bytes, int, list[tuple[int, int, int, bytes]]]:
    """sealed-recording.md section 6: header, state, and (n, kind, at_ms, message) for each, all that needs no key checked."""
    demand(len(data) >= 1228 + 41 and data[-4:] == b"CSX1", "trailer")
    state, count, checksum = struct.unpack(">BI32s", data[-41:-4])
    start = len(data) - 41 - 53 * count
    demand(start >= 1228 and hashlib.sha256(data[:-41]).digest() == checksum, "checksum")
    found, at, previous, following = [], 1228, hashlib.sha256(data[:60]).digest(), 0
    for offset, length, n, kind, at_ms, commitment in struct.iter_unpack(">QIIBI32s", data[start:-41]):
        message = data[at + 4 : at + 4 + length]
        demand(offset == at + 4 and int.from_bytes(data[at:offset]) == length >= 109, "place")
        demand(message[:5] == struct.pack(">IB", n, kind) and 1 <= kind <= 4 and following <= n < 1_000_000, "number or kind")
        demand(n != following or message[5:37] == previous, "predecessor")
        demand(message[61:93] == commitment, "commitment")
        demand(not found or found[-1][1] != 4, "after END")
        found.append((n, kind, at_ms, message))
        at, previous, following = offset + length, commitment, n + 1
    demand(at == start, "index")
    demand(state == (1 if found and found[-1][1] == 4 else 2), "state")
    return data[:1228], state, found
