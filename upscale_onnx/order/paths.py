"""The method of the UPSCALE paper, as a baseline: channels ordered along maximum-reward paths over their consumers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from upscale_onnx.order.conflicts import iter_bits
from upscale_onnx.order.demands import contiguous_rows, demand_matrix
from upscale_onnx.types import Array, BoolArray, IntArray

_STEPS_PER_SEARCH = 20_000


@dataclass(frozen=True, eq=False)
class PathOrder:
    """An order (n,) with, for each demand, whether it is contiguous under it."""

    order: IntArray
    satisfied: tuple[bool, ...]


def greedy_path(n: int, demands: Sequence[Array] | Array) -> PathOrder:
    """Return the order made by walking maximum-reward paths over the consumers, and which demands it serves.

    Consumers that share channels are neighbours. On a path, only successive consumers may be neighbours; its reward is
    the number of channels that it covers. A path c1, c2, ... orders the channels of c1 alone, of c1 and c2, of c2
    alone, and so on. The best path is taken and its consumers are removed, until no consumer is left. A channel keeps
    its first position, and channels that nobody demands come last. A demand inside a larger one is no step of a path:
    instead, the channels of the larger one are ordered by the same walk over all demands inside it.

    The paths are found by depth-first search that tries the step with the most reward first. The search is exact for
    small families. For large ones, it ends after a fixed number of steps, so that it is close to a greedy walk.

    Raises: ArgumentError when a demand is not a bool array of shape (n,).
    Source: Wan et al., "UPSCALE: Unconstrained Channel Pruning", ICML 2023, maximum-reward path.
    """
    matrix = demand_matrix(n, demands)
    distinct = _distinct(matrix)
    inside = _containment(distinct)
    neighbours = _neighbours(distinct)
    sizes = distinct.sum(axis=1)
    ordered: dict[int, IntArray] = {}  # channels of each demand in the order its inner demands want
    for demand in np.argsort(sizes, kind="stable").tolist():
        nodes = _maximal(np.flatnonzero(inside[:, demand]), inside)
        ordered[demand] = _walk(distinct, neighbours, nodes, ordered, np.flatnonzero(distinct[demand]))
    order = _walk(distinct, neighbours, _maximal(np.arange(len(distinct)), inside), ordered, np.arange(n))
    return PathOrder(order, tuple(contiguous_rows(matrix, order).tolist()))


def _distinct(matrix: BoolArray) -> BoolArray:
    """The distinct non-empty rows, in order of first appearance."""
    rows: dict[bytes, int] = {}
    for i, row in enumerate(matrix):
        rows.setdefault(row.tobytes(), i)
    kept = [i for i in rows.values() if matrix[i].any()]
    return matrix[kept]


def _shared(rows: BoolArray) -> NDArray[np.float32]:
    counts = rows.astype(np.float32)
    return np.asarray(counts @ counts.T, dtype=np.float32)


def _containment(rows: BoolArray) -> BoolArray:
    """Bool matrix (k, k): entry (i, j) says whether row i lies strictly inside row j. Rows must be distinct."""
    shared = _shared(rows)
    result: BoolArray = shared == np.diagonal(shared)[:, None]
    np.fill_diagonal(result, False)
    return result


def _neighbours(rows: BoolArray) -> list[dict[int, int]]:
    """For each row, the rows that it shares channels with, and how many channels they share."""
    shared = _shared(rows)
    np.fill_diagonal(shared, 0)
    return [{j: int(line[j]) for j in np.flatnonzero(line).tolist()} for line in shared]


def _maximal(members: IntArray, inside: BoolArray) -> list[int]:
    """The members that do not lie inside another member."""
    covered = inside[np.ix_(members, members)].any(axis=1)
    kept: list[int] = members[~covered].tolist()
    return kept


def _walk(
    rows: BoolArray,
    neighbours: list[dict[int, int]],
    nodes: list[int],
    ordered: dict[int, IntArray],
    channels: IntArray,
) -> IntArray:
    """`channels` in the order of paths that cover all `nodes`. Channels of no node come last."""
    pieces: list[IntArray] = []
    left = dict.fromkeys(nodes)
    while left:
        path = _best_path(rows, neighbours, list(left))
        pieces += _along(rows, path, ordered)
        for node in path:
            del left[node]
    return _first_appearances([*pieces, channels])


def _along(rows: BoolArray, path: Sequence[int], ordered: dict[int, IntArray]) -> Iterable[IntArray]:
    nothing = np.zeros(rows.shape[1], dtype=np.bool_)
    for i, node in enumerate(path):
        channels = ordered[node]
        before = rows[path[i - 1]][channels] if i else nothing[channels]
        after = rows[path[i + 1]][channels] if i + 1 < len(path) else nothing[channels]
        yield channels[before]
        yield channels[~before & ~after]
        yield channels[after]


def _first_appearances(pieces: Sequence[IntArray]) -> IntArray:
    joined = np.concatenate(pieces)
    _, first = np.unique(joined, return_index=True)
    return joined[np.sort(first)].astype(np.int64)


def _best_path(rows: BoolArray, neighbours: list[dict[int, int]], nodes: list[int]) -> list[int]:
    """The path among `nodes` with the highest reward that the bounded search finds; the first one of equals."""
    size = {node: int(rows[node].sum()) for node in nodes}
    near = {node: sum(1 << other for other in neighbours[node] if other in size) for node in nodes}
    steps_per_source = max(len(nodes), _STEPS_PER_SEARCH // len(nodes))
    best: list[int] = []
    best_reward = 0
    for source in sorted(nodes, key=lambda node: -size[node]):
        free = sum(1 << node for node in nodes if node != source)
        stack = [([source], size[source], free)]
        for _ in range(steps_per_source):
            if not stack:
                break
            path, reward, free = stack.pop()
            if reward > best_reward:
                best, best_reward = path, reward
            end = path[-1]
            steps = [(size[i] - neighbours[end][i], i) for i in iter_bits(near[end] & free)]
            free &= ~near[end]  # later consumers must not be neighbours of this one
            reachable = reward + sum(size[i] for i in iter_bits(free)) + max((gain for gain, _ in steps), default=0)
            if reachable <= best_reward:
                continue
            for gain, i in sorted(steps, key=lambda step: (step[0], -step[1])):
                stack.append(([*path, i], reward + gain, free))
    return best
