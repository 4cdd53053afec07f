"""The Merkle tree of the log: hashes, roots, proofs that an entry is in it, and proofs that it only grew.

RFC 6962 section 2.1 with SHA-256. Subtrees follow draft-ietf-plants-merkle-tree-certs section 4; a plain proof is that of a
subtree which starts at 0. Invariant: a `verify_…` raises TamperedError or returns nothing.
"""

import hashlib
from collections.abc import Sequence

from callseal.errors import TamperedError

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
MAX_SIZE = 2**63 - 1


def leaf_hash(entry: bytes) -> bytes:
    """The hash of one entry (RFC 6962 section 2.1)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node (RFC 6962 section 2.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def split_point(size: int) -> int:
    """The largest power of two smaller than `size`, which is at least 2."""
    return 1 << ((size - 1).bit_length() - 1)


def root_hash(leaves: Sequence[bytes]) -> bytes:
    """The root over these leaf hashes; of none, SHA-256 of nothing."""
    if not leaves:
        return EMPTY_ROOT
    row = list(leaves)
    while len(row) > 1:
        paired = [node_hash(row[i], row[i + 1]) for i in range(0, len(row) - 1, 2)]
        row = paired + row[len(row) & ~1 :]
    return row[0]


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The audit path of leaf `index` in the tree over these leaf hashes (RFC 6962 section 2.1.1)."""
    if not 0 <= index < len(leaves):
        raise ValueError("expected an index within the tree")
    if len(leaves) == 1:
        return []
    k = split_point(len(leaves))
    if index < k:
        return [*inclusion_proof(leaves[:k], index), root_hash(leaves[k:])]
    return [*inclusion_proof(leaves[k:], index - k), root_hash(leaves[:k])]


def consistency_proof(leaves: Sequence[bytes], old_size: int) -> list[bytes]:
    """That the tree over the first `old_size` of these leaf hashes is a prefix of the whole (RFC 6962 section 2.1.2)."""
    if not 0 <= old_size <= len(leaves):
        raise ValueError("expected an old size within the tree")
    return _subproof(leaves, old_size, True) if old_size else []


def _subproof(leaves: Sequence[bytes], old_size: int, whole: bool) -> list[bytes]:
    if old_size == len(leaves):
        return [] if whole else [root_hash(leaves)]
    k = split_point(len(leaves))
    if old_size <= k:
        return [*_subproof(leaves[:k], old_size, whole), root_hash(leaves[k:])]
    return [*_subproof(leaves[k:], old_size - k, False), root_hash(leaves[:k])]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Leaf hash `leaf` stands at `index` in the tree of `size` with this root. Raises TamperedError."""
    verify_subtree_inclusion(leaf, index, 0, size, proof, root)


def verify_consistency(old_size: int, size: int, old_root: bytes, root: bytes, proof: Sequence[bytes]) -> None:
    """The tree of `size` begins with the tree of `old_size`. Raises TamperedError.

    From an empty tree to a larger one nothing is proved, so that is refused: who knows an empty tree knows nothing yet.
    """
    if old_size == 0 and (size != 0 or old_root != root):
        raise TamperedError("consistency proof: expected an old size of at least 1, or two empty trees with one root")
    verify_subtree_consistency(0, old_size, size, old_root, root, proof)


def verify_subtree_inclusion(leaf: bytes, index: int, start: int, end: int, proof: Sequence[bytes], root: bytes) -> None:
    """Leaf hash `leaf` stands at `index` in the subtree `start..end` (end excluded) with this root. Raises TamperedError."""
    _check_subtree(start, end)
    _check_hashes(leaf, *proof)
    if not start <= index < end:
        raise TamperedError(f"inclusion proof: expected an index from {start} to {end - 1}, got {index}")
    rest = list(proof)
    computed = _root_from_leaf(leaf, index - start, end - start, rest)
    if rest or computed != root:
        raise TamperedError("inclusion proof: expected the root, got another")


def verify_subtree_consistency(start: int, end: int, size: int, subroot: bytes, root: bytes, proof: Sequence[bytes]) -> None:
    """The tree of `size` with `root` holds the subtree `start..end` with `subroot`. Raises TamperedError."""
    _check_hashes(*proof)
    if not 0 <= start <= end <= size <= MAX_SIZE:
        raise TamperedError(f"consistency proof: expected a size from {end}, got {size}")
    if start == end:
        if proof or subroot != EMPTY_ROOT:
            raise TamperedError("consistency proof: expected the empty root for an empty subtree, and no hashes")
        return
    _check_subtree(start, end)
    rest = list(proof)
    part, whole = _roots_from_subtree(subroot, start, end, size, True, rest)
    if rest or part != subroot or whole != root:
        raise TamperedError("consistency proof: expected the two roots, got others")


def _root_from_leaf(leaf: bytes, index: int, size: int, rest: list[bytes]) -> bytes:
    """The root that the proof leads to; the proof's last hash is the topmost, and `rest` loses what is used."""
    if size == 1:
        return leaf
    sibling = _take(rest)
    k = split_point(size)
    if index < k:
        return node_hash(_root_from_leaf(leaf, index, k, rest), sibling)
    return node_hash(sibling, _root_from_leaf(leaf, index - k, size - k, rest))


def _roots_from_subtree(known: bytes, start: int, end: int, size: int, whole: bool, rest: list[bytes]) -> tuple[bytes, bytes]:
    """The roots of `start..end` and of the tree of `size`, as the proof has them; `known` stands in for a whole node."""
    if start == 0 and end == size:
        node = known if whole else _take(rest)
        return node, node
    sibling = _take(rest)
    k = split_point(size)
    if end <= k:
        part, left = _roots_from_subtree(known, start, end, k, whole, rest)
        return part, node_hash(left, sibling)
    if start >= k:
        part, right = _roots_from_subtree(known, start - k, end - k, size - k, whole, rest)
        return part, node_hash(sibling, right)
    part, right = _roots_from_subtree(known, 0, end - k, size - k, False, rest)
    return node_hash(sibling, part), node_hash(sibling, right)


def _take(rest: list[bytes]) -> bytes:
    if not rest:
        raise TamperedError("proof: expected more hashes")
    return rest.pop()


def _check_subtree(start: int, end: int) -> None:
    """A subtree starts at a multiple of its length rounded up to a power of two."""
    if not 0 <= start < end <= MAX_SIZE or start % (1 << (end - start - 1).bit_length()):
        raise TamperedError("proof: expected a non-empty subtree that starts at a multiple of its rounded length")


def _check_hashes(*hashes: bytes) -> None:
    if any(len(value) != HASH_BYTES for value in hashes):
        raise TamperedError(f"proof: expected hashes of {HASH_BYTES} bytes")
