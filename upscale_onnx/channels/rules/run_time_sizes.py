"""Vectors of sizes that are computed at run time, of which some entries are known or do not matter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from upscale_onnx.channels.new_node import NewNode
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.errors import Reason

_FIRST_WHERE = 9


def known_entries(op: Op, index: int, count: int) -> list[int | None]:
    """The entries of a vector of `count` integers at input `index`: None for those that are not known. A size that has
    a name only is not known."""
    entries = op.shape_values[index] if index < len(op.shape_values) else None
    if entries is None:
        return [None] * count
    if len(entries) != count:
        raise Refused(Reason.UNSUPPORTED_FORM, f"{len(entries)} sizes for {count} axes")
    return [entry if isinstance(entry, int) else None for entry in entries]


def overwritten(op: Op, index: int, entries: Sequence[int | None]) -> NewNode:
    """The node that returns the vector at input `index` with `entries` in place of its own, where they are not None."""
    if op.opset < _FIRST_WHERE:
        raise Refused(Reason.DYNAMIC_PARAMETER, "sizes are computed at run time")
    given = np.asarray([entry is not None for entry in entries])
    values = np.asarray([entry or 0 for entry in entries], np.int64)
    return NewNode("Where", (given, values, index), 0)
