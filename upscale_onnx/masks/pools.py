"""Pools of channels: what is ranked, and which layers have it.

Where each layer chooses for itself a pool is one layer's channels. Where layers must agree a pool is the classes
that they share, and each class scores what it means to all of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from upscale_onnx.masks.select import common_scores, lowest_count
from upscale_onnx.types import BoolArray, FloatArray, IntArray

Ids: TypeAlias = NDArray[np.integer[Any]]
Scores: TypeAlias = Mapping[str, FloatArray]  # by weight, one per channel
Masks: TypeAlias = Mapping[str, BoolArray]  # by weight, True = kept
Groups: TypeAlias = Sequence[Sequence[tuple[str, Ids]]]


@dataclass(frozen=True, eq=False)
class Pool:
    """Classes 0 to n - 1 that are ranked together.

    scores: (n,), the lowest go first. members: by weight, the class of each of its channels. own: by weight, its
    own score of each of its channels.
    """

    scores: FloatArray
    members: Mapping[str, Ids]
    own: Scores

    @property
    def size(self) -> int:
        """The number n of classes."""
        return int(self.scores.size)

    @property
    def channels(self) -> IntArray:
        """How many channels of all members belong to each class, of shape (n,)."""
        return np.bincount(np.concatenate(list(self.members.values())), minlength=self.size).astype(np.int64)

    def kept(self, count: int, least: int = 1) -> BoolArray:
        """Mask (True = kept) over the classes that prunes the `count` lowest. A member that would keep fewer than
        `least` channels keeps its `least` best ones."""
        kept = lowest_count(self.scores, count)
        for weight, ids in self.members.items():
            missing = min(least, ids.size) - int(kept[ids].sum())
            if missing > 0:
                best = np.argsort(-np.nan_to_num(self.own[weight], nan=np.inf), kind="stable")
                kept[ids[[channel for channel in best if not kept[ids[channel]]][:missing]]] = True
        return kept

    def masks(self, kept: BoolArray) -> dict[str, BoolArray]:
        """`kept` as a mask of each member's channels."""
        return {weight: kept[ids] for weight, ids in self.members.items()}


def alone(weight: str, scores: FloatArray) -> Pool:
    """The pool of a layer that chooses for itself."""
    return Pool(scores, {weight: np.arange(scores.size)}, {weight: scores})


def pools(scores: Scores, groups: Groups = (), ignored: Collection[str] = ()) -> list[Pool]:
    """Pools of the scored weights: one for each of the `groups` that must agree, one for each weight in none.

    A weight in several groups follows the first. A group with an ignored weight has no pool, since all its layers
    must keep what one of them keeps.
    """
    found: list[Pool] = []
    seen: set[str] = set()
    for group in groups:
        members: dict[str, Ids] = {}
        for weight, ids in group:
            if weight in scores and weight not in seen:
                members.setdefault(weight, ids)
        seen |= members.keys()
        if members and not any(weight in ignored for weight, _ in group):
            found.append(shared(members, scores))
    return found + [alone(weight, values) for weight, values in scores.items() if weight not in seen | set(ignored)]


def shared(members: Mapping[str, Ids], scores: Scores) -> Pool:
    """The pool of layers that must agree."""
    classes, dense = np.unique(np.concatenate(list(members.values())), return_inverse=True)
    parts = np.split(dense, np.cumsum([ids.size for ids in members.values()])[:-1])
    own = {weight: scores[weight] for weight in members}
    ids = dict(zip(members, parts, strict=True))
    return Pool(common_scores(list(own.values()), parts, classes.size), ids, own)
