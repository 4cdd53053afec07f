"""A key tree that is walked once, forward: the sealing side's keys, wiped as they are used.

Source: docs/spec/keys.md section 2. Invariants: the tree holds only what derives leaves not yet taken, in buffers that are
overwritten; no leaf, node or seed of a second that is sealed can be found in this process's memory.
"""

from callseal.errors import LimitExceeded
from callseal.vault.expand import expand_into, wipe
from callseal.vault.tree import DEPTH, LEAVES


class ForwardTree:
    """Leaves 0, 1, 2, … of a seed. The seed's buffer is taken over, and wiped."""

    def __init__(self, seed: bytearray) -> None:
        self._next = 0
        # the right siblings of the path to the next leaf, the deepest last: (depth, key)
        self._waiting: list[tuple[int, bytearray]] = [(0, bytearray(seed))]
        wipe(seed)

    def next_leaf(self, out: bytearray) -> int:
        """Put the next leaf's key into `out` (32 bytes) and forget how to derive it; returns its number.

        Raises LimitExceeded after 2^32 leaves or `close`.
        """
        if not self._waiting:
            raise LimitExceeded("recording: no keys are left for another second")
        depth, node = self._waiting.pop()
        both = bytearray(64)
        while depth < DEPTH:
            expand_into(node, "tree", both)
            depth += 1
            self._waiting.append((depth, both[32:]))
            node[:] = memoryview(both)[:32]
        wipe(both)
        out[:] = node
        wipe(node)
        number = self._next
        self._next += 1
        return number

    def close(self) -> None:
        """Forget every key that is left."""
        for _depth, node in self._waiting:
            wipe(node)
        self._waiting.clear()
        self._next = LEAVES
