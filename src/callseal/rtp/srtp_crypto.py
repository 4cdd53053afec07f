"""One key's work on rows of packets: check tags, decrypt. AES-CM with HMAC-SHA1, AES-GCM, and none where an exception says so.

RFC 3711 sections 4.1.1 and 4.2; RFC 7714 section 8. Rows are packets in one uint8 array.
Invariants: tags are compared without a branch on their content; what did not verify is not marked, and the caller blanks it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from callseal.rtp.header import Bytes, Ints, Mask, at_any_byte, read_spans
from callseal.rtp.srtp_kdf import SessionKeys

BLOCK = 16
_ROC_BYTES = 4
_SHA1_BYTES = 20


class CmKey:
    """AES_CM_128_HMAC_SHA1_80 with the keyed objects made once."""

    def __init__(self, keys: SessionKeys) -> None:
        self.salt = pad_salt(keys.salt)
        self.hmac = hmac.HMAC(keys.auth, hashes.SHA1())  # noqa: S303  the suite names it; HMAC does not need collision resistance
        self.ecb = Cipher(AES(keys.cipher), ECB()).encryptor()  # noqa: S305  over counter blocks: that is counter mode

    def check(self, packet: bytes, end: int, roc: int, tag: bytes) -> bool:
        """Whether one packet's tag is right for this ROC."""
        copy = self.hmac.copy()
        copy.update(packet[:end] + roc.to_bytes(4, "big"))
        computed = np.frombuffer(copy.finalize()[: len(tag)], np.uint8)
        return not np.bitwise_or.reduce(computed ^ np.frombuffer(tag, np.uint8))


class GcmKey:
    """AEAD_AES_128_GCM and AEAD_AES_256_GCM."""

    def __init__(self, keys: SessionKeys) -> None:
        self.salt = pad_salt(keys.salt)
        self.gcm = AESGCM(keys.cipher)

    def check(self, packet: bytes, start: int, end: int, nonce: bytes) -> bool:
        """Whether one packet's tag is right for this nonce."""
        try:
            self.gcm.decrypt(nonce, packet[start:end], packet[:start])
        except InvalidTag:
            return False
        return True


class ClearKey:
    """No key at all: voice in the clear, by exception. Nothing can be checked here; the socket has latched its source."""

    def __init__(self) -> None:
        self.salt = pad_salt(b"")


@dataclass(frozen=True)
class Rows:
    """The rows of a batch that one kind of key opens: where each payload begins and how long it is."""

    packets: Bytes
    rows: Ints
    start: Ints
    length: Ints
    ssrc: Ints
    index: Ints
    salts: Bytes

    def take(self, mine: Ints) -> "Rows":
        """Some of these rows, of the same packets."""
        return Rows(
            self.packets,
            self.rows[mine],
            self.start[mine],
            self.length[mine],
            self.ssrc[mine],
            self.index[mine],
            self.salts[mine],
        )

    @property
    def begins(self) -> Ints:
        """Where each row's packet begins among the bytes of `packets`."""
        begins: Ints = self.rows * self.packets.shape[1]
        return begins


def open_cm(groups: Iterable[tuple[int, int, CmKey]], batch: Rows, tags: Bytes) -> tuple[Mask, Bytes]:
    """Which rows verified, and their payloads. `groups` are (first, end, key) over the rows; `tags` 10 bytes a row.

    What is authenticated of a packet is itself and the ROC after it (RFC 3711 section 4.2).
    """
    groups, ends = list(groups), batch.start + batch.length
    whole = read_spans(batch.packets, batch.begins, int(ends.max()) + _ROC_BYTES)
    roc = (batch.index >> 16).astype(">u4").view(np.uint32)
    at_any_byte(whole, np.uint32)[np.arange(len(whole)) * whole.shape[1] + ends] = roc
    packets = _as_bytes(whole, ends + _ROC_BYTES)
    macs: list[bytes] = []
    for first, end, key in groups:
        copy_keyed = key.hmac.copy
        for packet in packets[first:end]:
            copy = copy_keyed()
            copy.update(packet)
            macs.append(copy.finalize())
    computed = np.frombuffer(b"".join(macs), np.uint8).reshape(-1, _SHA1_BYTES)[:, : tags.shape[1]]
    ok = np.bitwise_or.reduce(computed ^ tags, axis=1) == 0
    payload = _copy_payloads(batch)
    payload ^= _make_keystream(groups, batch, payload.shape[1])
    return ok, payload


def open_gcm(groups: Iterable[tuple[int, int, GcmKey]], batch: Rows, tag_bytes: int) -> tuple[Mask, Bytes]:
    """Which rows verified, and their payloads, zero where not. `groups` are (first, end, key) over the rows."""
    width = max(1, int(batch.length.max(initial=1)))
    nonces = _as_bytes(make_nonces(batch.salts, batch.ssrc, batch.index))
    heads = _as_bytes(read_spans(batch.packets, batch.begins, int(batch.start.max())), batch.start)
    sealed = read_spans(batch.packets, batch.begins + batch.start, width + tag_bytes)
    out = np.zeros((len(batch.rows), width), np.uint8)
    rows = zip(nonces, _as_bytes(sealed, batch.length + tag_bytes), heads, _views(out, batch.length), strict=True)
    ok = np.ones(len(out), np.bool_)
    for first, end, key in groups:
        decrypt_into = key.gcm.decrypt_into
        for at, (nonce, packet, head, into) in enumerate(islice(rows, end - first), first):
            try:
                decrypt_into(nonce, packet, head, into)
            except InvalidTag:
                ok[at] = False
                out[at] = 0
    return ok, out


def open_clear(batch: Rows) -> tuple[Mask, Bytes]:
    """Every row as it came."""
    return np.ones(len(batch.rows), np.bool_), _copy_payloads(batch)


def pad_salt(salt: bytes) -> Bytes:
    """A session salt as 16 bytes, zeros on the right."""
    return np.frombuffer(salt.ljust(BLOCK, b"\0"), np.uint8).copy()


def make_nonces(salts: Bytes, ssrc: Ints, index: Ints) -> Bytes:
    """The AES-GCM nonces of n packets, 12 bytes each: salt ⊕ (0x0000 ‖ SSRC ‖ ROC ‖ SEQ), RFC 7714 section 8.1."""
    wide = _xor_salts(salts, ssrc << 16 | index >> 32, (index & 0xFFFFFFFF) << 32)
    return np.ascontiguousarray(wide[:, :12])


def _make_counters(batch: Rows) -> Bytes:
    """The AES-CM counter block 0 of each packet: (salt · 2^16) ⊕ (SSRC · 2^64) ⊕ (index · 2^16), RFC 3711 section 4.1.1."""
    return _xor_salts(batch.salts, batch.ssrc, batch.index << 16)


def _make_keystream(groups: Iterable[tuple[int, int, CmKey]], batch: Rows, width: int) -> Bytes:
    """`width` bytes of AES-CM keystream for each row: its counter blocks, encrypted where they stand."""
    count = -(-width // BLOCK)
    row_bytes = count * BLOCK
    room = np.empty(len(batch.rows) * row_bytes + BLOCK, np.uint8)
    blocks = room[:-BLOCK].view(np.uint64).reshape(-1, count, 2)
    counters = _make_counters(batch).view(np.uint64)
    numbers = np.arange(count, dtype=">u8").view(np.uint64)
    blocks[:, :, 0] = counters[:, :1]
    np.bitwise_or(counters[:, 1:], numbers, out=blocks[:, :, 1])
    view = room.data
    for first, end, key in groups:
        begin, until = first * row_bytes, end * row_bytes
        key.ecb.update_into(view[begin:until], view[begin : until + BLOCK - 1])
    return room[:-BLOCK].reshape(-1, row_bytes)[:, :width]


def _xor_salts(salts: Bytes, high: Ints, low: Ints) -> Bytes:
    wide = np.empty((len(salts), 2), ">u8")
    wide[:, 0], wide[:, 1] = high, low
    return wide.view(np.uint8) ^ salts


def _copy_payloads(batch: Rows) -> Bytes:
    """Each row from its `start` on, as wide as the longest; what follows a shorter payload is blanked by the caller."""
    return read_spans(batch.packets, batch.begins + batch.start, max(1, int(batch.length.max(initial=1))))


def _views(rows: Bytes, lengths: Ints) -> list[memoryview]:
    """Each row's first `lengths` bytes, to be written."""
    view, width = rows.data.cast("B"), rows.shape[1]
    return [view[at : at + length] for at, length in zip(range(0, rows.size, width), lengths.tolist(), strict=True)]


def _as_bytes(rows: Bytes, lengths: Ints | None = None) -> list[bytes]:
    """Each row as bytes, or only the first `lengths` of it."""
    whole: list[bytes] = rows.view(f"V{rows.shape[1]}")[:, 0].tolist()
    if lengths is None or (lengths == rows.shape[1]).all():
        return whole
    return [row[:length] for row, length in zip(whole, lengths.tolist(), strict=True)]
