"""A manifest's life on the server: drafted from what is enrolled, signed by the off-line root, published, shown with its proof.

docs/spec/private-call.md section 4; docs/ceremony.md says what people do.
1. `draft_manifest`: devices from the custodian, log and witness keys, the page's digest, the next sequence; it decides nothing.
2. The compliance officer reads and signs it (`callseal root sign-manifest`). 3. The custodian checks it against its own state
and logs it (`manifest.publish`).
4. `read_trust`: note, entry, inclusion path and cosigned checkpoint: what a customer needs to believe a device.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from callseal.audit.checkpoint import parse_checkpoint
from callseal.audit.note import split_note
from callseal.audit.tile import TileTree
from callseal.errors import NotFound, Unavailable
from callseal.model.clock import format_time, parse_time
from callseal.model.keyring import Asks
from callseal.model.message import to_text
from callseal.webrtc.manifest import LONGEST, manifest_text, read_manifest


async def draft_manifest(
    keyring: Asks, root: bytes, words: Mapping[str, str], page: str, log_vkey: str, witnesses: list[str], now: datetime
) -> str:
    """Step 1: the text to be signed. `words` are `business` and `phone`. Raises Refused where something does not fit."""
    listed = await keyring.ask("device.list")
    try:
        sequence = int((await keyring.ask("manifest.current"))["sequence"]) + 1
    except NotFound:
        sequence = 1
    ends = now + LONGEST - timedelta(minutes=1)
    devices = [{name: one[name] for name in ("key", "not_after", "role")} for one in listed["devices"]]
    latest = {one["key"]: one for one in sorted(devices, key=lambda one: parse_time(one["not_after"]))}
    return manifest_text({
        "v": 1, "sequence": sequence, "root": to_text(root), "business": words["business"], "phone": words["phone"],
        "issued_at": format_time(now), "not_after": format_time(ends), "min_version": 1, "log": log_vkey, "witnesses": witnesses,
        "devices": [latest[key] for key in sorted(latest)], "revoked": sorted(listed["revoked"]), "page": page,
        "recording_keys": [],
    })  # fmt: skip


async def read_trust(keyring: Asks, log: Path, cosigned: Path) -> dict[str, Any]:
    """Step 4: `{"manifest", "proof"}`. Raises NotFound before the first manifest, Unavailable until a witness has seen it."""
    current = await keyring.ask("manifest.current")
    index, note = int(current["log_index"]), str(current["note"])
    witnessed = _read(cosigned.parent, cosigned.name)
    if witnessed is None:
        raise Unavailable("manifest: the witness has not seen it yet")
    checkpoint = witnessed.decode()
    head = parse_checkpoint(split_note(checkpoint.encode())[0])
    manifest = read_manifest(note)
    if index >= head.size or f"manifest {manifest.sequence} {manifest.digest}" not in head.extensions:
        raise Unavailable("manifest: the witness has not seen it yet")
    tree = TileTree(head.size, lambda path: _read(log, path))
    entry = next(iter(tree.entries(index, index + 1))).decode()
    path = [to_text(item) for item in tree.inclusion_proof(index)]
    proof = {"entry": entry, "index": index, "path": path, "checkpoint": checkpoint}
    return {"manifest": note, "proof": proof}


def _read(folder: Path, path: str) -> bytes | None:
    try:
        return (folder / path).read_bytes()
    except FileNotFoundError:
        return None
