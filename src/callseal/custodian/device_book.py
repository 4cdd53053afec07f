"""Device keys by their digest: what the log's digests stand for, and what a person asks when a device is enrolled or revoked.

docs/spec/private-call.md section 4. The log is the authority on which devices are enrolled, by whom and until when; the book
beside the keystore only spells out public key and role. Invariant: a device of the book that the log does not know counts for
nothing, so a kill between the two leaves nothing behind.
"""

import hashlib
from datetime import datetime, timedelta
from typing import Any, Final

from callseal.audit import canonical
from callseal.custodian.custody import Custody
from callseal.custodian.durable import make_folder, write_whole
from callseal.custodian.people import live_person
from callseal.errors import NotFound, RequestError, TamperedError, Unavailable
from callseal.model.clock import format_time, parse_time
from callseal.model.message import to_bytes, to_text
from callseal.webrtc.manifest import DEVICE_LIMIT
from callseal.webrtc.shape import is_words

DEVICE_ACTIONS: Final = ("enrol_device", "revoke_device")
DEVICE_LIFE: Final = timedelta(days=7)
ROLE_LIMIT_CHARACTERS: Final = 40
KEY_BYTES: Final = 32


def read_device_request(custody: Custody, action: str, message: dict[str, Any], now: datetime) -> dict[str, Any]:
    """What the person signs: key, role label and end; or which device goes. Raises RequestError, NotFound."""
    if action == "revoke_device":
        device = message.get("device")
        if not isinstance(device, str) or device not in custody.history.devices:
            raise NotFound("device: expected one that was enrolled here")
        return {"device": device}
    key = to_bytes(message.get("key"), "key")
    if len(key) != KEY_BYTES or to_text(key) != message["key"]:
        raise RequestError(f"key: expected an Ed25519 public key of {KEY_BYTES} bytes")
    if not is_words(ROLE_LIMIT_CHARACTERS)(message.get("role")):
        raise RequestError(f"role: expected a label of 1 to {ROLE_LIMIT_CHARACTERS} characters")
    if len(live_devices(custody, now)) >= DEVICE_LIMIT:
        raise RequestError(f"devices: expected at most {DEVICE_LIMIT}")
    return {"key": message["key"], "role": message["role"].strip(), "not_after": format_time(now + DEVICE_LIFE)}


def keep_device(custody: Custody, key: str, role: str) -> str:
    """Write a device into the book; returns its digest. The caller logs it. Raises Unavailable."""
    digest = hashlib.sha256(to_bytes(key, "key")).hexdigest()
    book = {name: words for name, words in _read(custody).items() if name in custody.history.devices}
    book[digest] = {"key": key, "role": role}
    path = custody.place.devices
    try:
        make_folder(path.parent)
        write_whole(path, canonical.encode(book))
    except OSError as error:
        raise Unavailable(f"devices: expected a durable write, got {error.strerror}") from error
    return digest


def live_devices(custody: Custody, now: datetime) -> list[dict[str, Any]]:
    """Devices whose time has not passed, neither they nor their owner revoked: as in a manifest, with digest and owner."""
    book = _read(custody)
    return [
        {"device": digest, "who": entry["who"], "not_after": entry["not_after"], **book[digest]}
        for digest, entry in sorted(custody.history.devices.items())
        if not _is_gone(custody, entry) and parse_time(entry["not_after"]) > now and digest in book
    ]


def revoked_devices(custody: Custody, now: datetime) -> list[str]:
    """Digests of devices whose time has not passed and that are revoked, or their owner is: what a manifest must name."""
    entries = custody.history.devices.items()
    return sorted(digest for digest, entry in entries if _is_gone(custody, entry) and parse_time(entry["not_after"]) > now)


def _is_gone(custody: Custody, entry: dict[str, Any]) -> bool:
    return bool(entry.get("revoked")) or live_person(custody, entry["who"]) is None


def _read(custody: Custody) -> dict[str, dict[str, str]]:
    try:
        book = canonical.decode(custody.place.devices.read_bytes())
    except FileNotFoundError:
        return {}
    if not isinstance(book, dict):
        raise TamperedError("devices: expected the book that was written")
    return book
