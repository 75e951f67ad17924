"""Which weights had better stay whole: those of which cut copies take more bytes than are saved by them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class StoredWeight:
    """What a rewrite made of one weight of the model.

    before, after: bytes it took, and bytes that all that is left of it takes. readers: the nodes that read a part.
    """

    name: str
    before: int
    after: int
    readers: frozenset[str]


def outgrown(weights: Sequence[StoredWeight]) -> frozenset[str]:
    """The weights that grew by more than their readers' other weights shrank.

    A bias that many layers have in common grows when it is cut for each, and yet is worth it: beside it stand the
    layers' own weights.
    """
    by_reader: dict[str, list[StoredWeight]] = {}
    for weight in weights:
        for reader in weight.readers:
            by_reader.setdefault(reader, []).append(weight)
    found = set()
    for weight in weights:
        beside = {other.name: other for reader in weight.readers for other in by_reader[reader]}
        grown = sum(other.after - other.before for other in beside.values())
        if weight.after > weight.before and grown > 0:
            found.add(weight.name)
    return frozenset(found)
