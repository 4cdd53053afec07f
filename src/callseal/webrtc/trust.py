"""From the link's `kid` to a device that may answer: manifest, log, witness, device; the first failure names the refusal.

docs/spec/private-call.md section 4, numbered as there; C2SP tlog-checkpoint, tlog-cosignature; RFC 6962. Invariant: nothing is
taken from the server that the root key, or a key it names, did not sign.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from callseal.audit.checkpoint import Checkpoint, parse_checkpoint
from callseal.audit.cosignature import timestamp_of
from callseal.audit.entry import read_entry
from callseal.audit.merkle import leaf_hash, verify_inclusion
from callseal.audit.note import open_note
from callseal.errors import CallsealError, TamperedError
from callseal.model.message import to_bytes, to_text
from callseal.webrtc.manifest import Manifest, device_digest, read_manifest, verify_root
from callseal.webrtc.refusal import Refused
from callseal.webrtc.shape import check_object, is_count, is_words

VERSION: Final = 1
SKEW: Final = timedelta(minutes=5)
HEAD_AGE: Final = timedelta(hours=24)
EXTENSION: Final = "manifest"
PATH_LIMIT: Final = 48

PROOF = {
    "entry": is_words(4096),
    "index": is_count(0, 2**53 - 1),
    "path": lambda value: isinstance(value, list) and len(value) <= PATH_LIMIT,
    "checkpoint": lambda value: isinstance(value, str) and len(value) <= 16 << 10,
}


@dataclass(frozen=True)
class Trust:
    """A manifest that all checks passed, and when a witness last saw it as the newest."""

    manifest: Manifest
    witnessed_at: datetime


def extension_line(sequence: int, digest: str) -> str:
    """The line by which every checkpoint names the newest manifest."""
    return f"{EXTENSION} {sequence} {digest}"


def read_extension(checkpoint: Checkpoint) -> tuple[int, str] | None:
    """Sequence and digest of the one manifest line of a checkpoint, None where it has none. Raises TamperedError for two."""
    lines = [line.split(" ") for line in checkpoint.extensions if line.startswith(f"{EXTENSION} ")]
    if not lines:
        return None
    line = lines[0]
    if len(lines) > 1 or len(line) != 3 or not line[1].isascii() or not line[1].isdecimal() or str(int(line[1])) != line[1]:
        raise TamperedError("checkpoint: expected one manifest line of sequence and digest")
    return int(line[1]), line[2]


def check_trust(note: str, proof: Any, kid: bytes, now: datetime, seen: int = 0) -> Trust:
    """All of steps 1 to 9. `seen` is the highest sequence known from this root. Raises Refused."""
    manifest = read_manifest(note)  # 1
    verify_root(manifest, kid)  # 2, 3
    if not manifest.time("issued_at") - SKEW <= now < manifest.time("not_after"):  # 4
        raise Refused("manifest-expired", "manifest: expected one that holds now")
    if manifest.fields["min_version"] > VERSION:
        raise Refused("version", "manifest: expected one that allows this version")
    if manifest.sequence < seen:  # 5
        raise Refused("manifest-rolled-back", "manifest: expected none older than one seen before")
    checked = check_object(proof, PROOF)
    checkpoint, witnessed_at = _open_head(manifest, checked["checkpoint"], now)  # 6, 7
    _check_newest(manifest, checkpoint)  # 8
    _check_entry(manifest, checked, checkpoint, kid)  # 9
    return Trust(manifest, witnessed_at)


def check_device(manifest: Manifest, device: Mapping[str, Any], now: datetime) -> bytes:
    """The public key (32 bytes) of a device that the manifest lists now. Raises Refused."""
    if device_digest(device["key"]) in manifest.fields["revoked"]:
        raise Refused("device-revoked", "device: expected one that is not revoked")
    if dict(device) not in manifest.fields["devices"]:
        raise Refused("device-unknown", "device: expected one of the manifest")
    if manifest_time(device) <= now:
        raise Refused("device-expired", "device: expected one whose time has not passed")
    return to_bytes(device["key"], "device")


def manifest_time(device: Mapping[str, Any]) -> datetime:
    """When a device's entry ends."""
    return datetime.fromisoformat(device["not_after"])


def _open_head(manifest: Manifest, note: str, now: datetime) -> tuple[Checkpoint, datetime]:
    try:
        opened = open_note(note.encode(), [manifest.log, *manifest.witnesses])
        checkpoint = parse_checkpoint(opened.text)
        by_log = [one for one in opened.signed_by if (one.name, one.key_id) == (manifest.log.name, manifest.log.key_id)]
    except (TamperedError, UnicodeEncodeError) as error:
        raise Refused("log-signature", "checkpoint: expected the log's signature") from error
    if not by_log or checkpoint.origin != manifest.log.name:
        raise Refused("log-signature", "checkpoint: expected the log's signature, over its own origin")
    witnesses = {(witness.name, witness.key_id) for witness in manifest.witnesses}
    times = [timestamp_of(one.signature) for one in opened.signed_by if (one.name, one.key_id) in witnesses]
    if not times:
        raise Refused("witness-missing", "checkpoint: expected a witness's cosignature")
    if not now.timestamp() - HEAD_AGE.total_seconds() <= max(times) <= now.timestamp() + SKEW.total_seconds():
        raise Refused("log-stale", "checkpoint: expected one that a witness saw within a day")
    return checkpoint, datetime.fromtimestamp(max(times), now.tzinfo)


def _check_newest(manifest: Manifest, checkpoint: Checkpoint) -> None:
    try:
        named = read_extension(checkpoint)
    except TamperedError as error:
        raise Refused("manifest-unlogged", "checkpoint: expected one manifest line") from error
    if named is not None and named[0] > manifest.sequence:
        raise Refused("manifest-rolled-back", "manifest: expected the newest that log and witness name")
    if named != (manifest.sequence, manifest.digest):
        raise Refused("manifest-unlogged", "manifest: expected the one that log and witness name")


def _check_entry(manifest: Manifest, proof: Mapping[str, Any], checkpoint: Checkpoint, kid: bytes) -> None:
    data = proof["entry"].encode()
    try:
        entry = read_entry(data)
        path = [to_bytes(item, "path") for item in proof["path"]]
        if [to_text(item) for item in path] != proof["path"]:
            raise TamperedError("path: expected its one spelling")
        verify_inclusion(leaf_hash(data), proof["index"], checkpoint.size, path, checkpoint.root)
    except (CallsealError, ValueError) as error:
        raise Refused("manifest-unlogged", "proof: expected an entry that is in the log") from error
    expected = ("ManifestPublished", manifest.sequence, manifest.digest, kid.hex())
    if (entry["type"], entry.get("sequence"), entry.get("manifest"), entry.get("kid")) != expected:
        raise Refused("manifest-unlogged", "proof: expected the entry of this manifest")
