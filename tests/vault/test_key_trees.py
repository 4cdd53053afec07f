"""Key trees: what is punctured is gone, what is not is unchanged, and a cover gives its range and nothing else."""

import itertools
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from callseal.errors import Destroyed, InternalError, LimitExceeded, RequestError, TamperedError
from callseal.vault.expand import expand, expand_into
from callseal.vault.forward import ForwardTree
from callseal.vault.tree import DEPTH, LAST_LEAF, KeyTree, Node

SEED = bytes(range(32))
WHOLE = KeyTree.from_seed(SEED)
leaves = st.one_of(st.integers(0, 40), st.integers(0, LAST_LEAF), st.integers(LAST_LEAF - 40, LAST_LEAF))


def derivable(tree: KeyTree, index: int) -> bool:
    try:
        tree.leaf(index)
    except Destroyed:
        return False
    return True


def test_a_leaf_is_the_walk_from_the_seed_by_its_bits() -> None:
    key = SEED
    index = 0x8000_0003
    for bit in f"{index:032b}":
        pair = expand(key, "tree", 64)
        key = pair[32:] if bit == "1" else pair[:32]
    assert WHOLE.leaf(index) == key


def test_expand_into_writes_what_expand_returns() -> None:
    out = bytearray(64)
    expand_into(bytearray(SEED), "tree", out)
    assert out == expand(SEED, "tree", 64)
    assert expand(SEED, "dek", 32) != expand(SEED, "meta", 32)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(InternalError):
        expand(bytes(length), "tree", 64)


@given(st.lists(leaves, min_size=1, max_size=6, unique=True), leaves)
@settings(max_examples=60, deadline=None)
def test_what_is_punctured_is_gone_and_every_other_leaf_is_unchanged(punctured: list[int], other: int) -> None:
    tree = KeyTree.from_seed(SEED)
    for index in punctured:
        tree.puncture(index)
    for index in punctured:
        with pytest.raises(Destroyed):
            tree.leaf(index)
        with pytest.raises(Destroyed):
            tree.puncture(index)
        assert not any(node.first <= index <= node.last for node in tree.nodes)
    for index in {other, *(index ^ 1 for index in punctured)} - set(punctured):
        assert tree.leaf(index) == WHOLE.leaf(index)


@given(leaves, leaves)
@settings(max_examples=80, deadline=None)
def test_a_cover_gives_its_range_and_nothing_else_in_the_fewest_nodes(one: int, other: int) -> None:
    first, last = sorted((one, other))
    nodes = WHOLE.cover(first, last)
    assert nodes[0].first == first and nodes[-1].last == last
    assert all(after.first == before.last + 1 for before, after in itertools.pairwise(nodes))
    fewer = [(a, b) for a, b in itertools.pairwise(nodes) if a.depth == b.depth and a.prefix ^ 1 == b.prefix]
    assert not fewer, "two siblings stand where their parent would do"
    given_tree = KeyTree.from_nodes(nodes)
    for index in {first, last, (first + last) // 2}:
        assert given_tree.leaf(index) == WHOLE.leaf(index)
    for index in (first - 1, last + 1):
        assert not 0 <= index <= LAST_LEAF or not derivable(given_tree, index)


def test_a_cover_leaves_out_what_was_punctured() -> None:
    tree = KeyTree.from_seed(SEED)
    tree.puncture(5)
    given_tree = KeyTree.from_nodes(tree.cover(3, 7))
    assert [index for index in range(10) if derivable(given_tree, index)] == [3, 4, 6, 7]
    with pytest.raises(Destroyed):
        tree.cover(5, 5)


@pytest.mark.parametrize("bounds", [(-1, 3), (3, 2), (0, LAST_LEAF + 1)])
def test_a_cover_of_no_range_is_refused(bounds: tuple[int, int]) -> None:
    with pytest.raises(RequestError):
        WHOLE.cover(*bounds)


@given(st.lists(leaves, max_size=4, unique=True))
@settings(max_examples=30, deadline=None)
def test_a_tree_is_written_in_one_form_and_read_again(punctured: list[int]) -> None:
    tree = KeyTree.from_seed(SEED)
    for index in punctured:
        tree.puncture(index)
    again = KeyTree.from_bytes(tree.to_bytes())
    assert again.nodes == tree.nodes and again.to_bytes() == tree.to_bytes()
    assert KeyTree.from_nodes(reversed(tree.nodes)).to_bytes() == tree.to_bytes()


def test_a_tree_written_in_any_other_form_is_refused() -> None:
    tree = KeyTree.from_seed(SEED)
    tree.puncture(9)
    good = tree.to_bytes()
    first, second = good[4:41], good[41:78]
    swapped = good[:4] + second + first + good[78:]
    repeated = good[:4] + first + first + good[78:]
    deep = good[:4] + bytes([33]) + good[5:]
    wide = good[:5] + b"\xff" + good[6:]
    for bad in (good[:-1], good + b"\x00", good[4:], b"", swapped, repeated, deep, wide):
        with pytest.raises(TamperedError):
            KeyTree.from_bytes(bad)


def test_nodes_that_overlap_are_refused() -> None:
    left, _right = WHOLE.nodes[0].children()
    with pytest.raises(TamperedError):
        KeyTree.from_nodes([*WHOLE.nodes, left])


def test_a_node_shows_its_place_and_never_its_key() -> None:
    assert repr(Node(3, 5, SEED)) == "Node(depth=3, prefix=0x5)"


def test_the_forward_tree_gives_the_leaves_of_the_seed_in_order_and_wipes_the_seed() -> None:
    seed = bytearray(SEED)
    forward = ForwardTree(seed)
    assert seed == bytes(32)
    out = bytearray(32)
    for index in range(70):
        assert forward.next_leaf(out) == index
        assert out == WHOLE.leaf(index)


def test_the_forward_tree_holds_what_derives_later_leaves_and_nothing_else() -> None:
    forward = ForwardTree(bytearray(SEED))
    out = bytearray(32)
    for index in range(40):
        forward.next_leaf(out)
        held = {bytes(forward._node(depth)) for depth in range(33) if any(forward._node(depth))}
        assert held == {node.key for node in WHOLE.cover(index + 1, LAST_LEAF)}
        assert not any(forward._pair) and not any(forward._path)


def test_a_forward_tree_that_was_closed_holds_nothing_and_gives_nothing() -> None:
    forward = ForwardTree(bytearray(SEED))
    out = bytearray(32)
    forward.next_leaf(out)
    forward.close()
    assert not any(forward._held)
    with pytest.raises(LimitExceeded):
        forward.next_leaf(out)


class PuncturedTree(RuleBasedStateMachine):
    """Puncture, cover, write and read in any order, against a plain set of what is gone."""

    def __init__(self) -> None:
        super().__init__()
        self.seed = os.urandom(32)
        self.whole = KeyTree.from_seed(self.seed)
        self.tree = KeyTree.from_seed(self.seed)
        self.gone: set[int] = set()

    @rule(index=st.integers(0, 63))
    def puncture(self, index: int) -> None:
        if index in self.gone:
            with pytest.raises(Destroyed):
                self.tree.puncture(index)
        else:
            self.tree.puncture(index)
            self.gone.add(index)

    @rule()
    def write_and_read(self) -> None:
        self.tree = KeyTree.from_bytes(self.tree.to_bytes())

    @rule(first=st.integers(0, 63), length=st.integers(0, 20))
    def cover(self, first: int, length: int) -> None:
        wanted = set(range(first, first + length + 1)) - self.gone
        if not wanted:
            with pytest.raises(Destroyed):
                self.tree.cover(first, first + length)
            return
        given_tree = KeyTree.from_nodes(self.tree.cover(first, first + length))
        for index in range(max(0, first - 2), first + length + 3):
            assert derivable(given_tree, index) == (index in wanted)

    @invariant()
    def only_what_was_punctured_is_gone(self) -> None:
        for index in self.gone:
            assert not derivable(self.tree, index)
        for index in set(range(0, 66, 5)) - self.gone:
            assert self.tree.leaf(index) == self.whole.leaf(index)


TestPuncturedTree = PuncturedTree.TestCase
TestPuncturedTree.settings = settings(max_examples=12, stateful_step_count=12, deadline=None)


def test_every_leaf_has_depth_32() -> None:
    assert DEPTH == 32 and KeyTree.from_seed(SEED).cover(7, 7)[0].depth == 32
