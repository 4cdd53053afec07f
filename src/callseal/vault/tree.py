"""A key tree that can be punctured: the opening side, which holds nodes and derives the leaves below them.

Goldreich, Goldwasser, Micali 1986 (a puncturable PRF); docs/spec/keys.md section 3.
Invariants: no two nodes of a tree overlap; nodes are kept in the order of the leaves they cover; a punctured leaf cannot be
derived from what is left, and every other leaf is unchanged.
"""

import bisect
import itertools
import struct
from collections.abc import Iterable
from typing import NamedTuple, Self

from callseal.errors import Destroyed, LimitExceeded, RequestError, TamperedError
from callseal.vault.expand import KEY_LENGTH, expand

DEPTH = 32
"""Leaves are named by 32 bits, most significant first."""

LAST_LEAF = 2**DEPTH - 1
MAX_NODES = 1 << 20
_NODE = struct.Struct(">BI32s")
_COUNT = struct.Struct(">I")


class Node(NamedTuple):
    """A node of a key tree: its depth (0 is the root, 32 a leaf), the leading `depth` bits of its leaves, its 32-byte key."""

    depth: int
    prefix: int
    key: bytes

    @property
    def first(self) -> int:
        """The first leaf below this node."""
        return self.prefix << (DEPTH - self.depth)

    @property
    def last(self) -> int:
        """The last leaf below this node."""
        return self.first + (1 << (DEPTH - self.depth)) - 1

    def children(self) -> tuple["Node", "Node"]:
        """Left and right, `Ex(node, "tree", 64)` split in two."""
        pair = expand(self.key, "tree", 2 * KEY_LENGTH)
        depth, prefix = self.depth + 1, self.prefix << 1
        return Node(depth, prefix, pair[:KEY_LENGTH]), Node(depth, prefix | 1, pair[KEY_LENGTH:])

    def __repr__(self) -> str:
        return f"Node(depth={self.depth}, prefix={self.prefix:#x})"


class KeyTree:
    """What is left of a key tree."""

    def __init__(self, nodes: Iterable[Node] = ()) -> None:
        """From nodes in any order. TamperedError when one is malformed or two overlap; LimitExceeded above `MAX_NODES`."""
        held = sorted((_checked(node) for node in nodes), key=lambda node: node.first)
        for before, after in itertools.pairwise(held):
            if after.first <= before.last:
                raise TamperedError(f"expected nodes that do not overlap, got {before} and {after}")
        self._nodes = _limited(held)

    @classmethod
    def from_seed(cls, seed: bytes | bytearray) -> Self:
        """The whole tree of a 32-byte seed."""
        return cls([Node(0, 0, bytes(seed))])

    @classmethod
    def from_nodes(cls, nodes: Iterable[Node]) -> Self:
        """A tree of these nodes and nothing else."""
        return cls(nodes)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """In the order of their leaves."""
        return tuple(self._nodes)

    def leaf(self, index: int) -> bytes:
        """The 32-byte key of leaf `index`. Destroyed when it was punctured or never given."""
        node = self._nodes[self._find(index)]
        while node.depth < DEPTH:
            node = node.children()[_turn(node, index)]
        return node.key

    def puncture(self, index: int) -> None:
        """Forget leaf `index`, for good once the caller's storage has forgotten the tree before. Destroyed when already gone."""
        place = self._find(index)
        left: list[Node] = []
        right: list[Node] = []
        node = self._nodes[place]
        while node.depth < DEPTH:
            pair = node.children()
            turn = _turn(node, index)
            (left if turn else right).append(pair[1 - turn])
            node = pair[turn]
        self._nodes = _limited([*self._nodes[:place], *left, *reversed(right), *self._nodes[place + 1 :]])

    def cover(self, first: int, last: int) -> tuple[Node, ...]:
        """The fewest nodes that give the leaves `first` to `last` that still stand, and no other. Destroyed when none stands."""
        if not 0 <= first <= last <= LAST_LEAF:
            raise RequestError(f"expected a range of leaves within 0 to {LAST_LEAF}, got {first} to {last}")
        start = bisect.bisect_left(self._nodes, first, key=lambda node: node.last)
        end = bisect.bisect_right(self._nodes, last, key=lambda node: node.first)
        found: list[Node] = []
        for node in self._nodes[start:end]:
            _cover_below(node, first, last, found)
        if not found:
            raise Destroyed("expected leaves that still stand, got a range that was punctured")
        return tuple(found)

    def to_bytes(self) -> bytes:
        """Canonical: u32 count, then for each node in order u8 depth ‖ u32 prefix ‖ key (docs/spec/keys.md section 3)."""
        return _COUNT.pack(len(self._nodes)) + b"".join(_NODE.pack(*node) for node in self._nodes)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The tree that `to_bytes` wrote. TamperedError when it is not in the one canonical form."""
        if len(data) < _COUNT.size or len(data) != _COUNT.size + _COUNT.unpack_from(data)[0] * _NODE.size:
            raise TamperedError(f"expected a counted list of nodes, got {len(data)} bytes")
        tree = cls(Node(*fields) for fields in _NODE.iter_unpack(data[_COUNT.size :]))
        if tree.to_bytes() != data:
            raise TamperedError("expected nodes in the order of their leaves, got another order")
        return tree

    def _find(self, index: int) -> int:
        if not 0 <= index <= LAST_LEAF:
            raise RequestError(f"expected a leaf within 0 to {LAST_LEAF}, got {index}")
        place = bisect.bisect_left(self._nodes, index, key=lambda node: node.last)
        if place == len(self._nodes) or self._nodes[place].first > index:
            raise Destroyed("expected a leaf that still stands, got one that was punctured")
        return place


def _turn(node: Node, index: int) -> int:
    """0 for the left child, 1 for the right, on the way from `node` to leaf `index`."""
    return (index >> (DEPTH - 1 - node.depth)) & 1


def _cover_below(node: Node, first: int, last: int, found: list[Node]) -> None:
    if last < node.first or node.last < first:
        return
    if first <= node.first and node.last <= last:
        found.append(node)
        return
    for child in node.children():
        _cover_below(child, first, last, found)


def _checked(node: Node) -> Node:
    if not 0 <= node.depth <= DEPTH or not 0 <= node.prefix < 1 << node.depth or len(node.key) != KEY_LENGTH:
        raise TamperedError(f"expected depth 0 to {DEPTH}, a prefix of as many bits and {KEY_LENGTH} bytes of key, got {node}")
    return node


def _limited(nodes: list[Node]) -> list[Node]:
    if len(nodes) > MAX_NODES:
        raise LimitExceeded(f"expected at most {MAX_NODES} nodes in a tree, got {len(nodes)}")
    return nodes
