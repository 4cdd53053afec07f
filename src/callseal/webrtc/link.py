"""The two forms of a private call's link: everything secret stands behind the `#`, which no server ever sees.

docs/spec/private-call.md section 3. Invariant: a link has one spelling; anything else is `link-damaged`.
"""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Final, Literal

from callseal.errors import RequestError
from callseal.model.message import to_bytes, to_text
from callseal.webrtc.refusal import Refused

SPKI_PREFIX: Final = bytes.fromhex("302a300506032b6570032100")
"""RFC 8410: what stands before a raw Ed25519 key in its SubjectPublicKeyInfo."""

CALL_BYTES: Final = 16
PSK_BYTES: Final = 16
KID_BYTES: Final = 32

LinkKind = Literal["public", "invitation"]


@dataclass(frozen=True)
class Link:
    """What a fragment says: the root key's hash (32 bytes) and, of an invitation, the one-time secret and the call id."""

    kind: LinkKind
    kid: bytes
    psk: bytes = b""
    call: bytes = b""

    def __repr__(self) -> str:
        return f"Link({self.kind})"


def kid_of(root: bytes) -> bytes:
    """SHA-256 of the SPKI of a raw Ed25519 key, 32 bytes."""
    return hashlib.sha256(SPKI_PREFIX + root).digest()


def psk_of(invitation_key: bytes, call: bytes) -> bytes:
    """The one-time secret of a call id: derived, so that nothing secret need be kept for an appointment days away."""
    return hmac.digest(invitation_key, b"plh1/psk" + call, "sha256")[:PSK_BYTES]


def write_fragment(link: Link) -> str:
    """The fragment, with its `#`."""
    if link.kind == "public":
        return f"#p.{to_text(link.kid)}"
    return f"#i.{to_text(link.kid)}.{to_text(link.psk)}.{to_text(link.call)}"


def read_fragment(fragment: str) -> Link:
    """Read a fragment; raises Refused (`link-damaged`)."""
    kind, *parts = fragment.removeprefix("#").split(".")
    try:
        values = [to_bytes(part, "link") for part in parts]
    except RequestError as error:
        raise Refused("link-damaged", "link: expected the whole link, as it was sent") from error
    lengths = [len(value) for value in values]
    if [to_text(value) for value in values] != parts:
        raise Refused("link-damaged", "link: expected its one spelling")
    if kind == "p" and lengths == [KID_BYTES]:
        return Link("public", values[0])
    if kind == "i" and lengths == [KID_BYTES, PSK_BYTES, CALL_BYTES] and any(values[1]):
        return Link("invitation", *values)
    raise Refused("link-damaged", "link: expected the whole link, as it was sent")
