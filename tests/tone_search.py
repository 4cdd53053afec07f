"""A search of memory, files and captures for a tone that was spoken: as linear PCM anywhere, or behind any key that lies there.

Two detectors. `find_tones` reads every run of bytes as 16-bit and as 32-bit float samples and asks of each stretch of 10 ms how much of
its energy is one tone. `find_srtp_keys` tries every window that may be a key as the SRTP master key (RFC 3711) of a packet that
was captured, in the layouts in which key and salt lie together: of SDES and libsrtp (key, salt), and of a DTLS exporter
(RFC 5764 section 4.2: two keys, two salts). Either finding means that somebody but the two ends can hear.
"""

import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from numpy.typing import NDArray

SAMPLE_HZ = 48_000
STRETCH = 480
PURE = 0.9
TAG_BYTES = 10
KEY_BYTES, SALT_BYTES, AUTH_BYTES = 16, 14, 20
_STEP = 8
_WINDOW = 60
_CHUNK = 4 << 20


@dataclass(frozen=True)
class ToneFound:
    """A stretch of 10 ms that is almost all one tone."""

    offset: int
    form: str
    hertz: float
    share: float


@dataclass(frozen=True)
class KeyFound:
    """Where a key lies under which a captured packet verifies."""

    offset: int
    layout: str


def find_tones(haystack: bytes, *tones: float, sample_hz: int = SAMPLE_HZ) -> list[ToneFound]:
    """Each stretch of samples in a run of bytes that is one of these tones (hertz)."""
    found = []
    for form, kind in (("16-bit", "<i2"), ("float", "<f4")):
        width = np.dtype(kind).itemsize
        for start in range(0, len(haystack), _CHUNK):
            part = haystack[start : start + _CHUNK + STRETCH * width]
            shares = tone_shares(np.frombuffer(part[: len(part) // width * width], kind), tones, sample_hz)
            for at, tone in np.argwhere(shares > PURE):
                found.append(ToneFound(start + int(at) * STRETCH * width, form, tones[tone], float(shares[at, tone])))
    return found


def tone_shares(samples: NDArray[Any], tones: Sequence[float], sample_hz: int = SAMPLE_HZ) -> NDArray[np.float32]:
    """Of each stretch and tone, the share of the stretch's energy that is this tone, 0 to 1; silence, and what is no number, has none."""
    with np.errstate(all="ignore"):
        rows = samples[: len(samples) // STRETCH * STRETCH].reshape(-1, STRETCH).astype(np.float32)
        largest = np.abs(rows).max(axis=1, initial=0)
        rows[~((largest > 1e-3) & (largest < 1e6))] = 0
        rows -= rows.mean(axis=1, keepdims=True)
        steps = 2 * np.pi / sample_hz * np.outer(np.arange(STRETCH), tones)
        lines = (rows @ np.cos(steps).astype(np.float32)) ** 2 + (rows @ np.sin(steps).astype(np.float32)) ** 2
        energy = np.einsum("ij,ij->i", rows, rows)[:, None]
        return np.where(energy > 0, 2 * lines / (STRETCH * np.maximum(energy, 1e-9)), 0)


def find_srtp_keys(haystacks: Iterable[bytes], packets: Sequence[bytes]) -> list[KeyFound]:
    """Windows under which one of these packets (early ones: their rollover counter is 0) verifies with AES_CM_128_HMAC_SHA1_80."""
    found = []
    for haystack in haystacks:
        for offset in likely_offsets(haystack, AUTH_BYTES):
            if any(has_tag(haystack[offset : offset + AUTH_BYTES], packet) for packet in packets):
                found.append(KeyFound(offset, "session"))
        for offset in likely_offsets(haystack, KEY_BYTES + SALT_BYTES):
            window = haystack[offset : offset + _WINDOW]
            for layout, key, salt in layouts(window):
                if any(verifies(key, salt, packet) for packet in packets):
                    found.append(KeyFound(offset, layout))
    return found


def likely_offsets(haystack: bytes, size: int) -> list[int]:
    """Aligned places whose next 20 or 30 bytes may be random: few zero bytes, nearly all different (of 10^6 keys, six are left out)."""
    content = np.frombuffer(haystack, np.uint8)
    places: list[int] = []
    for begin in range(0, len(content) - size + 1, _CHUNK):
        part = content[begin : begin + _CHUNK + size - _STEP]
        if len(part) < size:
            continue
        rows = np.lib.stride_tricks.sliding_window_view(part, size)[::_STEP]
        kept = np.flatnonzero((rows == 0).sum(axis=1) < 4)
        ordered = np.sort(rows[kept], axis=1)
        kept = kept[(ordered[:, 1:] != ordered[:, :-1]).sum(axis=1) + 1 >= size * 7 // 10]
        places += [begin + int(at) * _STEP for at in kept]
    return places


def layouts(window: bytes) -> list[tuple[str, bytes, bytes]]:
    """How key and salt may lie: together, or as a DTLS exporter gives those of both sides."""
    found = [("key and salt", window[:16], window[16:30])]
    if len(window) == _WINDOW:
        found += [("exporter, client", window[:16], window[32:46]), ("exporter, server", window[16:32], window[46:60])]
    return found


def verifies(key: bytes, salt: bytes, packet: bytes) -> bool:
    """Whether this packet's tag is of this master key and salt, at rollover counter 0 (RFC 3711 sections 4.2 and 4.3)."""
    return has_tag(_derive(key, salt, 1, AUTH_BYTES), packet)


def has_tag(auth: bytes, packet: bytes) -> bool:
    """Whether this packet's tag is of this authentication key."""
    return hmac.digest(auth, packet[:-TAG_BYTES] + bytes(4), "sha1")[:TAG_BYTES] == packet[-TAG_BYTES:]


def _derive(key: bytes, salt: bytes, label: int, length: int) -> bytes:
    counter = (int.from_bytes(salt, "big") ^ (label << 48)) << 16
    return Cipher(AES(key), CTR(counter.to_bytes(16, "big"))).encryptor().update(bytes(length))
