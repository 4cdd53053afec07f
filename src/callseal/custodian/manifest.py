"""The manifests that the off-line root key signed: checked against this installation's own state, logged, and given out.

docs/spec/private-call.md section 4. Invariants: the first root that signed here is the only one, for good; sequences go up by
one; a manifest lists only devices that are enrolled here and names all that are revoked; the note is durable before its log
entry, and the log says which note is the newest.
"""

from datetime import datetime, timedelta
from typing import Any, Final

from callseal.custodian.custody import Custody
from callseal.custodian.device_book import live_devices, revoked_devices
from callseal.custodian.durable import make_folder, write_whole
from callseal.errors import Conflict, Denied, NotFound, RequestError, TamperedError, Unavailable
from callseal.webrtc.link import kid_of
from callseal.webrtc.manifest import Manifest, read_manifest, verify_root

FRESH: Final = timedelta(hours=1)
"""How long a draft may lie before it is signed and published."""


def publish_manifest(custody: Custody, message: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Check, keep and log a signed manifest. Raises Denied (another root), Conflict, RequestError, Unavailable."""
    custody.check()
    note = message.get("note")
    if not isinstance(note, str):
        raise RequestError("note: expected a signed manifest")
    try:
        manifest = read_manifest(note)
        kid = kid_of(manifest.root)
        verify_root(manifest, kid)
    except TamperedError as error:
        raise RequestError(str(error)) from error
    newest = custody.history.manifest
    if newest is not None and newest["kid"] != kid.hex():
        raise Denied("root: expected the root key that signed here before")
    if manifest.sequence != (newest["sequence"] if newest else 0) + 1:
        raise Conflict("sequence: expected the next; make the draft anew")
    if not now - FRESH <= manifest.time("issued_at") <= now + timedelta(minutes=5):
        raise Conflict("issued_at: expected a draft of the last hour")
    _check_against_state(custody, manifest, now)
    path = custody.place.manifest(manifest.digest)
    try:
        make_folder(path.parent)
        write_whole(path, note.encode())
    except OSError as error:
        raise Unavailable(f"manifest: expected a durable write, got {error.strerror}") from error
    fields = manifest.fields
    index = custody.record(
        "ManifestPublished", now, sequence=manifest.sequence, manifest=manifest.digest, kid=kid.hex(),
        not_after=fields["not_after"], count=len(fields["devices"]),
    )  # fmt: skip
    return {"log_index": index, "sequence": manifest.sequence}


def current_manifest(custody: Custody) -> dict[str, Any]:
    """The newest manifest's note, its entry's number, and the next sequence. Raises NotFound before the first."""
    newest = custody.history.manifest
    if newest is None:
        raise NotFound("manifest: expected one that the root key signed; see callseal private setup")
    try:
        note = custody.place.manifest(newest["manifest"]).read_text(encoding="utf-8")
    except OSError as error:
        raise Unavailable("manifest: expected the note that the log names") from error
    if read_manifest(note).digest != newest["manifest"]:
        raise TamperedError("manifest: expected the note that the log names, got another")
    return {"note": note, "log_index": custody.history.manifest_index, "sequence": newest["sequence"]}


def _check_against_state(custody: Custody, manifest: Manifest, now: datetime) -> None:
    fields = manifest.fields
    if fields["log"] != custody.ledger.signer.verifier.vkey():
        raise RequestError("log: expected this installation's log key")
    enrolled = {(one["key"], one["role"], one["not_after"]) for one in live_devices(custody, now)}
    listed = {(one["key"], one["role"], one["not_after"]) for one in fields["devices"]}
    if not listed <= enrolled:
        raise RequestError("devices: expected only such as are enrolled here and not revoked; make the draft anew")
    if not set(revoked_devices(custody, now)) <= set(fields["revoked"]):
        raise RequestError("revoked: expected every device that was revoked here; make the draft anew")

