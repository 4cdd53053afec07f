"""Where a recording's key is: the leaf of its group, or the copy that a hold keeps.

Invariant: nothing here writes; what is destroyed raises Destroyed, what was never adopted NotFound.
"""

import hashlib
import hmac
import json
import struct
from typing import Any

from callseal.custodian.custody import Custody
from callseal.custodian.history import Known
from callseal.errors import Destroyed, NotFound, TamperedError
from callseal.vault.cobblestone import decrypt, encrypt
from callseal.vault.expand import KEY_LENGTH, expand
from callseal.vault.tree import LAST_LEAF, KeyTree

_PART = struct.Struct(">I")


def known(custody: Custody, recording: str) -> Known:
    """What the log knows of a recording. Raises NotFound."""
    found = custody.history.recordings.get(recording)
    if found is None:
        raise NotFound("recording: expected one that was adopted")
    return found


def is_held(custody: Custody, recording: str) -> bool:
    """Whether any hold keeps this recording."""
    return any(recording in hold.recordings for hold in custody.state.holds.values())


def leaf_key(custody: Custody, recording: str) -> bytes:
    """The 32-byte key of a recording's leaf. Raises NotFound, Destroyed."""
    place = known(custody, recording)
    for hold in custody.state.holds.values():
        held = hold.recordings.get(recording)
        if held is not None and (held.group, held.leaf) == (place.group, place.leaf):
            return held.key
    group = custody.state.groups.get(place.group)
    if group is None or place.destroyed:
        raise Destroyed("recording: its key is gone")
    return group.tree.leaf(place.leaf)


def index_key(tree: KeyTree) -> bytes:
    """The key of a group's search tokens: gone with the group."""
    return expand(tree.leaf(LAST_LEAF), "index", KEY_LENGTH)


def search_token(key: bytes, kind: str, value: str) -> str:
    """HMAC-SHA256(index key, "full:" or "last4:" ‖ normalised value), hex."""
    return hmac.new(key, f"{kind}:{value}".encode(), hashlib.sha256).hexdigest()


def normalise(value: str) -> str:
    """A number as its digits, without the marks people put between them or the international prefix; else the text, folded."""
    text = value.strip().casefold()
    for scheme in ("sips:", "sip:", "tel:"):
        text = text.removeprefix(scheme)
    text = text.split("@")[0]
    digits = "".join(mark for mark in text if mark not in " -.()/+")
    if digits.isascii() and digits.isdigit() and len(digits) >= 3:
        return digits.removeprefix("00") if not text.startswith("+") else digits
    return text


def seal_meta(leaf: bytes, recording: bytes, part: int, meta: dict[str, Any]) -> bytes:
    """u32 part ‖ C256(Ex(leaf, "meta", 32), "meta" ‖ recording ‖ part, JSON)."""
    head = _PART.pack(part)
    return head + encrypt(expand(leaf, "meta", KEY_LENGTH), b"meta" + recording + head, json.dumps(meta).encode())


def open_meta(leaf: bytes, recording: bytes, sealed: bytes) -> dict[str, Any]:
    """The metadata that `seal_meta` sealed. Raises TamperedError."""
    head = sealed[: _PART.size]
    plain = decrypt(expand(leaf, "meta", KEY_LENGTH), b"meta" + recording + head, sealed[_PART.size :])
    try:
        meta = json.loads(plain)
    except ValueError as error:
        raise TamperedError("meta: expected JSON") from error
    return meta if isinstance(meta, dict) else {}
