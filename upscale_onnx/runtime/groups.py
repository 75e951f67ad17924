"""Groups of things that are run in one session."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def groups(
    items: Iterable[T], size_of: Callable[[T], int], most_size: int, most_items: float = math.inf
) -> Iterator[list[T]]:
    """`items`, in their order, in groups of at most this size and this many; a single one may be larger."""
    group: list[T] = []
    held = 0
    for item in items:
        size = size_of(item)
        if group and (len(group) >= most_items or held + size > most_size):
            yield group
            group, held = [], 0
        group.append(item)
        held += size
    if group:
        yield group
