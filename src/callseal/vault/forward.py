"""A key tree walked forwards only: the sealing side, which cannot go back.

docs/spec/keys.md section 3.
Invariants: what is held derives the leaves not yet given and no other; at most 32 nodes are held; every key is in a buffer of
this object, is derived straight into it, and is overwritten when it has been used. No key is ever a `bytes` object.
"""

from callseal.errors import InternalError, LimitExceeded
from callseal.vault.expand import KEY_LENGTH, expand_into, wipe
from callseal.vault.tree import DEPTH


class ForwardTree:
    """The leaves 0, 1, 2 … of a seed, each given once."""

    def __init__(self, seed: bytearray) -> None:
        """Takes the 32-byte seed and wipes the caller's buffer."""
        if len(seed) != KEY_LENGTH:
            raise InternalError(f"expected a seed of {KEY_LENGTH} bytes, got {len(seed)}")
        self._held = memoryview(bytearray((DEPTH + 1) * KEY_LENGTH))
        """By depth: the node whose leaves come next at that depth. All zero where none is held."""
        self._depths = [0]
        """Which depths hold a node, the soonest last."""
        self._pair = memoryview(bytearray(2 * KEY_LENGTH))
        self._path = memoryview(bytearray(KEY_LENGTH))
        self._next = 0
        self._node(0)[:] = memoryview(seed)
        wipe(seed)

    def next_leaf(self, out: bytearray | memoryview) -> int:
        """Write the next leaf's 32 bytes into `out` and return its index. LimitExceeded after the last leaf, or once closed."""
        if not self._depths:
            raise LimitExceeded("expected a tree with leaves to come, got one that is spent or closed")
        depth = self._depths.pop()
        node = self._node(depth)
        while depth < DEPTH:
            expand_into(node, "tree", self._pair)
            wipe(node)
            depth += 1
            self._node(depth)[:] = self._pair[KEY_LENGTH:]
            self._depths.append(depth)
            node = self._path
            node[:] = self._pair[:KEY_LENGTH]
        with memoryview(out) as leaf:
            leaf[:] = node
        wipe(node)
        wipe(self._pair)
        self._next += 1
        return self._next - 1

    def close(self) -> None:
        """Forget everything."""
        wipe(self._held)
        wipe(self._pair)
        wipe(self._path)
        self._depths.clear()

    def _node(self, depth: int) -> memoryview:
        return self._held[depth * KEY_LENGTH : (depth + 1) * KEY_LENGTH]
