"""Keys' work on rows of packets: check tags, decrypt. AES-CM with HMAC-SHA1, AES-GCM, and none where an exception says so.

RFC 3711 sections 4.1.1 and 4.2; RFC 7714 section 8. Rows are packets in one uint8 array. An `Engine` does it: OpenSSL, which
is everywhere, or `net.multi_buffer`.
Invariants: tags are compared without a branch on their content; what did not verify is not marked, and the caller blanks it.
"""

from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final, Protocol

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from callseal.rtp.header import Bytes, Ints, Mask, at_any_byte, read_spans
from callseal.rtp.srtp_kdf import SessionKeys

BLOCK: Final = 16
CM_TAG_BYTES: Final = 10
GCM_TAG_BYTES: Final = 16
_ROC_BYTES: Final = 4
_SHA1_BYTES: Final = 20
_BLOCK_ROOM: Final = 1024
_LINE: Final = 64


class KeyBlock:
    """Room for what an engine makes of a key, at an address that stays; overwritten when the key goes."""

    def __init__(self) -> None:
        self._room = np.zeros(_BLOCK_ROOM + _LINE, np.uint8)
        begin = address_of(self._room)
        self.address = begin + -begin % _LINE

    def __del__(self) -> None:
        self._room[:] = 0


class CmKey:
    """AES_CM_128_HMAC_SHA1_80 with the keyed objects made once; where an engine has its own `block`, that decrypts."""

    def __init__(self, keys: SessionKeys, block: KeyBlock | None = None) -> None:
        self.salt, self.block, self.key_bytes = pad_salt(keys.salt), block, len(keys.cipher)
        self.hmac = hmac.HMAC(keys.auth, hashes.SHA1())  # noqa: S303  the suite names it; HMAC does not need collision resistance
        self.ecb = None
        if block is None:
            self.ecb = Cipher(AES(keys.cipher), ECB()).encryptor()  # noqa: S305  over counter blocks: that is counter mode

    def check(self, packet: bytes, end: int, roc: int, tag: bytes) -> bool:
        """Whether one packet's tag is right for this ROC."""
        copy = self.hmac.copy()
        copy.update(packet[:end] + roc.to_bytes(4, "big"))
        computed = np.frombuffer(copy.finalize()[: len(tag)], np.uint8)
        return not np.bitwise_or.reduce(computed ^ np.frombuffer(tag, np.uint8))


class GcmKey:
    """AEAD_AES_128_GCM and AEAD_AES_256_GCM."""

    def __init__(self, keys: SessionKeys, block: KeyBlock | None = None) -> None:
        self.salt, self.block, self.key_bytes = pad_salt(keys.salt), block, len(keys.cipher)
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
        self.salt, self.block, self.key_bytes = pad_salt(b""), None, 0


Work = CmKey | GcmKey | ClearKey
_KINDS: Final = (CmKey, GcmKey, ClearKey)
CM, GCM, CLEAR = range(3)


class Keys:
    """What opens the packets of each source, as columns by slot."""

    def __init__(self, slots: int) -> None:
        self.work: dict[int, Work] = {}
        self.kind = np.zeros(slots, np.uint8)
        """`CM`, `GCM` or `CLEAR`."""
        self.salt = np.zeros((slots, BLOCK), np.uint8)
        self.address = np.zeros(slots, np.int64)
        """Of its `KeyBlock`, where it has one."""
        self.key_bytes = np.zeros(slots, np.uint8)

    def enter(self, slot: int, work: Work) -> None:
        """A slot has a source."""
        self.work[slot], self.kind[slot], self.salt[slot] = work, _KINDS.index(type(work)), work.salt
        self.address[slot] = 0 if work.block is None else work.block.address
        self.key_bytes[slot] = work.key_bytes

    def forget(self, slot: int) -> None:
        """And has none any more."""
        del self.work[slot]
        self.salt[slot] = self.address[slot] = 0


@dataclass(frozen=True)
class Rows:
    """Packets of a batch that are to be opened: which rows, where each payload begins, how long it is, whose it is."""

    packets: Bytes
    rows: Ints
    start: Ints
    length: Ints
    ssrc: Ints
    index: Ints
    slots: Ints
    keys: Keys

    def take(self, mine: Ints) -> "Rows":
        """Some of these rows, of the same packets."""
        return replace(
            self, rows=self.rows[mine], start=self.start[mine], length=self.length[mine], ssrc=self.ssrc[mine],
            index=self.index[mine], slots=self.slots[mine],
        )  # fmt: skip

    @property
    def begins(self) -> Ints:
        """Where each row's packet begins among the bytes of `packets`."""
        begins: Ints = self.rows * self.packets.shape[1]
        return begins

    @property
    def groups(self) -> list[tuple[int, int, Any]]:
        """Rows from the first to before the second, and what opens them: rows of a slot that stand together cost least."""
        begins = np.flatnonzero(np.diff(self.slots, prepend=-1))
        works = [self.keys.work[slot] for slot in self.slots[begins].tolist()]
        return list(zip(begins.tolist(), [*begins[1:].tolist(), len(self.rows)], works, strict=True))


class Engine(Protocol):
    """What opens packets: says which rows verified, and gives their payloads. What did not, or lies beyond a length, is noise."""

    name: str

    def make_key(self, keys: SessionKeys) -> CmKey | GcmKey:
        """What it wants of a stream's session keys."""

    def open_cm(self, batch: Rows, tags: Bytes) -> tuple[Mask, Bytes]:
        """AES_CM_128_HMAC_SHA1_80; `tags` 10 bytes a row. What is authenticated of a packet is itself and the ROC after it
        (RFC 3711 section 4.2)."""

    def open_gcm(self, batch: Rows) -> tuple[Mask, Bytes]:
        """AEAD_AES_128_GCM and AEAD_AES_256_GCM, whose tags follow the payloads."""


class OpenSsl:
    """The engine that every installation has."""

    name = "OpenSSL"

    def make_key(self, keys: SessionKeys) -> CmKey | GcmKey:
        """See `Engine`."""
        return GcmKey(keys) if keys.suite.aead else CmKey(keys)

    def open_cm(self, batch: Rows, tags: Bytes) -> tuple[Mask, Bytes]:
        """See `Engine`."""
        ends = batch.start + batch.length
        whole = read_spans(batch.packets, batch.begins, int(ends.max()) + _ROC_BYTES)
        roc = (batch.index >> 16).astype(">u4").view(np.uint32)
        at_any_byte(whole, np.uint32)[np.arange(len(whole)) * whole.shape[1] + ends] = roc
        packets = _as_bytes(whole, ends + _ROC_BYTES)
        macs: list[bytes] = []
        for first, end, key in batch.groups:
            copy_keyed = key.hmac.copy
            for packet in packets[first:end]:
                copy = copy_keyed()
                copy.update(packet)
                macs.append(copy.finalize())
        computed = np.frombuffer(b"".join(macs), np.uint8).reshape(-1, _SHA1_BYTES)[:, : tags.shape[1]]
        ok = np.bitwise_or.reduce(computed ^ tags, axis=1) == 0
        payload = _copy_payloads(batch)
        payload ^= _make_keystream(batch, payload.shape[1])
        return ok, payload

    def open_gcm(self, batch: Rows) -> tuple[Mask, Bytes]:
        """See `Engine`."""
        width = max(1, int(batch.length.max(initial=1)))
        nonces = _as_bytes(make_nonces(batch.keys.salt[batch.slots], batch.ssrc, batch.index))
        heads = _as_bytes(read_spans(batch.packets, batch.begins, int(batch.start.max())), batch.start)
        sealed = read_spans(batch.packets, batch.begins + batch.start, width + GCM_TAG_BYTES)
        out = np.zeros((len(batch.rows), width), np.uint8)
        rows = zip(nonces, _as_bytes(sealed, batch.length + GCM_TAG_BYTES), heads, _views(out, batch.length), strict=True)
        ok = np.ones(len(out), np.bool_)
        for first, end, key in batch.groups:
            decrypt_into = key.gcm.decrypt_into
            for at, (nonce, packet, head, into) in enumerate(islice(rows, end - first), first):
                try:
                    decrypt_into(nonce, packet, head, into)
                except InvalidTag:
                    ok[at] = False
                    out[at] = 0
        return ok, out


def open_rows(engine: Engine, batch: Rows, tags: Bytes) -> tuple[Mask, Bytes]:
    """Open rows of any kinds; those of several are opened apart and put back in their places. `tags` as `Engine.open_cm`."""
    kind = batch.keys.kind[batch.slots]
    if (kind == kind[0]).all():
        return _open_alike(engine, int(kind[0]), batch, tags)
    ok = np.zeros(len(batch.rows), np.bool_)
    payload = np.zeros((len(batch.rows), max(1, int(batch.length.max(initial=1)))), np.uint8)
    for one in np.unique(kind).tolist():
        mine = np.flatnonzero(kind == one)
        ok[mine], found = _open_alike(engine, one, batch.take(mine), tags[mine])
        payload[mine, : found.shape[1]] = found
    return ok, payload


def _open_alike(engine: Engine, kind: int, batch: Rows, tags: Bytes) -> tuple[Mask, Bytes]:
    if kind == CLEAR:
        return np.ones(len(batch.rows), np.bool_), _copy_payloads(batch)
    return engine.open_cm(batch, tags) if kind == CM else engine.open_gcm(batch)


def pad_salt(salt: bytes) -> Bytes:
    """A session salt as 16 bytes, zeros on the right."""
    return np.frombuffer(salt.ljust(BLOCK, b"\0"), np.uint8).copy()


def make_nonces(salts: Bytes, ssrc: Ints, index: Ints) -> Bytes:
    """The AES-GCM nonces of n packets, 12 bytes each: salt ⊕ (0x0000 ‖ SSRC ‖ ROC ‖ SEQ), RFC 7714 section 8.1."""
    wide = _xor_salts(salts, ssrc << 16 | index >> 32, (index & 0xFFFFFFFF) << 32)
    return np.ascontiguousarray(wide[:, :12])


def make_counters(batch: Rows) -> Bytes:
    """The AES-CM counter block 0 of each packet: (salt · 2^16) ⊕ (SSRC · 2^64) ⊕ (index · 2^16), RFC 3711 section 4.1.1."""
    return _xor_salts(batch.keys.salt[batch.slots], batch.ssrc, batch.index << 16)


def _make_keystream(batch: Rows, width: int) -> Bytes:
    """`width` bytes of AES-CM keystream for each row: its counter blocks, encrypted where they stand."""
    count = -(-width // BLOCK)
    row_bytes = count * BLOCK
    room = np.empty(len(batch.rows) * row_bytes + BLOCK, np.uint8)
    blocks = room[:-BLOCK].view(np.uint64).reshape(-1, count, 2)
    counters = make_counters(batch).view(np.uint64)
    numbers = np.arange(count, dtype=">u8").view(np.uint64)
    blocks[:, :, 0] = counters[:, :1]
    np.bitwise_or(counters[:, 1:], numbers, out=blocks[:, :, 1])
    view = room.data
    for first, end, key in batch.groups:
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


def address_of(array: np.ndarray[Any, Any]) -> int:
    """Where its first byte lies."""
    return int(array.__array_interface__["data"][0])
