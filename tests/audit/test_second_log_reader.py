"""A second reader of the log, written from docs/spec/log-entry.md alone with nothing of ours, and run over its vectors.

It reads as the RFCs are written, recursively and slowly, where the product works on whole rows: two ways to one answer.
"""

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

FOLDER = Path(__file__).parents[2] / "docs" / "spec"
VECTORS = json.loads((FOLDER / "vectors" / "log-entry.json").read_text(encoding="utf-8"))
PAGE = (FOLDER / "log-entry.md").read_text(encoding="utf-8")


def mth(entries: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, as it is written."""
    if not entries:
        return hashlib.sha256(b"").digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    k = 1
    while k * 2 < len(entries):
        k *= 2
    return hashlib.sha256(b"\x01" + mth(entries[:k]) + mth(entries[k:])).digest()


def files_of(entries: list[bytes]) -> dict[str, bytes]:
    """Every file of tiles and entries that a log of these entries needs, with its bytes."""
    files: dict[str, bytes] = {}
    span, level = 1, 0
    while span <= len(entries):
        hashes = [mth(entries[i : i + span]) for i in range(0, len(entries) - span + 1, span)]
        for first in range(0, len(hashes), 256):
            group = hashes[first : first + 256]
            files[f"tile/{level}/{spell(first // 256, len(group))}"] = b"".join(group)
        span, level = span * 256, level + 1
    for first in range(0, len(entries), 256):
        group = entries[first : first + 256]
        data = b"".join(len(entry).to_bytes(2, "big") + entry for entry in group)
        files[f"tile/entries/{spell(first // 256, len(group))}"] = data
    return files


def spell(n: int, width: int) -> str:
    text = f"{n % 1000:03d}"
    while n >= 1000:
        n //= 1000
        text = f"x{n % 1000:03d}/{text}"
    return text if width == 256 else f"{text}.p/{width}"


def open_checkpoint(note: str, vkey: str) -> tuple[str, int, bytes]:
    """Origin, size and root, where the key signed them."""
    name, key_id, key = vkey.split("+", 2)
    public = base64.b64decode(key)[1:]
    text, _, signatures = note.rpartition("\n\n")
    text += "\n"
    for line in signatures.splitlines():
        _dash, signer, encoded = line.split(" ")
        signature = base64.b64decode(encoded)
        if signer == name and signature[:4].hex() == key_id:
            Ed25519PublicKey.from_public_bytes(public).verify(signature[4:], text.encode())
            origin, size, root = text.splitlines()
            return origin, int(size), base64.b64decode(root)
    raise ValueError("the key has not signed it")


def table_of(page: str) -> dict[str, tuple[set[str], set[str]]]:
    """The types of section 5, read from the page itself."""
    rows = re.findall(r"^\| `([A-Z]\w+)` \| (.*?) \| (.*?) \|$", page, re.M)
    return {kind: (set(re.findall(r"`(\w+)`", must)), set(re.findall(r"`(\w+)`", may))) for kind, must, may in rows}


def is_entry(data: bytes, table: dict[str, tuple[set[str], set[str]]]) -> bool:
    """Canonical, not too long, of the table, and every field within the shapes of section 4."""
    entry = json.loads(data)
    spelt = json.dumps(entry, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()
    if spelt != data or len(data) > 4096 or entry.get("v") != 1 or entry.get("type") not in table or entry.get("n", 0) < 1:
        return False
    must, may = table[entry["type"]]
    must = must | {"v", "type", "at", "source", "n"}
    if not must <= set(entry) <= must | may or entry.get("through", entry["n"]) < entry["n"]:
        return False
    return all(has_shape(name, value) for name, value in entry.items())


def has_shape(name: str, value: object) -> bool:
    if isinstance(value, bool):
        return name == "weaker"
    if isinstance(value, int):
        return 0 <= value < 2**53
    if isinstance(value, list):
        return name == "range" and len(value) == 2 and all(type(item) is int for item in value) and 0 <= value[0] <= value[1]
    word, time = r"(?!.*\d{4})[a-z][a-z0-9_-]{0,31}", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    shapes = [r"[0-9a-f]{64}", r"[0-9a-f]{32}" if name in ("what", "hold") else r"[0-9a-f]{16}", time, word]
    if name in ("type", "event"):
        shapes = [r"[A-Z][A-Za-z]+"]
    elif name in ("origin", "previous_origin"):
        shapes = [r"[a-z0-9][a-z0-9./-]{0,127}"]
    elif name == "group":
        shapes = [word + r"/\d{4}-\d\d-\d\d"]
    elif name == "suite":
        shapes = ["MLKEM768-X25519, HKDF-SHA256, AES-256-GCM"]
    return isinstance(value, str) and any(re.fullmatch(shape.replace(r"(?!.*\d{4})", "") if name == "group" else shape, value) for shape in shapes)


TABLE = table_of(PAGE)
ENTRIES = [text.encode() for text in VECTORS["entries"]]


def test_the_page_has_the_types_that_the_writer_and_the_verifier_have():
    from callseal.audit import entry as writer
    from callseal_verify import entries as verifier

    assert {kind: (set(must), set(may)) for kind, (must, may) in writer.TYPES.items()} == TABLE
    assert {kind: (set(must.split()), set(may.split())) for kind, (must, may) in verifier.TYPES.items()} == TABLE
    assert set(verifier.TEXTS) | verifier.COUNTS | {"weaker", "range"} == set(writer.FIELDS)


@pytest.mark.parametrize("log", VECTORS["logs"], ids=lambda log: f"size {log['size']}")
def test_every_root_checkpoint_and_file_of_the_vectors_is_read_the_same(log, record_property):
    entries = ENTRIES[: log["size"]]
    origin, size, root = open_checkpoint(log["checkpoint"], VECTORS["vkey"])
    assert (origin, size, root.hex()) == (VECTORS["origin"], log["size"], log["root"])
    assert mth(entries) == root
    assert {path: hashlib.sha256(data).hexdigest() for path, data in files_of(entries).items()} == log["files"]


def test_every_entry_of_the_vectors_is_one_and_none_of_the_faulty_is():
    assert all(is_entry(data, TABLE) for data in ENTRIES)
    assert [fault for fault, text in VECTORS["refused"].items() if is_entry(text.encode(), TABLE)] == []


def test_a_checkpoint_with_another_size_is_not_read():
    note = VECTORS["logs"][3]["checkpoint"]
    with pytest.raises(InvalidSignature):
        open_checkpoint(note.replace("\n7\n", "\n8\n"), VECTORS["vkey"])


def test_the_key_and_the_details_are_those_of_the_vectors():
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(VECTORS["seed"])).public_key().public_bytes_raw()
    assert base64.b64decode(VECTORS["vkey"].split("+", 2)[2]) == b"\x01" + key
    for case in VECTORS["details"]:
        digest = hashlib.sha256(b"callseal/v1/detail" + bytes.fromhex(case["salt"]) + case["text"].encode())
        assert digest.hexdigest() == case["detail"]
