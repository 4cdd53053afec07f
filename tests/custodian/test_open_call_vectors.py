"""The vectors of docs/spec/open-call.md, read by the product. Run as a program, it makes them anew."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from callseal.audit import canonical
from callseal.audit.entry import detail_digest
from callseal.authn.challenge import challenge_of
from callseal.authn.passkey import Credential, RelyingParty, assertion_digest, verify_assertion, verify_registration
from callseal.custodian.exports import make_receipt
from callseal.custodian.leaf import index_key, open_meta, seal_meta, search_token
from callseal.custodian.row import decode_row, seal_row
from callseal.custodian.state import decode_state
from callseal.errors import CallsealError
from callseal.model.ids import RecordingId
from callseal.vault.cobblestone import decrypt, encrypt
from callseal.vault.expand import expand
from callseal.vault.tree import KeyTree
from tests.authenticator import Authenticator
from tests.custody_rig import Rig

FILE = Path(__file__).parents[2] / "docs" / "spec" / "vectors" / "open-call.json"
PARTY = RelyingParty("localhost", ("http://localhost:8080",))
GROUP = "sales/2026-11-24"


def load() -> dict[str, Any]:
    return dict(json.loads(FILE.read_text(encoding="utf-8")))


def test_each_request_has_its_challenge_and_each_change_another() -> None:
    for case in load()["requests"]:
        assert canonical.encode(case["request"]).hex() == case["canonical"]
        assert challenge_of(canonical.encode(case["request"])).hex() == case["challenge"]
        for changed in case["changed"]:
            assert challenge_of(canonical.encode(changed)).hex() != case["challenge"]


def test_the_assertion_verifies_and_each_change_is_refused() -> None:
    case = load()["assertion"]
    credential = Credential(bytes.fromhex(case["credential_id"]), bytes.fromhex(case["cose_key"]), 0)
    assert verify_assertion(case["response"], bytes.fromhex(case["challenge"]), PARTY, credential) == case["sign_count"]
    assert assertion_digest(case["response"]) == case["digest"]
    for fault in case["faults"]:
        with pytest.raises(CallsealError):
            verify_assertion(fault["response"], bytes.fromhex(fault["challenge"]), PARTY, credential)


def test_the_row_gives_its_key_and_each_change_is_refused() -> None:
    case = load()["row"]
    leaf = bytes.fromhex(case["leaf_key"])
    row = decode_row(bytes.fromhex(case["row"]))
    assert (row.recording.hex(), row.part, row.group, row.leaf) == (case["recording"], case["part"], case["group"], case["leaf"])
    assert row.open(leaf).hex() == case["dek"]
    for fault in case["faults"]:
        with pytest.raises(CallsealError):
            decode_row(bytes.fromhex(fault)).open(leaf)


def test_the_cover_is_that_of_the_granted_messages() -> None:
    case = load()["cover"]
    tree = KeyTree.from_seed(bytes.fromhex(case["dek"]))
    nodes = [*tree.cover(0, 0), *tree.cover(case["first"], case["last"])]
    assert [[node.depth, node.prefix, node.key.hex()] for node in nodes] == case["nodes"]


def test_metadata_words_and_tokens_are_as_written() -> None:
    vectors = load()
    case = vectors["meta"]
    assert open_meta(bytes.fromhex(case["leaf_key"]), bytes.fromhex(case["recording"]), bytes.fromhex(case["sealed"])) == case["meta"]
    for fault in case["faults"]:
        with pytest.raises(CallsealError):
            open_meta(bytes.fromhex(case["leaf_key"]), bytes.fromhex(case["recording"]), bytes.fromhex(fault))
    case = vectors["words"]
    key = expand(bytes.fromhex(case["leaf_key"]), "detail", 32)
    plain = decrypt(key, b"detail" + case["index"].to_bytes(8, "big"), bytes.fromhex(case["sealed"]))
    assert json.loads(plain[32:]) == case["words"] and detail_digest(plain[:32], plain[32:]) == case["digest"]
    case = vectors["tokens"]
    index = index_key(KeyTree.from_seed(bytes.fromhex(case["group_seed"])))
    assert [search_token(index, kind, value) for kind, value, _ in case["tokens"]] == [token for _, _, token in case["tokens"]]


def test_the_keystore_opens_with_its_cell_and_each_change_is_refused() -> None:
    case = load()["keystore"]
    cell, context = bytes.fromhex(case["cell"]), b"keystore" + case["n"].to_bytes(8, "big")
    state = decode_state(decrypt(cell, context, bytes.fromhex(case["sealed"])))
    assert (state.cell, state.origin, sorted(state.groups)) == (case["n"], case["origin"], case["groups"])
    for fault in case["faults"]:
        with pytest.raises(CallsealError):
            decode_state(decrypt(bytes.fromhex(fault["cell"]), b"keystore" + fault["n"].to_bytes(8, "big"), bytes.fromhex(fault["sealed"])))


def test_a_receipt_is_the_one_of_its_entry_and_recording() -> None:
    case = load()["receipt"]
    key = expand(bytes.fromhex(case["log_seed"]), "export", 32)
    assert make_receipt(key, case["recording"], case["index"]) == case["receipt"]
    assert make_receipt(key, case["recording"], case["index"] + 1) != case["receipt"]


def more_requests(request: dict[str, Any]) -> list[tuple[dict[str, Any], list[tuple[str, Any]]]]:
    """What a terminal began, and the word that a copy is gone: the same challenge over other members."""
    common = {name: request[name] for name in ("v", "at", "nonce", "person", "recordings")}
    gone = common | {"action": "confirm", "export": 17, "how": "holder-wrote"}
    return [
        (request | {"action": "export", "terminal": "ab" * 32}, [("terminal", "ab" * 31 + "ac"), ("action", "listen")]),
        (gone, [("export", 18), ("how", "seen-deleted"), ("action", "erase")]),
    ]


def make_receipts() -> dict[str, Any]:
    seed, recording = os.urandom(32), os.urandom(16).hex()
    receipt = make_receipt(expand(seed, "export", 32), recording, 17)
    return {"log_seed": seed.hex(), "recording": recording, "index": 17, "receipt": receipt}


def flip(data: bytes, at: int) -> str:
    changed = bytearray(data)
    changed[at] ^= 1
    return changed.hex()


def make(folder: Path) -> dict[str, Any]:
    """Draw new vectors."""
    rig = Rig(folder)
    officer, sealed = rig.enrol("compliance_officer"), rig.record()
    request = officer.begin_open(sealed)["request"]
    changes = [("action", "export"), ("from_ms", 1), ("to_ms", 3999), ("reason", "Another reason than that"), ("reason_class", "quality"),
               ("case", "x"), ("nonce", "A" * 43), ("person", "0" * 16), ("recordings", ["0" * 32]), ("v", 2)]  # fmt: skip
    asked = [(request, changes), *more_requests(request)]
    requests = [{
        "request": request, "canonical": canonical.encode(request).hex(), "challenge": challenge_of(canonical.encode(request)).hex(),
        "changed": [request | {name: value} for name, value in changes],
    } for request, changes in asked]  # fmt: skip
    key = Authenticator()
    credential = verify_registration(key.register({"challenge": "AA"}), b"\x00", PARTY)
    challenge = challenge_of(canonical.encode(request))
    response = key.sign_challenge(challenge)
    faults = [{"response": response, "challenge": bytes(32).hex()}]
    for field, value in (("origin", "https://evil.example"), ("rp_id", "evil.example"), ("user_verified", False), ("cross_origin", True)):
        before = getattr(key, field)
        setattr(key, field, value)
        faults.append({"response": key.sign_challenge(challenge), "challenge": challenge.hex()})
        setattr(key, field, before)
    leaf, recording, dek = os.urandom(32), os.urandom(16), os.urandom(32)
    row = seal_row(RecordingId(recording), 1, GROUP, 7, leaf, dek).encode()
    meta = seal_meta(leaf, recording, 1, {"participants": [{"party": "customer", "label": "10"}]})
    salt, words = os.urandom(32), {"case": "C-17", "reason": "They say the price was another one"}
    plain = canonical.encode(words)
    seed = os.urandom(32)
    index = index_key(KeyTree.from_seed(seed))
    tree = KeyTree.from_seed(dek)
    state = rig.custody.state
    stored = next(rig.place.keystores[0].glob("keystore.*")).read_bytes()
    cell = rig.cell.read(state.cell)
    return {
        "requests": requests,
        "receipt": make_receipts(),
        "assertion": {
            "credential_id": credential.credential_id.hex(), "cose_key": credential.public_key.hex(), "challenge": challenge.hex(),
            "response": response, "sign_count": 2, "digest": assertion_digest(response), "faults": faults,
        },
        "row": {
            "leaf_key": leaf.hex(), "recording": recording.hex(), "part": 1, "group": GROUP, "leaf": 7, "dek": dek.hex(), "row": row.hex(),
            "faults": [flip(row, at) for at in (0, 4, 23, 27, 28, 30, len(row) - 1)] + [row[:-1].hex(), row.hex() + "00"],
        },
        "cover": {
            "dek": dek.hex(), "first": 3, "last": 9,
            "nodes": [[node.depth, node.prefix, node.key.hex()] for node in [*tree.cover(0, 0), *tree.cover(3, 9)]],
        },
        "meta": {
            "leaf_key": leaf.hex(), "recording": recording.hex(), "sealed": meta.hex(),
            "meta": {"participants": [{"party": "customer", "label": "10"}]}, "faults": [flip(meta, 3), flip(meta, 10), flip(meta, len(meta) - 1)],
        },
        "words": {
            "leaf_key": leaf.hex(), "index": 41, "words": words, "digest": detail_digest(salt, plain),
            "sealed": encrypt(expand(leaf, "detail", 32), b"detail" + (41).to_bytes(8, "big"), salt + plain).hex(),
        },
        "tokens": {
            "group_seed": seed.hex(),
            "tokens": [[kind, value, search_token(index, kind, value)] for kind, value in (("full", "442079460123"), ("last4", "0123"))],
        },
        "keystore": {
            "cell": cell.hex(), "n": state.cell, "sealed": stored.hex(), "origin": state.origin, "groups": sorted(state.groups),
            "faults": [
                {"cell": flip(cell, 0), "n": state.cell, "sealed": stored.hex()},
                {"cell": cell.hex(), "n": state.cell + 1, "sealed": stored.hex()},
                {"cell": cell.hex(), "n": state.cell, "sealed": flip(stored, 80)},
                {"cell": cell.hex(), "n": state.cell, "sealed": stored[:-1].hex()},
            ],
        },
    }  # fmt: skip


if __name__ == "__main__":
    FILE.write_text(json.dumps(make(Path(sys.argv[1])), indent=1) + "\n", encoding="utf-8")
