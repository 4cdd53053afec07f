"""Merkle proofs against the vectors of transparency-dev/merkle, good and bad, and against proofs made here."""

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callseal.audit import merkle
from callseal.errors import TamperedError

VECTORS = Path(__file__).parents[2].parent / "shared" / "vectors" / "merkle"


def _bytes(text: str | None) -> bytes:
    return base64.b64decode(text or "")


def _verify(kind: str, case: dict) -> None:
    proof = [_bytes(node) for node in case["proof"] or []]
    if kind == "inclusion":
        merkle.verify_inclusion(_bytes(case["leafHash"]), case["leafIdx"], case["treeSize"], proof, _bytes(case["root"]))
    elif kind == "consistency":
        merkle.verify_consistency(case["size1"], case["size2"], _bytes(case["root1"]), _bytes(case["root2"]), proof)
    elif kind == "subtreeinclusion":
        leaf, root = _bytes(case["leafHash"]), _bytes(case["root"])
        merkle.verify_subtree_inclusion(leaf, case["leafIdx"], case["start"], case["end"], proof, root)
    else:
        roots = _bytes(case["root1"]), _bytes(case["root2"])
        merkle.verify_subtree_consistency(case["start"], case["end"], case["size"], *roots, proof)


@pytest.mark.skipif(not VECTORS.is_dir(), reason="the published Merkle vectors are not beside the project")
@pytest.mark.parametrize(("kind", "count"), [("inclusion", 98), ("consistency", 98), ("subtreeinclusion", 204), ("subtreeconsistency", 118)])
def test_every_published_proof_is_judged_as_published(kind, count, record_property):
    wrong, bad = [], 0
    paths = sorted((VECTORS / kind).rglob("*.json"))
    for path in paths:
        case = json.loads(path.read_text())
        bad += case["wantErr"]
        try:
            _verify(kind, case)
            refused = False
        except TamperedError:
            refused = True
        if refused != case["wantErr"]:
            wrong.append(str(path.relative_to(VECTORS)))
    record_property("published_vectors", len(paths))
    assert wrong == []
    assert len(paths) == count
    assert 0 < bad < len(paths)


@given(size=st.integers(1, 70), data=st.data())
def test_a_proof_made_here_verifies_and_with_one_bit_changed_does_not(size, data):
    leaves = [merkle.leaf_hash(str(i).encode()) for i in range(size)]
    root = merkle.root_hash(leaves)
    index = data.draw(st.integers(0, size - 1))
    old = data.draw(st.integers(1, size))
    included, grown = merkle.inclusion_proof(leaves, index), merkle.consistency_proof(leaves, old)
    merkle.verify_inclusion(leaves[index], index, size, included, root)
    merkle.verify_consistency(old, size, merkle.root_hash(leaves[:old]), root, grown)
    if included:
        position = data.draw(st.integers(0, len(included) - 1))
        included[position] = bytes([included[position][0] ^ 1]) + included[position][1:]
        with pytest.raises(TamperedError):
            merkle.verify_inclusion(leaves[index], index, size, included, root)
    if grown:
        grown[-1] = grown[-1][:-1] + bytes([grown[-1][-1] ^ 128])
        with pytest.raises(TamperedError):
            merkle.verify_consistency(old, size, merkle.root_hash(leaves[:old]), root, grown)


def test_the_roots_of_rfc_6962_and_of_its_reference_log(record_property):
    # The eight test leaves of certificate-transparency's reference tree, and the root after each.
    leaves = [b"", b"\x00", b"\x10", b"\x20\x21", b"\x30\x31", b"\x40\x41\x42\x43", bytes(range(0x50, 0x58)), bytes(range(0x60, 0x70))]
    roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ]
    hashes = [merkle.leaf_hash(leaf) for leaf in leaves]
    assert [merkle.root_hash(hashes[: i + 1]).hex() for i in range(8)] == roots
    assert merkle.root_hash([]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    record_property("published_vectors", 9)


def test_an_empty_tree_proves_nothing_about_a_larger_one():
    root = merkle.root_hash([merkle.leaf_hash(b"a")])
    with pytest.raises(TamperedError):
        merkle.verify_consistency(0, 1, merkle.EMPTY_ROOT, root, [])
