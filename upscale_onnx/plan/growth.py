"""Which weights should stay whole: those whose cut copies take more bytes than they save."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class StoredWeight:
    """The size of one weight of the model, before and after a rewrite.

    before: bytes of the whole weight. after: bytes of all parts cut from it. readers: the nodes that read a part.
    """

    name: str
    before: int
    after: int
    readers: frozenset[str]


def outgrown(weights: Sequence[StoredWeight], meant: frozenset[str] = frozenset()) -> frozenset[str]:
    """The weights that grew by more than their readers' other weights shrank.

    A bias that many layers share grows when it is cut for each of them. It is cut nevertheless where the layers' own
    weights shrink by more. Weights that only readers in `meant` read were made larger on purpose.
    """
    by_reader: dict[str, list[StoredWeight]] = {}
    for weight in weights:
        for reader in weight.readers:
            by_reader.setdefault(reader, []).append(weight)
    found = set()
    for weight in weights:
        beside = {other.name: other for reader in weight.readers for other in by_reader[reader]}
        grown = sum(other.after - other.before for other in beside.values())
        if weight.after > weight.before and grown > 0 and not weight.readers <= meant:
            found.add(weight.name)
    return frozenset(found)
