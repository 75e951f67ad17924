"""Attention of heads within one operator: which features are read, and which heads and features must go together.

A head goes with its queries and its results; keys and values go if no head of their group is left, and all groups
keep as many heads. A feature of queries and keys goes if it is zero in either, a feature of values if it is zero or
not read. In a group of several heads, all of them keep the same features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, is_wild
from upscale_onnx.channels.flow import Even, Fresh, Misaligned, Read
from upscale_onnx.channels.rules.head_layout import Grid, Held
from upscale_onnx.types import IntArray

Inputs = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""The inputs that hold queries, keys and values."""


@dataclass(frozen=True, eq=False)
class Attended:
    """out: the result. ties, reads, evens, fixed: as in a flow."""

    out: Grid
    ties: tuple[tuple[IntArray, IntArray], ...]
    reads: tuple[Read, ...]
    evens: tuple[Even, ...]
    fixed: tuple[IntArray, ...]


def attended(at: Inputs, q: Grid, k: Grid, v: Grid, fresh: Fresh, whole: bool = False) -> Attended:
    """What attention makes of queries `(heads, features)`, keys `(groups, features)` and values `(groups, features)`.
    whole: heads keep all of their features."""
    groups = len(k.labels)
    per = len(q.labels) // groups
    keys, values = _spread(k, per), _spread(v, per)
    wild = is_wild(q.state) | is_wild(keys.state)
    silent = ((q.state == 0) | (keys.state == 0)) & ~wild & (not whole)
    broken = wild.any(1, keepdims=True) | is_wild(values.state).any(1, keepdims=True)
    content = np.where(broken, WILD, np.where(values.state == 0, 0.0, VARYING))
    out = values.labels if per == 1 else fresh(values.labels.size).reshape(values.labels.shape)
    reads = []
    for asked, key, value, made, quiet in zip(q.labels, keys.labels, values.labels, out, silent, strict=True):
        reads += [Read(index, asked[~quiet], made) for index in at[0]]
        reads += [Read(index, key[~quiet], made) for index in at[1]]
        if whole:
            reads += [Read(index, value, made) for index in at[2]] + [Read(at[0][0], made, made)]
            reads += [Read(index, key, key) for index in at[1]]
        elif per > 1:
            reads += [Read(index, value, made, np.eye(made.size, dtype=bool)) for index in at[2]]
    evens = [Even((q.labels, out)), Even((k.labels, v.labels))]
    if per == 1:
        return Attended(Grid(out, content), ((q.labels, k.labels),), tuple(reads), tuple(evens), (q.labels, out))
    evens += [Even((k.labels, q.labels.reshape(groups, -1)))]
    for shared, owned in ((k.labels, q.labels), (v.labels, out)):
        by_group = owned.reshape(groups, per, -1)
        evens.append(Even((by_group,)))
        rows = zip(shared, by_group, strict=True)
        evens += [Even((np.vstack((row[None], heads)),), aligned=True) for row, heads in rows]
    return Attended(Grid(out, content), (), tuple(reads), tuple(evens), (q.labels, k.labels, v.labels, out))


def left_of(q: Held, k: Held, v: Held, per: int, *labels: IntArray) -> Held:
    """What the result holds. per: the heads in each group. Raises `Misaligned` where queries, keys and values differ
    in what they hold."""
    groups = len(k.heads)
    owners = q.heads // per
    left = len(q.heads) // groups
    if len(q.heads) != left * groups or not np.array_equal(k.heads, v.heads):
        raise Misaligned(*labels)
    if not np.array_equal(owners, np.repeat(k.heads, left)):
        raise Misaligned(*labels)
    if not np.array_equal(q.features, np.repeat(k.features, left, 0)):
        raise Misaligned(*labels)
    return Held(q.heads, np.repeat(v.features, left, 0))


def of_one_size(k: Grid, v: Grid) -> Even:
    """Keeps as many features of values as of keys."""
    return Even((np.vstack((k.labels, v.labels)),))


def _spread(grid: Grid, per: int) -> Grid:
    """The grid with a row for each head of queries."""
    return Grid(np.repeat(grid.labels, per, 0), np.repeat(grid.state, per, 0))
