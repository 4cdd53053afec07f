"""Key trees that can be punctured: a 32-byte seed gives 2^32 leaves, and any leaf can be made impossible to derive again.

Source: Goldreich, Goldwasser, Micali 1986; docs/spec/keys.md section 2.
Children of a node are `Ex(node, "tree", 64)` split in two.
Invariants: the nodes held never overlap; what was punctured is in none of them.
"""

import struct
from collections.abc import Iterable
from typing import NamedTuple

from callseal.errors import Destroyed, TamperedError
from callseal.vault.expand import expand

DEPTH = 32
LEAVES = 1 << DEPTH
_NODE = struct.Struct(">BI32s")


class Node(NamedTuple):
    """The root of a subtree: `prefix` is its path from the root, `depth` bits long; `key` is 32 bytes."""

    depth: int
    prefix: int
    key: bytes

    def covers(self, leaf: int) -> bool:
        """Whether a leaf lies below this node."""
        return leaf >> (DEPTH - self.depth) == self.prefix

    @property
    def first(self) -> int:
        """The first leaf below this node."""
        return self.prefix << (DEPTH - self.depth)

    @property
    def last(self) -> int:
        """The last leaf below this node."""
        return self.first + (1 << (DEPTH - self.depth)) - 1

    def children(self) -> tuple["Node", "Node"]:
        """The two nodes below."""
        both = expand(self.key, "tree", 64)
        return (
            Node(self.depth + 1, self.prefix << 1, both[:32]),
            Node(self.depth + 1, self.prefix << 1 | 1, both[32:]),
        )


class KeyTree:
    """What is left of a key tree: the nodes whose leaves can still be derived."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self._nodes = sorted(nodes, key=lambda node: node.first)
        for before, after in zip(self._nodes, self._nodes[1:], strict=False):
            if before.last >= after.first:
                raise TamperedError("key tree: nodes overlap")

    @classmethod
    def from_seed(cls, seed: bytes | bytearray) -> "KeyTree":
        """A whole tree."""
        return cls([Node(0, 0, bytes(seed))])

    @classmethod
    def from_nodes(cls, nodes: Iterable[Node]) -> "KeyTree":
        """A tree of which only these nodes are known."""
        return cls(nodes)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes held, in the order of their leaves."""
        return tuple(self._nodes)

    def leaf(self, leaf: int) -> bytes:
        """The 32-byte key of a leaf. Raises Destroyed where it was punctured or never granted."""
        node = self._find(leaf)
        while node.depth < DEPTH:
            node = node.children()[leaf >> (DEPTH - 1 - node.depth) & 1]
        return node.key

    def puncture(self, leaf: int) -> None:
        """Make a leaf impossible to derive: its node is replaced by its path's siblings. Raises Destroyed."""
        node = self._find(leaf)
        at = self._nodes.index(node)
        before, after = [], []
        while node.depth < DEPTH:
            left, right = node.children()
            if leaf >> (DEPTH - 1 - node.depth) & 1:
                before.append(left)
                node = right
            else:
                after.append(right)
                node = left
        self._nodes[at : at + 1] = [*before, *reversed(after)]

    def cover(self, first: int, last: int) -> tuple[Node, ...]:
        """The fewest nodes that give the leaves first..last that are left, and no others. Raises ValueError."""
        if not 0 <= first <= last < LEAVES:
            raise ValueError(f"expected 0 <= first <= last < 2^32, got {first}..{last}")
        found: list[Node] = []
        stack = [node for node in reversed(self._nodes) if node.first <= last and node.last >= first]
        while stack:
            node = stack.pop()
            if first <= node.first and node.last <= last:
                found.append(node)
                continue
            left, right = node.children()
            stack += [child for child in (right, left) if child.first <= last and child.last >= first]
        return tuple(found)

    def to_bytes(self) -> bytes:
        """The nodes as `depth u8 ‖ prefix u32 ‖ key`, in the order of their leaves."""
        return b"".join(_NODE.pack(*node) for node in self._nodes)

    @classmethod
    def from_bytes(cls, data: bytes) -> "KeyTree":
        """Read what `to_bytes` wrote. Raises TamperedError."""
        if len(data) % _NODE.size:
            raise TamperedError("key tree: expected whole nodes")
        nodes = [Node(*fields) for fields in _NODE.iter_unpack(data)]
        for node in nodes:
            if node.depth > DEPTH or node.prefix >> node.depth:
                raise TamperedError("key tree: expected a prefix as long as its depth")
        return cls(nodes)

    def _find(self, leaf: int) -> Node:
        if not 0 <= leaf < LEAVES:
            raise ValueError(f"expected a leaf below 2^32, got {leaf}")
        for node in self._nodes:
            if node.covers(leaf):
                return node
        raise Destroyed("this key was destroyed, or was never given")
