"""SDES: the `a=crypto` lines of an offer, the one we take, and the key we give in return.

RFC 4568 (grammar in section 9.1), RFC 7714 section 14.2 (GCM suites). Suites without encryption, with a 32-bit tag, or with
session parameters that switch protection off are never taken.
Invariant: a key is never shown by `repr` and never stands in a message.
"""

import base64
import binascii
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from callseal.errors import NotAcceptable, PeerError

SUITES: dict[str, int] = {"AEAD_AES_256_GCM": 44, "AEAD_AES_128_GCM": 28, "AES_CM_128_HMAC_SHA1_80": 30}
"""Each suite that we take, best first, with the length of master key and master salt in bytes."""

CRYPTO_LIMIT = 32
_LINE = re.compile(r"(\d{1,9})\s+([A-Za-z0-9_]+)\s+(\S+)((?:\s+\S+)*)\s*")
_LIFETIME = re.compile(r"2\^\d{1,2}|[1-9]\d{0,14}")
_MKI = re.compile(r"(\d{1,38}):(\d{1,3})")
_HARMLESS = re.compile(r"WSH=\d+|KDR=0|-\S+", re.I)


@dataclass(frozen=True)
class CryptoAttribute:
    """One offered key: `key` is master key then salt; `mki` and `mki_bytes` stand behind each packet's tag where given."""

    tag: int
    suite: str
    key: bytes = field(repr=False)
    lifetime: str = ""
    mki: int | None = None
    mki_bytes: int = 0
    more_keys: bool = False
    session_params: tuple[str, ...] = ()

    @property
    def fault(self) -> str:
        """Why this line is not taken, empty where it is."""
        if self.suite not in SUITES:
            return f"suite {self.suite[:40]}"
        if len(self.key) != SUITES[self.suite]:
            return f"a key of {len(self.key)} bytes for {self.suite}"
        odd = next((param for param in self.session_params if not _HARMLESS.fullmatch(param)), "")
        if odd:
            return f"session parameter {odd.partition('=')[0][:40]}"
        return "several keys on one line" if self.more_keys else ""


def parse_crypto(value: str) -> CryptoAttribute:
    """Read what follows `a=crypto:`. Raises PeerError."""
    found = _LINE.fullmatch(value.strip())
    if found is None:
        raise PeerError("a=crypto: expected TAG SUITE inline:KEY")
    first, *more = found[3].rstrip(";").split(";")
    method, _, info = first.partition(":")
    text, *options = info.split("|")
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if method.lower() != "inline" or not key:
        raise PeerError("a=crypto: expected inline: and base64")
    lifetime, mki, mki_bytes = "", None, 0
    for option in options:
        if numbers := _MKI.fullmatch(option):
            mki, mki_bytes = int(numbers[1]), int(numbers[2])
        elif _LIFETIME.fullmatch(option):
            lifetime = option
        else:
            raise PeerError("a=crypto: expected a lifetime or MKI:LENGTH after |")
    if not 0 <= mki_bytes <= 128:
        raise PeerError("a=crypto: expected an MKI of at most 128 bytes")
    return CryptoAttribute(int(found[1]), found[2].upper(), key, lifetime, mki, mki_bytes, bool(more), tuple(found[4].split()))


def choose_crypto(values: Iterable[str]) -> CryptoAttribute:
    """The offered line that we take: the best suite by our order, whatever theirs. Raises NotAcceptable with the why."""
    faults: list[str] = []
    taken: list[CryptoAttribute] = []
    for value in list(values)[:CRYPTO_LIMIT]:
        try:
            line = parse_crypto(value)
        except PeerError:
            faults.append("a malformed a=crypto line")
            continue
        if line.fault:
            faults.append(line.fault)
        else:
            taken.append(line)
    if not taken:
        got = ", ".join(dict.fromkeys(faults)) or "no a=crypto line"
        raise NotAcceptable(f"SRTP: expected {', '.join(SUITES)}; got {got[:200]}")
    order = list(SUITES)
    return min(taken, key=lambda line: (order.index(line.suite), line.mki_bytes))


def fault_of(why: str) -> str:
    """Which kind of fault refused an offer, for whoever mends it: `srtp` (none was offered) or `suite` (none that we take)."""
    return "suite" if "SRTP: expected" in why and "no a=crypto line" not in why else "srtp"


def draw_key(suite: str) -> bytes:
    """A fresh master key and salt of our own for a suite."""
    return os.urandom(SUITES[suite])


def write_crypto(tag: int, suite: str, key: bytes) -> str:
    """`a=crypto` of an answer, with the tag that was taken (RFC 4568 section 5.1.2)."""
    return f"a=crypto:{tag} {suite} inline:{base64.b64encode(key).decode()}"
