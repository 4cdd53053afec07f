"""The vectors of docs/spec/vectors, and what the vault seals today, read by the vault and by the second reader alike."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callseal.audit.note import open_note, parse_vkey
from callseal.errors import CallsealError, Destroyed, TamperedError
from callseal.vault import cobblestone
from callseal.vault.card import decode_card
from callseal.vault.expand import expand
from callseal.vault.object import inspect
from callseal.vault.spool import Frame, iter_frames
from callseal.vault.tree import KeyTree
from callseal.vault.unseal import PartOpener, open_header
from tests.vault import second_reader
from tests.vault.sealed_rig import keys, seal_part
from tests.vault.second_reader import Refused

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "spec" / "vectors"
KEYS: dict[str, Any] = json.loads((FOLDER / "keys.json").read_text())
SEALED: dict[str, Any] = json.loads((FOLDER / "sealed-recording.json").read_text())
PRIVATE = bytes.fromhex(SEALED["private_key"])


def open_all(content: bytes, private: bytes) -> list[tuple[int, int, bytes]]:
    """Every message of an object, by the vault: (n, kind, plaintext)."""
    reader = inspect(content)
    core, dek = open_header(reader.header, private)
    opener = PartOpener(core, KeyTree.from_seed(dek).nodes)
    return [tuple(opener.open(reader.message(row.number), reader.previous_commitment(row.number))) for row in reader.rows]


def read_all(content: bytes, private: bytes) -> list[tuple[int, int, bytes]]:
    """The same by the second reader."""
    header, _state, messages = second_reader.read_object(content)
    digest, dek = second_reader.open_header(header, private)
    leaves = {n: second_reader.leaf_of([(0, 0, dek)], n) for n, *_ in messages}
    return [(n, kind, second_reader.open_message(digest, leaves[n], message)) for n, kind, _at, message in messages]


def named(faults: list[dict[str, Any]]) -> Any:
    return pytest.mark.parametrize("fault", faults, ids=[fault["name"] for fault in faults])


def test_expansion_agrees() -> None:
    for vector in KEYS["expand"]:
        key, out = bytes.fromhex(vector["key"]), bytes.fromhex(vector["out"])
        assert expand(key, vector["label"], len(out)) == out == second_reader.ex(key, vector["label"], len(out))


def test_leaves_and_covers_agree() -> None:
    tree = KeyTree.from_seed(bytes.fromhex(KEYS["tree"]["seed"]))
    for index, leaf in KEYS["tree"]["leaves"]:
        assert tree.leaf(index).hex() == leaf == second_reader.leaf_of([(0, 0, tree.nodes[0].key)], index).hex()
    cover = KEYS["tree"]["cover"]
    assert [[node.depth, node.prefix, node.key.hex()] for node in tree.cover(cover["first"], cover["last"])] == cover["nodes"]


def test_a_punctured_tree_agrees() -> None:
    written = bytes.fromhex(KEYS["tree"]["punctured"]["written"])
    tree, nodes = KeyTree.from_bytes(written), second_reader.read_tree(written)
    assert [tuple(node) for node in tree.nodes] == nodes
    for index in KEYS["tree"]["punctured"]["gone"]:
        with pytest.raises(Destroyed):
            tree.leaf(index)
        with pytest.raises(Refused):
            second_reader.leaf_of(nodes, index)
    assert tree.leaf(6) == second_reader.leaf_of(nodes, 6)


@named(KEYS["tree"]["faults"])
def test_a_tree_with_one_fault_is_refused_by_both(fault: dict[str, str]) -> None:
    with pytest.raises(TamperedError):
        KeyTree.from_bytes(bytes.fromhex(fault["written"]))
    with pytest.raises(Refused):
        second_reader.read_tree(bytes.fromhex(fault["written"]))


def test_a_sealed_message_agrees() -> None:
    vector = KEYS["c256"]
    parameters = [bytes.fromhex(vector[name]) for name in ("key", "context", "sealed")]
    for opened in (cobblestone.decrypt(*parameters), second_reader.open_c256(*parameters)):
        assert hashlib.sha256(opened).hexdigest() == vector["sha256"]


@named(KEYS["c256"]["faults"])
def test_a_sealed_message_with_one_fault_is_refused_by_both(fault: dict[str, Any]) -> None:
    sealed = bytearray.fromhex(KEYS["c256"]["sealed"])[: fault.get("cut")]
    if "flip" in fault:
        sealed[fault["flip"]] ^= 1
    parameters = [*(bytes.fromhex(KEYS["c256"][name]) for name in ("key", "context")), bytes(sealed)]
    with pytest.raises(TamperedError):
        cobblestone.decrypt(*parameters)
    with pytest.raises(Refused):
        second_reader.open_c256(*parameters)


def verify(note: str) -> str:
    return open_note(note.encode(), [parse_vkey(KEYS["card"]["vkey"])]).text


def test_the_card_agrees() -> None:
    card = decode_card(KEYS["card"]["note"], verify)
    assert card.epoch == 7 and card.log_index == 3 and card.public_key.hex() == KEYS["card"]["public_key"]


@named(KEYS["card"]["faults"])
def test_a_card_with_one_fault_is_refused(fault: dict[str, str]) -> None:
    with pytest.raises(TamperedError):
        decode_card(fault["note"], verify)


def test_the_sealed_part_agrees() -> None:
    content = bytes.fromhex(SEALED["object"])
    expected = [(n, kind, bytes.fromhex(text)) for n, (_at, kind, text) in enumerate(SEALED["messages"])]
    assert open_all(content, PRIVATE) == read_all(content, PRIVATE) == expected
    digest, dek = second_reader.open_header(content[:1228], PRIVATE)
    assert (digest.hex(), dek.hex()) == (SEALED["core_digest"], SEALED["dek"])


def test_a_part_with_a_hole_opens_but_for_the_hole() -> None:
    content = bytes.fromhex(SEALED["hole"]["object"])
    assert list(inspect(content).missing) == SEALED["hole"]["missing"]
    assert open_all(content, PRIVATE) == read_all(content, PRIVATE)
    assert [n for n, *_ in read_all(content, PRIVATE)] == [0, 1, 3, 4, 5, 6]


@named(SEALED["object_faults"])
def test_an_object_with_one_fault_is_refused_by_both(fault: dict[str, str]) -> None:
    content = bytes.fromhex(fault["object"])
    with pytest.raises(CallsealError):
        open_all(content, PRIVATE)
    with pytest.raises(Refused):
        read_all(content, PRIVATE)


def frames_of(spool: bytes) -> list[tuple[bytes, int, int, bytes]]:
    return [tuple(item) for item in iter_frames(spool) if isinstance(item, Frame)]


def test_the_spool_agrees() -> None:
    spool = bytes.fromhex(SEALED["spool"])
    assert frames_of(spool) == list(second_reader.read_frames(spool))
    assert [at for _, _, at, _ in frames_of(spool)] == [0] + [at for at, _, _ in SEALED["messages"]]


@named(SEALED["spool_faults"])
def test_a_spool_with_one_fault_costs_the_frame_it_hit(fault: dict[str, Any]) -> None:
    spool = bytes.fromhex(fault["spool"])
    assert frames_of(spool) == list(second_reader.read_frames(spool))
    assert len(frames_of(spool)) == fault["frames"]


@given(st.booleans(), st.integers(0, 1 << 16))
@settings(max_examples=5, deadline=None)
def test_what_is_sealed_today_opens_in_both(end: bool, number: int) -> None:
    part = seal_part(part=number, end=end)
    content = part.assembled().content
    assert open_all(content, keys(7)[0]) == read_all(content, keys(7)[0])
