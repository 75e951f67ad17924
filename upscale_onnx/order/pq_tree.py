"""PQ-trees: one small tree stands for all orders of n leaves in which each of some given subsets is contiguous.

A free node (P) allows its children in any order; a rigid node (Q) allows only their given order or its reverse. Nodes
are immutable and hold their leaves as the bits of an integer. So a subset that cannot be contiguous leaves the tree
unchanged, trees share their unchanged parts, and branches inside or outside of a subset are not entered.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from upscale_onnx.errors import ArgumentError
from upscale_onnx.types import IntArray


@dataclass(frozen=True, slots=True, eq=False)
class _Node:
    """A leaf (no children), a free node, or a rigid node with at least three children. `bits` are its leaves."""

    bits: int
    children: tuple[_Node, ...] = ()
    rigid: bool = False


_EMPTY, _PARTIAL, _FULL = 0, 1, 2


def _label(node: _Node, bits: int) -> int:
    inside = node.bits & bits
    if not inside:
        return _EMPTY
    return _FULL if inside == node.bits else _PARTIAL


def _union(children: Iterable[_Node]) -> int:
    bits = 0
    for child in children:
        bits |= child.bits
    return bits


def _free(children: Sequence[_Node]) -> list[_Node]:
    """The children joined by a free node: a list of this node, of the only child, or of nothing."""
    if len(children) < 2:
        return list(children)
    return [_Node(_union(children), tuple(children))]


def _by_label(node: _Node, bits: int) -> tuple[list[_Node], list[_Node], list[_Node]]:
    groups: tuple[list[_Node], list[_Node], list[_Node]] = ([], [], [])
    for child in node.children:
        groups[_label(child, bits)].append(child)
    return groups


def _linear(node: _Node, bits: int) -> list[_Node] | None:
    """The parts of a partial node as a row: first those outside the subset, then those inside; None if impossible."""
    outside: list[_Node] = []
    inside: list[_Node] = []  # in reverse: the part at the end of the row comes first
    while True:
        empty, partial, full = _by_label(node, bits)
        if len(partial) > 1:
            return None
        if not node.rigid:
            outside += _free(empty)
            inside += _free(full)
        else:
            children = node.children
            if _label(children[0], bits) == _FULL or _label(children[-1], bits) == _EMPTY:
                children = children[::-1]
            labels = [_label(child, bits) for child in children]
            if labels != sorted(labels):
                return None
            outside += children[: len(empty)]
            inside += children[: -len(full) - 1 : -1]
        if not partial:
            return outside + inside[::-1]
        node = partial[0]


def _reduce_free(node: _Node, bits: int) -> _Node | None:
    empty, partial, full = _by_label(node, bits)
    if not partial:
        return _Node(node.bits, (*empty, *_free(full)))
    if len(partial) > 2:
        return None
    rows = [_linear(child, bits) for child in partial]
    left, right = rows[0], rows[1] if len(rows) == 2 else []
    if left is None or right is None:
        return None
    row = (*left, *_free(full), *right[::-1])
    rigid = _Node(_union(row), row, rigid=True)
    return _Node(node.bits, (*empty, rigid)) if empty else rigid


def _reduce_rigid(node: _Node, bits: int) -> _Node | None:
    labels = [_label(child, bits) for child in node.children]
    touched = [i for i, label in enumerate(labels) if label != _EMPTY]
    first, last = touched[0], touched[-1]
    if any(label != _FULL for label in labels[first + 1 : last]):
        return None
    row: list[_Node] = list(node.children[:first])
    for i in range(first, last + 1):
        child = node.children[i]
        if labels[i] == _FULL:
            row.append(child)
            continue
        parts = _linear(child, bits)
        if parts is None:
            return None
        row += parts if i == first else parts[::-1]
    row += node.children[last + 1 :]
    return _Node(node.bits, tuple(row), rigid=True)


class PQTree:
    """The orders of leaves 0..n-1 in which every subset reduced so far is contiguous; at first, all orders.

    Source: Booth and Lueker, "Testing for the consecutive ones property, interval graphs, and graph planarity using
    PQ-tree algorithms", 1976. This reduction is linear in the tree for each subset, not in the subset alone.
    """

    def __init__(self, n: int) -> None:
        if n < 0:
            raise ArgumentError(f"the number of leaves must not be negative, got {n}")
        self.n = n
        leaves = tuple(_Node(1 << i) for i in range(n))
        self._root = leaves[0] if n == 1 else _Node((1 << n) - 1, leaves)

    def reduce(self, subset: Iterable[int]) -> bool:
        """Restrict the tree to orders in which `subset` (leaf indices) is contiguous, and return True.

        If there is no such order, leave the tree unchanged and return False.

        Raises: ArgumentError when an index is not a leaf.
        """
        bits = 0
        for leaf in subset:
            if isinstance(leaf, (bool, np.bool_)) or not 0 <= leaf < self.n:
                raise ArgumentError(f"a subset holds leaf indices 0..{self.n - 1}, got {leaf!r}")
            bits |= 1 << int(leaf)
        return self.reduce_bits(bits)

    def reduce_bits(self, bits: int) -> bool:
        """Do the same as `reduce`, for a subset given as an integer from 0 to 2**n - 1 whose bit i stands for leaf i.

        Raises: ArgumentError when `bits` is out of range.
        """
        if bits < 0 or bits >> self.n:
            raise ArgumentError(f"a subset of {self.n} leaves must fit in {self.n} bits")
        if not bits:
            return True
        path: list[tuple[_Node, int]] = []
        node = self._root
        while node.bits != bits:
            home = next((i for i, child in enumerate(node.children) if not bits & ~child.bits), None)
            if home is None:
                break
            path.append((node, home))
            node = node.children[home]
        else:
            return True  # exactly the leaves of one node: already contiguous
        reduced = _reduce_rigid(node, bits) if node.rigid else _reduce_free(node, bits)
        if reduced is None:
            return False
        for parent, i in reversed(path):
            children = (*parent.children[:i], reduced, *parent.children[i + 1 :])
            reduced = _Node(parent.bits, children, parent.rigid)
        self._root = reduced
        return True

    def frontier(self) -> IntArray:
        """Return an allowed order (n,), always the same one. It is the identity if that is allowed.

        Children of a free node are sorted by their lowest leaf. A rigid node begins at the end with the lower leaf.
        """
        order: list[int] = []
        stack = [self._root] if self.n else []
        while stack:
            node = stack.pop()
            if not node.children:
                order.append(node.bits.bit_length() - 1)
                continue
            children = node.children
            if not node.rigid:
                children = tuple(sorted(children, key=_lowest))
            elif _lowest(children[0]) > _lowest(children[-1]):
                children = children[::-1]
            stack.extend(reversed(children))
        return np.array(order, dtype=np.int64)


def _lowest(node: _Node) -> int:
    return (node.bits & -node.bits).bit_length()
