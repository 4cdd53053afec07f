"""The messages of PLH/1 as texts: their tables, and what in them can be checked without a key.

docs/spec/private-call.md sections 5 and 6.
"""

from collections.abc import Mapping
from typing import Any, Final

from callseal.webrtc.manifest import DEVICE
from callseal.webrtc.refusal import Refused
from callseal.webrtc.shape import (
    check_object,
    is_bytes,
    is_count,
    is_hex,
    is_object,
    is_one_of,
    is_text_list,
    read_object,
)
from callseal.webrtc.xwing import CIPHERTEXT_BYTES, PUBLIC_BYTES

POLICY: Final[Mapping[str, Any]] = {
    "cbr": True, "comp_kid": None, "parties": 2, "rec": "none", "relay": True, "sframe": False,
}  # fmt: skip
"""The one policy of layer 1: unrecorded, two people, through relays."""

LATER_KINDS: Final = ("offer", "answer", "please", "hold", "resume", "bye")
WITH_SDP: Final = ("offer", "answer")

M1 = {
    "v": is_one_of(1), "call": is_bytes(16), "link": is_one_of("public", "invitation"), "nc_hash": is_bytes(32),
    "kem": is_bytes(PUBLIC_BYTES), "fp": is_hex, "sdp_hash": is_bytes(32), "caps": is_text_list,
}  # fmt: skip
BODY = {
    "v": is_one_of(1), "call": is_bytes(16), "na": is_bytes(32), "ct": is_bytes(CIPHERTEXT_BYTES), "fp": is_hex,
    "sdp_hash": is_bytes(32), "policy": is_object, "device": is_object,
    "manifest": lambda value: isinstance(value, str), "proof": is_object,
}  # fmt: skip
M2 = {"body": is_object, "sig": is_bytes(64), "mac": is_bytes(32)}
M3 = {"v": is_one_of(1), "call": is_bytes(16), "nc": is_bytes(32), "mac": is_bytes(32)}
LATER = {
    "v": is_one_of(1), "call": is_bytes(16), "n": is_count(1, 2**31),
    "re": lambda value: value is None or is_count(1, 2**31)(value), "kind": is_one_of(*LATER_KINDS), "fp": is_hex,
    "sdp_hash": lambda value: value is None or is_bytes(32)(value), "policy": is_object,
}  # fmt: skip


def read_m1(text: object) -> dict[str, Any]:
    """M1's members. Raises Refused (`malformed`)."""
    return read_object(text, M1)


def read_m2(text: object) -> dict[str, Any]:
    """M2's members, its body and device checked too. Raises Refused (`malformed`)."""
    m2 = read_object(text, M2)
    body = check_object(m2["body"], BODY)
    check_object(body["device"], DEVICE)
    return m2


def read_m3(text: object) -> dict[str, Any]:
    """M3's members. Raises Refused (`malformed`)."""
    return read_object(text, M3)


def read_later(text: object) -> dict[str, Any]:
    """A later message's members. Raises Refused (`malformed`)."""
    later = read_object(text, LATER)
    if (later["sdp_hash"] is not None) != (later["kind"] in WITH_SDP) or (later["re"] is not None) != (later["kind"] == "answer"):
        raise Refused("malformed", "sdp_hash, re: expected where the kind has them, and nowhere else")
    return later


def check_policy(policy: Mapping[str, Any], *, relay: bool = True) -> None:
    """Raises Refused (`policy`) for anything but the policy of layer 1 with this choice of relays."""
    expected = dict(POLICY, relay=relay)
    if dict(policy) != expected or any(type(policy[name]) is not type(value) for name, value in expected.items()):
        raise Refused("policy", "policy: expected two people, unrecorded, through relays")
