"""Which demands of a family exclude each other. A table answers for three demands, a PQ-tree for more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np

from upscale_onnx.order.demands import column_classes, row_bits
from upscale_onnx.order.pq_tree import PQTree
from upscale_onnx.types import BoolArray

# Rough costs of the checks; the unit is to look at one column class, about 60 ns. They only bound the work.
_LOOKUP_COST = 4
_REDUCE_COST = 10
_WORD_COST = 2


def iter_bits(bits: int) -> Iterator[int]:
    """Yield the positions of the set bits, lowest first."""
    while bits:
        low = bits & -bits
        yield low.bit_length() - 1
        bits ^= low


@lru_cache(maxsize=1)
def _infeasible_triples() -> BoolArray:
    """Bool array (128,): for each pattern of non-empty Venn cells of sets a, b and c, whether no order makes all three
    sets contiguous.

    Cell i (1..7) holds the elements that are in a if i & 1, in b if i & 2, and in c if i & 4. Bit i - 1 of the pattern
    is set if cell i is not empty.
    """
    table = np.zeros(128, dtype=np.bool_)
    for pattern in range(128):
        cells = [i + 1 for i in iter_bits(pattern)]
        tree = PQTree(len(cells))
        table[pattern] = not all(
            tree.reduce(leaf for leaf, cell in enumerate(cells) if cell & member) for member in (1, 2, 4)
        )
    return table


class DemandFamily:
    """Distinct demands (m, n), and which of them a single order can serve. Answers are remembered.

    A subset of the demands is an integer: bit i is set if it holds demand i. `work` counts the cost of all answers, so
    that a search can be bounded without a clock.
    """

    def __init__(self, matrix: BoolArray) -> None:
        _, first = column_classes(matrix)
        columns = matrix[:, first]
        self.size = len(matrix)
        self.work = 0
        padded = np.pad(columns, ((0, 0), (0, -columns.shape[1] % 64)))
        packed = np.ascontiguousarray(np.packbits(padded, axis=1))
        self._words = packed.view(np.uint64)  # (m, words); BLAS threads do not pay for so little work
        self._signatures = [bits for bits in row_bits(columns.T) if bits]
        self._clashes: dict[tuple[int, int], int] = {}
        self._feasible: dict[int, bool] = {}

    def clash(self, a: int, b: int) -> int:
        """Return the subset of all c for which no order serves a, b and c together. Any two demands can be served."""
        self.work += _LOOKUP_COST
        key = (a, b) if a < b else (b, a)
        if key not in self._clashes:
            self._clashes[key] = self._compute_clash(*key)
        return self._clashes[key]

    def _compute_clash(self, a: int, b: int) -> int:
        self.work += 1 + self._words.size * _WORD_COST
        in_a, in_b = self._words[a], self._words[b]
        cells = np.stack([in_a & ~in_b, ~in_a & in_b, in_a & in_b, ~in_a & ~in_b])
        inside = (self._words[:, None] & cells).any(axis=2)  # (m, 4): whether c holds an element of each cell
        outside = (~self._words[:, None] & cells[:3]).any(axis=2)  # (m, 3): whether c lacks an element of each cell
        pattern = outside @ np.array([1, 2, 4]) + inside @ np.array([16, 32, 64, 8])
        return row_bits(_infeasible_triples()[pattern][None, :])[0]

    def feasible(self, chosen: int) -> bool:
        """Return whether some order serves all demands in `chosen`."""
        if chosen not in self._feasible:
            self._feasible[chosen] = self._compute_feasible(chosen)
        return self._feasible[chosen]

    def _compute_feasible(self, chosen: int) -> bool:
        members = list(iter_bits(chosen))
        if len(members) < 3:
            return True
        if len(members) == 3:
            return not self.clash(members[0], members[1]) >> members[2] & 1
        self.work += len(self._signatures) + _REDUCE_COST * len(members) ** 2
        cells = sorted({signature & chosen for signature in self._signatures} - {0})
        if len(cells) > 2 * len(members) - 1:
            return False
        tree = PQTree(len(cells))
        return all(
            tree.reduce_bits(sum(1 << leaf for leaf, cell in enumerate(cells) if cell >> member & 1))
            for member in members
        )

    def excluded_by(self, demand: int, chosen: int) -> int:
        """Return the subset of all c that `demand` excludes together with at least one member of `chosen`."""
        excluded = 0
        for other in iter_bits(chosen):
            excluded |= self.clash(demand, other)
        return excluded

    def excluded_by_each(self, demand: int, members: Iterable[int]) -> int:
        """Return the subset of all c that `demand` excludes together with each of `members`; -1, all bits, for none."""
        excluded = -1
        for other in members:
            excluded &= self.clash(demand, other)
        return excluded

    def greedy(self, sequence: Iterable[int], chosen: int = 0, candidates: int = -1) -> int:
        """Return `chosen` with each candidate of `sequence` added, in turn, if an order still serves all of them."""
        for demand in sequence:
            bit = 1 << demand
            if chosen & bit or not candidates & bit or not self.feasible(chosen | bit):
                continue
            candidates &= ~self.excluded_by(demand, chosen)
            chosen |= bit
        return chosen
