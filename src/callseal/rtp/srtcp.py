"""SRTCP: one packet at a time, verified and decrypted, so that a recorder can count whose reports they are. Nothing is kept.

RFC 3711 section 3.4 (AES-CM with HMAC-SHA1), RFC 7714 section 9 (AES-GCM; packets without the E bit are authenticated only).
Invariant: nothing is returned whose tag did not verify, and no index twice.
"""

import hmac

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from callseal.errors import TamperedError
from callseal.rtp.header import Bytes, Ints
from callseal.rtp.srtp_kdf import SessionKeys, derive_session, find_suite

HEAD_BYTES = 8
_INDEX_BYTES = 4
_E = 1 << 31


class SrtcpReceiver:
    """One key's SRTCP. Reports of a source come with growing indexes; one that does not grow is a replay."""

    def __init__(self, suite: str, key: bytes, mki_bytes: int = 0, *, session: SessionKeys | None = None) -> None:
        """`key` is master key ‖ salt; `session`, its session keys where they are known instead. Raises NotAcceptable."""
        self._keys = session or derive_session(find_suite(suite), key, rtcp=True)
        self._mki_bytes = mki_bytes
        self._newest: dict[int, int] = {}

    def unprotect(self, packet: bytes) -> bytes:
        """The plain RTCP packet. Raises TamperedError."""
        tag_bytes = self._keys.suite.tag_bytes
        if len(packet) < HEAD_BYTES + _INDEX_BYTES + tag_bytes + self._mki_bytes or packet[0] >> 6 != 2:
            raise TamperedError("RTCP: expected a whole SRTCP packet")
        ssrc = int.from_bytes(packet[4:8])
        index, plain = (self._open_gcm if self._keys.suite.aead else self._open_cm)(packet, ssrc, tag_bytes)
        if index <= self._newest.get(ssrc, -1) or (ssrc not in self._newest and len(self._newest) >= 64):
            raise TamperedError("RTCP: expected a newer index")
        self._newest[ssrc] = index
        return plain

    def _open_cm(self, packet: bytes, ssrc: int, tag_bytes: int) -> tuple[int, bytes]:
        end = len(packet) - tag_bytes - self._mki_bytes
        if not hmac.compare_digest(hmac.digest(self._keys.auth, packet[:end], "sha1")[:tag_bytes], packet[-tag_bytes:]):
            raise TamperedError("RTCP: its tag does not verify")
        word = int.from_bytes(packet[end - _INDEX_BYTES : end])
        index, body = word & ~_E, packet[HEAD_BYTES : end - _INDEX_BYTES]
        if word & _E:
            counter = int.from_bytes(self._keys.salt + b"\0\0") ^ ssrc << 64 ^ index << 16
            body = Cipher(AES(self._keys.cipher), CTR(counter.to_bytes(16))).decryptor().update(body)
        return index, packet[:HEAD_BYTES] + body

    def _open_gcm(self, packet: bytes, ssrc: int, tag_bytes: int) -> tuple[int, bytes]:
        end = len(packet) - self._mki_bytes
        esrtcp = packet[end - _INDEX_BYTES : end]
        word = int.from_bytes(esrtcp)
        index, sealed = word & ~_E, packet[HEAD_BYTES : end - _INDEX_BYTES]
        nonce = (int.from_bytes(self._keys.salt) ^ ssrc << 48 ^ index).to_bytes(12)
        gcm = AESGCM(self._keys.cipher)
        try:
            if word & _E:
                return index, packet[:HEAD_BYTES] + gcm.decrypt(nonce, sealed, packet[:HEAD_BYTES] + esrtcp)
            plain, tag = sealed[:-tag_bytes], sealed[-tag_bytes:]
            gcm.decrypt(nonce, tag, packet[:HEAD_BYTES] + plain + esrtcp)
            return index, packet[:HEAD_BYTES] + plain
        except InvalidTag:
            raise TamperedError("RTCP: its tag does not verify") from None


class SrtcpCounter:
    """The reports of all streams of a worker: how many verified, how many did not."""

    def __init__(self) -> None:
        self._receivers: dict[int, SrtcpReceiver] = {}
        self.verified = 0
        self.failed = 0

    def set_key(self, stream: int, suite: str, key: bytes, mki_bytes: int) -> None:
        """A stream's key, from now on. Raises NotAcceptable."""
        self._receivers[stream] = SrtcpReceiver(suite, key, mki_bytes)

    def forget(self, stream: int) -> None:
        """A stream is over."""
        self._receivers.pop(stream, None)

    def take(self, packets: Bytes, lengths: Ints, streams: Ints) -> None:
        """Count n packets, one a row."""
        for row in np.flatnonzero(lengths > 0).tolist():
            receiver = self._receivers.get(int(streams[row]))
            try:
                if receiver is None:
                    raise TamperedError("RTCP: expected a known stream")
                receiver.unprotect(packets[row, : int(lengths[row])].tobytes())
                self.verified += 1
            except TamperedError:
                self.failed += 1
