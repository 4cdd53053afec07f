"""A second reader of rows, grants, words and keystores, written from docs/spec/open-call.md alone, with nothing of ours.

It uses `cryptography` and the standard library, and reads the vectors as the page is written.
"""

import base64
import hashlib
import hmac
import json
import re
import struct
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

FOLDER = Path(__file__).parents[2] / "docs" / "spec"
VECTORS = json.loads((FOLDER / "vectors" / "open-call.json").read_text(encoding="utf-8"))
PAGE = (FOLDER / "open-call.md").read_text(encoding="utf-8")
ORIGINS = {"http://localhost:8080"}


class Refused(Exception):
    """It does not verify."""


def ex(key: bytes, label: str, length: int) -> bytes:
    return HKDFExpand(hashes.SHA512(), length, b"callseal/v1/" + label.encode()).derive(key)


def c256_open(key: bytes, context: bytes, sealed: bytes) -> bytes:
    """C2SP chunked-encryption, Cobblestone-256: salt (24), commitment (32), chunks of 16 KiB, the last of them short."""
    if len(sealed) < 24 + 32 + 16:
        raise Refused
    info = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\x00" + sealed[:24] + context
    derived = HKDFExpand(hashes.SHA512(), 76, info).derive(key)
    if not hmac.compare_digest(derived[44:], sealed[24:56]):
        raise Refused
    base, out, number, chunks = int.from_bytes(derived[32:44], "big"), b"", 0, sealed[56:]
    while True:
        chunk, chunks = chunks[: 16384 + 16], chunks[16384 + 16 :]
        try:
            plain = AESGCM(derived[:32]).decrypt((base ^ number).to_bytes(12, "big"), chunk, None)
        except (InvalidTag, ValueError) as error:
            raise Refused from error
        out, number = out + plain, number + 1
        if len(plain) < 16384:
            if chunks:
                raise Refused
            return out


def canonical(value: Any) -> bytes:
    """RFC 8785 for what stands in a request: names in ASCII, integers, text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def unbase64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def leaf_of(seed: bytes, index: int, depth: int = 32) -> bytes:
    """The key of the node whose leading `depth` bits are `index`."""
    key = seed
    for bit in range(depth - 1, -1, -1):
        pair = ex(key, "tree", 64)
        key = pair[32:] if index >> bit & 1 else pair[:32]
    return key


def verify_assertion(cose: bytes, response: dict[str, Any], challenge: bytes) -> int:
    """WebAuthn section 7.2 as section 3 of the page asks for it; returns the sign count."""
    inner = response["response"]
    client, data = unbase64(inner["clientDataJSON"]), unbase64(inner["authenticatorData"])
    said = json.loads(client)
    if said["type"] != "webauthn.get" or unbase64(said["challenge"]) != challenge or said["origin"] not in ORIGINS:
        raise Refused
    if said.get("crossOrigin") or "topOrigin" in said or data[:32] != hashlib.sha256(b"localhost").digest() or data[32] & 5 != 5:
        raise Refused
    x, y = cose[-67:-35], cose[-32:]  # {…, -2: x, -3: y}, each a byte string of 32 (RFC 9053 section 7.1.1)
    key = ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), ec.SECP256R1()).public_key()
    try:
        key.verify(unbase64(inner["signature"]), data + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        raise Refused from error
    return int(struct.unpack(">I", data[33:37])[0])


def open_row(leaf: bytes, row: bytes) -> bytes:
    if row[:4] != b"CSW1":
        raise Refused
    length = 29 + row[28]
    return c256_open(ex(leaf, "dek", 32), b"row" + row[:length], row[length:])


def test_requests_and_their_challenges() -> None:
    for case in VECTORS["requests"]:
        assert canonical(case["request"]).hex() == case["canonical"]
        for request, same in [(case["request"], True), *((changed, False) for changed in case["changed"])]:
            challenge = hashlib.sha256(b"callseal/v1/open" + canonical(request)).hexdigest()
            assert (challenge == case["challenge"]) is same


def test_the_assertion_and_its_faults() -> None:
    case = VECTORS["assertion"]
    cose, inner = bytes.fromhex(case["cose_key"]), case["response"]["response"]
    assert verify_assertion(cose, case["response"], bytes.fromhex(case["challenge"])) == case["sign_count"]
    client = hashlib.sha256(unbase64(inner["clientDataJSON"])).digest()
    digest = hashlib.sha256(unbase64(inner["authenticatorData"]) + client + unbase64(inner["signature"]))
    assert digest.hexdigest() == case["digest"]
    for fault in case["faults"]:
        with pytest.raises(Refused):
            verify_assertion(cose, fault["response"], bytes.fromhex(fault["challenge"]))


def test_the_row_its_faults_and_the_granted_nodes() -> None:
    case = VECTORS["row"]
    assert open_row(bytes.fromhex(case["leaf_key"]), bytes.fromhex(case["row"])).hex() == case["dek"]
    for fault in case["faults"]:
        with pytest.raises(Refused):
            open_row(bytes.fromhex(case["leaf_key"]), bytes.fromhex(fault))
    case = VECTORS["cover"]
    given: set[int] = set()
    for depth, prefix, key in case["nodes"]:
        assert leaf_of(bytes.fromhex(case["dek"]), prefix, depth).hex() == key
        given |= set(range(prefix << (32 - depth), (prefix + 1) << (32 - depth)))
    assert given == {0, *range(case["first"], case["last"] + 1)}


def test_metadata_words_and_tokens() -> None:
    case = VECTORS["meta"]
    leaf, recording = bytes.fromhex(case["leaf_key"]), bytes.fromhex(case["recording"])
    for sealed, right in [(case["sealed"], True), *((fault, False) for fault in case["faults"])]:
        data = bytes.fromhex(sealed)
        if right:
            assert json.loads(c256_open(ex(leaf, "meta", 32), b"meta" + recording + data[:4], data[4:])) == case["meta"]
        else:
            with pytest.raises(Refused):
                c256_open(ex(leaf, "meta", 32), b"meta" + recording + data[:4], data[4:])
    case = VECTORS["words"]
    key = ex(bytes.fromhex(case["leaf_key"]), "detail", 32)
    plain = c256_open(key, b"detail" + struct.pack(">Q", case["index"]), bytes.fromhex(case["sealed"]))
    assert plain[32:] == canonical(case["words"])
    assert hashlib.sha256(b"callseal/v1/detail" + plain).hexdigest() == case["digest"]
    case = VECTORS["tokens"]
    index = ex(leaf_of(bytes.fromhex(case["group_seed"]), 2**32 - 1), "index", 32)
    for kind, value, token in case["tokens"]:
        assert hmac.new(index, f"{kind}:{value}".encode(), hashlib.sha256).hexdigest() == token


def test_the_receipt_of_an_export() -> None:
    case = VECTORS["receipt"]
    data = struct.pack(">Q", case["index"]) + bytes.fromhex(case["recording"])
    assert hmac.new(ex(bytes.fromhex(case["log_seed"]), "export", 32), data, "sha256").digest() == unbase64(case["receipt"])


def test_every_member_of_a_request_stands_on_the_page() -> None:
    named = set(re.findall(r"`([a-z_]+)`", PAGE.split("## 2. The request")[1].split("## 3.")[0]))
    assert {name for case in VECTORS["requests"] for name in case["request"]} <= named


def test_the_keystore_and_its_faults() -> None:
    def read(cell: str, n: int, sealed: str) -> Any:
        return json.loads(c256_open(bytes.fromhex(cell), b"keystore" + struct.pack(">Q", n), bytes.fromhex(sealed)))

    case = VECTORS["keystore"]
    contents = read(case["cell"], case["n"], case["sealed"])
    assert (contents["cell"], contents["origin"], sorted(contents["groups"])) == (case["n"], case["origin"], case["groups"])
    named = set(re.findall(r"`([a-z_]+)`", PAGE.split("## 6. Keystore")[1].split("## 7.")[0]))
    assert set(contents) <= named, "every member stands on the page"
    for fault in case["faults"]:
        with pytest.raises(Refused):
            read(fault["cell"], fault["n"], fault["sealed"])


def test_every_reason_of_a_denial_in_the_code_stands_on_the_page() -> None:
    source = Path(__file__).parents[2] / "src" / "callseal" / "custodian"
    words: set[str] = set()
    for path in source.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        words |= set(re.findall(r'(?:why = |deny\(custody, |else |= )"([a-z]+-[a-z-]+)"', text))
    assert {"unknown-request", "proof-refused", "no-proof"} <= words
    assert not [word for word in words if f"`{word}`" not in PAGE]
