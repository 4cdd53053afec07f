"""One key's work on rows of packets: check tags, decrypt. AES-CM with HMAC-SHA1, AES-GCM, and none where an exception says so.

RFC 3711 sections 4.1.1 and 4.2; RFC 7714 section 8. Rows are packets in one uint8 array.
Invariants: tags are compared without a branch on their content; what did not verify is not marked, and the caller blanks it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from callseal.rtp.header import Bytes, Ints, Mask
from callseal.rtp.srtp_kdf import SessionKeys

BLOCK = 16
_ROC_BYTES = np.arange(4)
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
    """The rows of a batch that one kind of key opens, sorted by slot: where each payload begins and how long it is."""

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


def open_cm(groups: Iterable[tuple[int, int, CmKey]], batch: Rows, tags: Bytes) -> tuple[Mask, Bytes]:
    """Which rows verified, and their payloads. `groups` are (first, end, key) over the rows; `tags` 10 bytes a row.

    While it runs, the ROC stands after each authenticated part, as RFC 3711 section 4.2 authenticates it.
    """
    groups = list(groups)
    packets, ends = batch.packets, batch.start + batch.length
    roc = (batch.index >> 16).astype(">u4").view(np.uint8).reshape(-1, 4)
    after = batch.rows[:, None], ends[:, None] + _ROC_BYTES
    stood = packets[after]
    packets[after] = roc
    view = packets.data.cast("B")
    begins = batch.rows * packets.shape[1]
    spans = list(zip(begins.tolist(), (begins + ends + 4).tolist(), strict=True))
    macs = []
    for first, end, key in groups:
        copy_keyed = key.hmac.copy
        for begin, until in spans[first:end]:
            copy = copy_keyed()
            copy.update(view[begin:until])
            macs.append(copy.finalize())
    packets[after] = stood
    computed = np.frombuffer(b"".join(macs), np.uint8).reshape(-1, _SHA1_BYTES)[:, : tags.shape[1]]
    ok = np.bitwise_or.reduce(computed ^ tags, axis=1) == 0
    payload = _copy_payloads(batch)
    count = -(-payload.shape[1] // BLOCK)
    blocks = np.repeat(_make_counters(batch)[:, None, :], count, axis=1)
    blocks[:, :, 14:] = np.arange(count, dtype=">u2").view(np.uint8).reshape(-1, 2)
    counters, row_bytes = blocks.data.cast("B"), count * BLOCK
    stream = b"".join([key.ecb.update(counters[first * row_bytes : end * row_bytes]) for first, end, key in groups])
    payload ^= np.frombuffer(stream, np.uint8).reshape(len(payload), -1)[:, : payload.shape[1]]
    return ok, payload


def open_gcm(groups: Iterable[tuple[int, int, GcmKey]], batch: Rows, tag_bytes: int) -> tuple[Mask, Bytes]:
    """Which rows verified, and their payloads, zero where not. `groups` are (first, end, key) over the rows."""
    out = np.zeros((len(batch.rows), max(1, int(batch.length.max(initial=1)))), np.uint8)
    width, nonces = out.shape[1], make_nonces(batch.salts, batch.ssrc, batch.index).tobytes()
    view, into = batch.packets.data.cast("B"), out.data.cast("B")
    begins = batch.rows * batch.packets.shape[1]
    middles = begins + batch.start
    ends = middles + batch.length + tag_bytes
    spans = list(zip(begins.tolist(), middles.tolist(), ends.tolist(), batch.length.tolist(), strict=True))
    ok = np.ones(len(spans), np.bool_)
    for first, last, key in groups:
        decrypt_into = key.gcm.decrypt_into
        for at in range(first, last):
            begin, middle, end, length = spans[at]
            try:
                decrypt_into(
                    nonces[12 * at : 12 * at + 12], view[middle:end], view[begin:middle], into[at * width : at * width + length]
                )
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


def _xor_salts(salts: Bytes, high: Ints, low: Ints) -> Bytes:
    wide = np.stack((high, low), axis=1).astype(">u8").view(np.uint8)
    return wide ^ salts


def _copy_payloads(batch: Rows) -> Bytes:
    """Each row from its `start` on, as wide as the longest; what follows a shorter payload is blanked by the caller."""
    width = int(batch.length.max(initial=1))
    first = int(batch.start[0]) if len(batch.start) else 0
    if (batch.start == first).all():
        return batch.packets[batch.rows, first : first + width]
    payload = np.zeros((len(batch.rows), width), np.uint8)
    for begin in np.unique(batch.start).tolist():
        mine = np.flatnonzero(batch.start == begin)
        taken = batch.packets[batch.rows[mine], begin : begin + width]
        payload[mine, : taken.shape[1]] = taken
    return payload
