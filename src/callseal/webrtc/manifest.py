"""The manifest: what the business's root key says of its devices, log, witnesses and call page, for at most seven days.

docs/spec/private-call.md section 4; C2SP signed-note. Invariants: a manifest is believed only when the key whose hash is the
link's `kid` signed it; its text has one spelling.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from callseal.audit.cosignature import CosignatureVerifier, parse_cosigner
from callseal.audit.note import Signer, Verifier, open_note, parse_vkey, sign_note, split_note
from callseal.errors import TamperedError
from callseal.model.clock import parse_time
from callseal.model.message import to_bytes
from callseal.webrtc.link import kid_of
from callseal.webrtc.refusal import Refused
from callseal.webrtc.shape import check_object, is_bytes, is_count, is_hex, is_one_of, is_time, is_words, read_object, spell

KEY_NAME: Final = "callseal-manifest"
HEADING: Final = "callseal/manifest/1"
LONGEST: Final = timedelta(days=7)
DEVICE_LIMIT: Final = 200
WITNESS_LIMIT: Final = 4
MALFORMED: Final = "manifest-malformed"

DEVICE = {"key": is_bytes(32), "not_after": is_time, "role": is_words(40)}


def _is_list(longest: int, shortest: int = 0) -> Any:
    return lambda value: isinstance(value, list) and shortest <= len(value) <= longest


TABLE = {
    "v": is_one_of(1),
    "sequence": is_count(1, 2**53 - 1),
    "root": is_bytes(32),
    "business": is_words(80),
    "phone": lambda value: is_words(24, 0)(value) and set(value) <= set("+0123456789 "),
    "issued_at": is_time,
    "not_after": is_time,
    "min_version": is_count(1, 1000),
    "log": is_words(300),
    "witnesses": _is_list(WITNESS_LIMIT, 1),
    "devices": _is_list(DEVICE_LIMIT),
    "revoked": _is_list(1000),
    "page": is_hex,
    "recording_keys": lambda value: value == [],
}


@dataclass(frozen=True)
class Manifest:
    """A manifest whose shape holds. `fields` are its members; nothing here says that anybody signed it."""

    fields: Mapping[str, Any]
    note: str
    log: Verifier
    witnesses: tuple[CosignatureVerifier, ...]

    @property
    def sequence(self) -> int:
        """Its number."""
        return int(self.fields["sequence"])

    @property
    def root(self) -> bytes:
        """The root's public key, 32 bytes."""
        return to_bytes(self.fields["root"], "root")

    @property
    def digest(self) -> str:
        """SHA-256 of the note's text, hex: what log and checkpoints name."""
        return digest_of(self.note)

    def time(self, name: str) -> datetime:
        """`issued_at` or `not_after`."""
        return parse_time(self.fields[name])


def manifest_text(fields: Mapping[str, Any]) -> str:
    """The text that is signed. Raises Refused where the members do not fit the table."""
    check_fields(fields)
    return f"{HEADING}\n{spell(fields)}\n"


def sign_manifest(text: str, root: Signer) -> str:
    """The note. The signer's key name is `KEY_NAME`."""
    return sign_note(text, root).decode()


def read_manifest(note: str) -> Manifest:
    """Read a note whose signature is still to be checked. Raises Refused (`manifest-malformed`)."""
    try:
        text, _signatures = split_note(note.encode())
    except (TamperedError, UnicodeEncodeError) as error:
        raise Refused(MALFORMED, "manifest: expected a signed note") from error
    return read_text(text, note)


def read_text(text: str, note: str = "") -> Manifest:
    """Read a manifest's text. Raises Refused (`manifest-malformed`)."""
    lines = text.split("\n")
    if len(lines) != 3 or lines[0] != HEADING or lines[2]:
        raise Refused(MALFORMED, f"manifest: expected the heading {HEADING} and one line")
    fields = read_object(lines[1], TABLE, MALFORMED)
    log, witnesses = check_fields(fields)
    return Manifest(fields, note, log, witnesses)


def verify_root(manifest: Manifest, kid: bytes) -> None:
    """Raises Refused (`root-unknown`, `manifest-signature`) unless the key of this hash signed the note."""
    if kid_of(manifest.root) != kid:
        raise Refused("root-unknown", "manifest: expected the root key that the link names, got another")
    try:
        open_note(manifest.note.encode(), [Verifier(KEY_NAME, manifest.root)])
    except TamperedError as error:
        raise Refused("manifest-signature", "manifest: expected the root key's signature") from error


def check_fields(fields: Mapping[str, Any]) -> tuple[Verifier, tuple[CosignatureVerifier, ...]]:
    """The log's and witnesses' keys of members that fit each other. Raises Refused (`manifest-malformed`)."""
    checked = check_object(dict(fields), TABLE, MALFORMED)
    issued, ends = parse_time(checked["issued_at"]), parse_time(checked["not_after"])
    keys = [check_object(device, DEVICE, MALFORMED)["key"] for device in checked["devices"]]
    gone = checked["revoked"]
    if not issued < ends <= issued + LONGEST:
        raise Refused(MALFORMED, "not_after: expected at most 7 days after issued_at")
    if any(parse_time(device["not_after"]) > issued + LONGEST for device in checked["devices"]):
        raise Refused(MALFORMED, "devices: expected an end within 7 days of issued_at")
    if keys != sorted(set(keys)) or gone != sorted(set(map(str, gone))) or not all(map(is_hex, gone)):
        raise Refused(MALFORMED, "devices, revoked: expected each once, in order")
    if set(gone) & {device_digest(key) for key in keys}:
        raise Refused(MALFORMED, "devices: expected none that is revoked")
    try:
        return parse_vkey(checked["log"]), tuple(parse_cosigner(str(line)) for line in checked["witnesses"])
    except TamperedError as error:
        raise Refused(MALFORMED, "log, witnesses: expected verifier keys") from error


def device_digest(key: str) -> str:
    """SHA-256 of a device's public key, hex: how `revoked` and the log name it."""
    return hashlib.sha256(to_bytes(key, "device")).hexdigest()


def digest_of(note: str) -> str:
    """SHA-256 of a note's text (all before its signatures), hex. Raises Refused."""
    try:
        text, _ = split_note(note.encode())
    except (TamperedError, UnicodeEncodeError) as error:
        raise Refused(MALFORMED, "manifest: expected a signed note") from error
    return hashlib.sha256(text.encode()).hexdigest()
