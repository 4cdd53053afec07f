"""Intel's multi-buffer library (`libipsec-mb1`), where it is installed: tags and keystreams of many packets side by side.

It does what `rtp.srtp_crypto` does with OpenSSL, by the same rules, for packets of many keys in one call: HMAC-SHA1 in sixteen
lanes, AES-CTR, AES-GCM. Source: intel-ipsec-mb.h 1.3. Called through cffi's ABI mode: no compiler.
Invariants: only the version whose structures stand here is used, and only after it agreed with OpenSSL in this process; each
job's addresses are computed from rows that were checked to hold its lengths; a key's block is overwritten when its key goes.
"""

from dataclasses import replace
from typing import Any, Final

import cffi
import numpy as np

from callseal.errors import InternalError, Unavailable
from callseal.net.udp_batch import LONGEST_BYTES, ROW_BYTES
from callseal.rtp.header import Bytes, Ints, Mask, at_any_byte, read_spans
from callseal.rtp.srtp_crypto import (
    CM_TAG_BYTES,
    GCM_TAG_BYTES,
    CmKey,
    Engine,
    GcmKey,
    KeyBlock,
    Keys,
    OpenSsl,
    Rows,
    address_of,
    make_counters,
    make_nonces,
    open_rows,
)
from callseal.rtp.srtp_kdf import SUITES, SessionKeys, derive_session

LIBRARY: Final = "libIPSec_MB.so.1"
NOT_INSTALLED: Final = "libipsec-mb1 is not installed"
VERSIONS: Final = range(0x10300, 0x10400)
"""Those whose structures are laid out as below."""
BURST: Final = 128
LONGEST_PAYLOAD: Final = LONGEST_BYTES - 20 - GCM_TAG_BYTES
"""Of the packets that it is tried with, below the longest header there."""
_RING: Final = 256
"""The library's own jobs, in a ring, for AES-GCM."""
_CNTR, _GCM, _HMAC_SHA1, _GMAC = 2, 5, 1, 9
_ENCRYPT, _DECRYPT = 1, 2
_HASH_CIPHER: Final = 2
_SHA1_BYTES, _ROC_BYTES, _HMAC_BLOCK, _AES_128_BYTES, _IV_BYTES, _NONCE_BYTES = 20, 4, 64, 16, 16, 12
_OPAD_AT, _AES_AT = 32, 64
"""Where what comes of opad, and AES-CM's key schedule, stand in a key's block; ipad is at its beginning."""

_ffi = cffi.FFI()
_ffi.cdef("""
unsigned imb_get_version(void);
const char *imb_get_version_str(void);
typedef struct {
  uint64_t flags, features, reserved[5]; uint32_t used_arch; int imb_errno; void *functions[119]; int earliest_job, next_job;
} IMB_MGR;
IMB_MGR *alloc_mb_mgr(uint64_t flags);
void init_mb_mgr_auto(IMB_MGR *manager, int *arch);
typedef void (*expand_t)(const void *key, void *encrypt, void *decrypt);
typedef void (*one_block_t)(const void *data, void *digest);
typedef void (*gcm_pre_t)(const void *key, void *data);
typedef uint32_t (*get_burst_t)(IMB_MGR *, uint32_t count, void **jobs);
typedef uint32_t (*cipher_burst_t)(IMB_MGR *, void *jobs, uint32_t count, int cipher, int direction, int key_bytes);
typedef uint32_t (*hash_burst_t)(IMB_MGR *, void *jobs, uint32_t count, int hash);
""")
_FUNCTIONS: Final = {
    "keyexp_128": ("expand_t", 6), "sha1_one_block": ("one_block_t", 12), "gcm128_pre": ("gcm_pre_t", 48),
    "gcm256_pre": ("gcm_pre_t", 50), "get_next_burst": ("get_burst_t", 111), "submit_burst": ("get_burst_t", 112),
    "submit_cipher_burst": ("cipher_burst_t", 115), "submit_hash_burst": ("hash_burst_t", 117),
}  # fmt: skip
"""What is called: its type, and where it stands in the manager."""
_JOB: Final = np.dtype([
    ("enc_keys", "u8"), ("dec_keys", "u8"), ("key_bytes", "u8"), ("src", "u8"), ("dst", "u8"), ("cipher_at", "u8"),
    ("cipher_bytes", "u8"), ("hash_at", "u8"), ("hash_bytes", "u8"), ("iv", "u8"), ("iv_bytes", "u8"), ("tag", "u8"),
    ("tag_bytes", "u8"), ("ipad", "u8"), ("opad", "u8"), ("third", "u8"), ("status", "u4"), ("cipher", "u4"), ("direction", "u4"),
    ("hash", "u4"), ("order", "u4"), ("_pad", "u4"), ("_user", "u8", 4), ("_sgl", "u4", 2), ("_cbcs", "u8"),
])  # fmt: skip
"""IMB_JOB; of AES-GCM `ipad` is the address of what is authenticated only, and `opad` its length."""


def find_engine(choice: str = "auto") -> tuple[Engine, str]:
    """What opens SRTP here, by the setting `media.engine`, and why it is not the multi-buffer library where it is not.

    Raises Unavailable where that was asked for and cannot be had.
    """
    if choice == "openssl":
        return OpenSsl(), "media.engine says so"
    try:
        return MultiBuffer(), ""
    except OSError:
        why = NOT_INSTALLED
    except (InternalError, AttributeError, RuntimeError) as error:
        why = str(error)
    if choice == "auto":
        return OpenSsl(), why
    raise Unavailable(f"media.engine: expected {choice}: {why}")


class MultiBuffer:
    """The library as an `Engine`: its manager, and the jobs that are filled in. Not for several threads."""

    def __init__(self) -> None:
        """Raises OSError where it is not installed, InternalError where it is not one that can be used."""
        library: Any = _ffi.dlopen(LIBRARY)
        version = bytes(_ffi.string(library.imb_get_version_str())).decode("ascii", "replace")
        if library.imb_get_version() not in VERSIONS:
            raise InternalError(f"{LIBRARY}: expected version 1.3, got {version}")
        self.name = f"ipsec-mb {version}"
        self._manager = library.alloc_mb_mgr(0)
        if self._manager == _ffi.NULL:
            raise InternalError(f"{LIBRARY}: expected memory for its manager")
        library.init_mb_mgr_auto(self._manager, _ffi.NULL)
        if self._manager.imb_errno:
            raise InternalError(f"{LIBRARY}: expected to begin, got error {self._manager.imb_errno}")
        self._call = {name: _ffi.cast(kind, self._manager.functions[at]) for name, (kind, at) in _FUNCTIONS.items()}
        self._cm = np.zeros(0, _JOB)
        self._wanted = _ffi.new("void *[]", BURST)
        self._ring_at = int(_ffi.cast("uintptr_t", self._manager)) + _ffi.sizeof("IMB_MGR")
        self._ring = np.frombuffer(_ffi.buffer(_pointer(self._ring_at), _RING * _JOB.itemsize), np.uint64).reshape(_RING, -1)
        self._make_room(BURST)
        if not _agrees(self):
            raise InternalError(f"{LIBRARY}: expected the answers that OpenSSL gives")

    def make_key(self, keys: SessionKeys) -> CmKey | GcmKey:
        """See `Engine`."""
        block = KeyBlock()
        if keys.suite.aead:
            pre = self._call["gcm256_pre" if len(keys.cipher) == SUITES["AEAD_AES_256_GCM"].key_bytes else "gcm128_pre"]
            pre(keys.cipher, _pointer(block.address))
            return GcmKey(keys, block)
        for at, pad in ((0, 0x36), (_OPAD_AT, 0x5C)):
            padded = bytes(byte ^ pad for byte in keys.auth.ljust(_HMAC_BLOCK, b"\0"))
            self._call["sha1_one_block"](padded, _pointer(block.address + at))
        unused = KeyBlock()
        self._call["keyexp_128"](keys.cipher, _pointer(block.address + _AES_AT), _pointer(unused.address))
        return CmKey(keys, block)

    def open_cm(self, batch: Rows, tags: Bytes) -> tuple[Mask, Bytes]:
        """See `Engine`. While a packet's tag is made the ROC stands behind it, where its own tag was and will be again."""
        count, ends = len(batch.rows), _ends(batch)
        out = np.empty((count, max(1, int(batch.length.max(initial=1)))), np.uint8)
        self._make_room(count)
        jobs, keys = self._cm[:count], batch.keys.address[batch.slots]
        jobs["src"] = batch.begins + address_of(batch.packets)
        jobs["dst"] = address_of(out) + np.arange(count) * out.shape[1]
        jobs["cipher_at"], jobs["cipher_bytes"] = batch.start, np.maximum(batch.length, 1)
        jobs["hash_bytes"] = ends + _ROC_BYTES
        jobs["ipad"], jobs["opad"], jobs["enc_keys"] = keys, keys + _OPAD_AT, keys + _AES_AT
        self._ivs[:count] = make_counters(batch)
        behind, places = at_any_byte(batch.packets, np.uint32), batch.begins + ends
        kept = behind[places]
        behind[places] = (batch.index >> 16).astype(">u4").view(np.uint32)
        try:
            for first in range(0, count, BURST):
                some, at = min(BURST, count - first), _pointer(address_of(jobs) + first * _JOB.itemsize)
                self._check(self._call["submit_hash_burst"](self._manager, at, some, _HMAC_SHA1), some)
                self._check(self._call["submit_cipher_burst"](self._manager, at, some, _CNTR, _ENCRYPT, _AES_128_BYTES), some)
        finally:
            behind[places] = kept
            self._ivs[:count] = 0
        self._macs[:count, CM_TAG_BYTES:GCM_TAG_BYTES] = 0
        self._macs[:count, :CM_TAG_BYTES] ^= tags
        return self._are_zero(count), out

    def open_gcm(self, batch: Rows) -> tuple[Mask, Bytes]:
        """See `Engine`."""
        count, ends = len(batch.rows), _ends(batch)
        out = np.zeros((count, max(1, int(batch.length.max(initial=1)))), np.uint8)
        self._make_room(count)
        jobs, begins = self._gcm[:count], batch.begins + address_of(batch.packets)
        jobs["src"], jobs["dst"] = begins, address_of(out) + np.arange(count) * out.shape[1]
        jobs["cipher_at"] = jobs["hash_at"] = jobs["opad"] = batch.start
        jobs["cipher_bytes"] = jobs["hash_bytes"] = batch.length
        jobs["ipad"] = begins
        jobs["enc_keys"] = jobs["dec_keys"] = batch.keys.address[batch.slots]
        jobs["key_bytes"] = batch.keys.key_bytes[batch.slots]
        self._ivs[:count, :_NONCE_BYTES] = make_nonces(batch.keys.salt[batch.slots], batch.ssrc, batch.index)
        filled = jobs.view(np.uint64).reshape(count, -1)  # whole words: numpy copies a structure field by field
        try:
            for first in range(0, count, BURST):
                some = min(BURST, count - first)
                at = self._get_ring(some)
                until_end = first + min(some, _RING - at)
                self._ring[at : at + some] = filled[first:until_end]
                self._ring[: first + some - until_end] = filled[until_end : first + some]
                self._check(self._call["submit_burst"](self._manager, some, self._wanted), some)
        finally:
            self._ivs[:count] = 0
        self._macs[:count, :GCM_TAG_BYTES] ^= read_spans(batch.packets, batch.begins + ends, GCM_TAG_BYTES)
        return self._are_zero(count), out

    def _are_zero(self, count: int) -> Mask:
        """Whose tags differ nowhere from those that came, which are laid over them."""
        halves = self._macs.view(np.uint64)
        zero: Mask = (halves[:count, 0] | halves[:count, 1]) == 0
        return zero

    def _get_ring(self, count: int) -> int:
        """Where among the library's own jobs the next ones stand."""
        self._check(self._call["get_next_burst"](self._manager, count, self._wanted), count)
        first = int(_ffi.cast("uintptr_t", self._wanted[0]))
        return int(first - self._ring_at) // _JOB.itemsize

    def _check(self, done: int, wanted: int) -> None:
        if done != wanted:
            raise InternalError(f"{self.name}: expected {wanted} packets done, got {done}, error {self._manager.imb_errno}")

    def _make_room(self, count: int) -> None:
        """Jobs for so many packets, with all that is alike in every one, and room for their tags and IVs."""
        if count <= len(self._cm):
            return
        self._macs, self._ivs = np.zeros((count, 32), np.uint8), np.zeros((count, _IV_BYTES), np.uint8)
        self._cm = np.zeros(count, _JOB)
        self._cm["tag"] = address_of(self._macs) + np.arange(count) * self._macs.shape[1]
        self._cm["iv"] = address_of(self._ivs) + np.arange(count) * self._ivs.shape[1]
        self._gcm = self._cm.copy()
        for jobs, cipher, hashing, direction, iv_bytes, tag_bytes in (
            (self._cm, _CNTR, _HMAC_SHA1, _ENCRYPT, _IV_BYTES, _SHA1_BYTES),
            (self._gcm, _GCM, _GMAC, _DECRYPT, _NONCE_BYTES, GCM_TAG_BYTES),
        ):
            jobs["cipher"], jobs["hash"], jobs["direction"], jobs["order"] = cipher, hashing, direction, _HASH_CIPHER
            jobs["iv_bytes"], jobs["tag_bytes"], jobs["key_bytes"] = iv_bytes, tag_bytes, _AES_128_BYTES


def _ends(batch: Rows) -> Ints:
    """Where each payload ends; nothing goes to the library that does not lie in its row with a tag behind it."""
    ends: Ints = batch.start + batch.length
    if int(batch.start.min()) < 0 or int(batch.length.min()) < 0 or int(ends.max()) + GCM_TAG_BYTES > batch.packets.shape[1]:
        raise InternalError("SRTP: expected payloads that lie in their rows")
    return ends


def _pointer(address: int) -> Any:
    return _ffi.cast("void *", address)


def _agrees(engine: MultiBuffer) -> bool:
    """Whether it opens packets of every suite, of many lengths, sound and damaged, as OpenSSL does."""
    random, openssl, number = np.random.default_rng(0), OpenSsl(), np.arange(3 * BURST + 3)
    count, damaged = len(number), number % 5 == 0
    index, ssrc = random.integers(0, 1 << 40, count), random.integers(0, 1 << 32, count)
    start, length, slots = 12 + 4 * (number % 3), number * 379 % LONGEST_PAYLOAD, number // 40
    inside = ~damaged[:, None] & (np.arange(int(length.max())) < length[:, None])
    for suite in SUITES.values():
        packets = random.integers(0, 256, (count, ROW_BYTES), np.uint8)
        ours, theirs = Keys(count), Keys(count)
        for slot in np.unique(slots).tolist():
            session = derive_session(suite, random.bytes(suite.key_bytes + suite.salt_bytes))
            ours.enter(slot, engine.make_key(session))
            theirs.enter(slot, openssl.make_key(session))
        batch = Rows(packets, number, start, length, ssrc, index, slots, theirs)
        ends = (start + length)[:, None] + np.arange(suite.tag_bytes)
        packets[number[:, None], ends] = _protect(batch)
        places = number % start, start + number % np.maximum(length, 1), ends[:, 0] + number % suite.tag_bytes
        packets[damaged, np.choose(number // 5 % 3, places)[damaged]] ^= 1
        tags = packets[number[:, None], ends]
        expected_ok, expected = open_rows(openssl, batch, tags)
        ok, payload = open_rows(engine, replace(batch, keys=ours), tags)
        if (ok != expected_ok).any() or (ok == damaged).any() or (payload != expected)[inside].any():
            return False
    return True


def _protect(batch: Rows) -> Bytes:
    """The tag of each row: of AES-CM of what stands there, of AES-GCM of what is sealed there now."""
    tags = []
    nonces, ends = make_nonces(batch.keys.salt[batch.slots], batch.ssrc, batch.index), batch.start + batch.length
    for first, end, key in batch.groups:
        for row in range(first, end):
            head, voice = (batch.packets[row, a:b].tobytes() for a, b in ((0, batch.start[row]), (batch.start[row], ends[row])))
            if isinstance(key, GcmKey):
                sealed = key.gcm.encrypt(nonces[row].tobytes(), voice, head)
                batch.packets[row, batch.start[row] : ends[row]] = np.frombuffer(sealed[:-GCM_TAG_BYTES], np.uint8)
                tags.append(sealed[-GCM_TAG_BYTES:])
            else:
                copy = key.hmac.copy()
                copy.update(head + voice + int(batch.index[row] >> 16).to_bytes(_ROC_BYTES))
                tags.append(copy.finalize()[:CM_TAG_BYTES])
    return np.frombuffer(b"".join(tags), np.uint8).reshape(len(tags), -1).copy()
