"""The emitted set: the classes a rewritten graph still holds, demanded ones and padding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from upscale_onnx.channels.analysis import Analysis
from upscale_onnx.channels.demand import demand
from upscale_onnx.channels.flow import Even
from upscale_onnx.channels.grid import aligned_out, even_out
from upscale_onnx.channels.step import Step
from upscale_onnx.errors import InternalError
from upscale_onnx.plan.even_groups import even_groups
from upscale_onnx.plan.grouping import Grouper, Grouping
from upscale_onnx.types import BoolArray, FloatArray, IntArray

_MOST_ROUNDS = 100


@dataclass(frozen=True, eq=False)
class Emitted:
    """Which classes are emitted (`kept`), which of these are demanded (`live`), and which steps remain. groupings: by
    step, the groups in which contractions are computed, where that is decided."""

    kept: BoolArray
    live: BoolArray
    needed: tuple[bool, ...]
    groupings: Mapping[int, Grouping] = field(default_factory=dict)


def emitted_classes(
    analysis: Analysis,
    align: int = 1,
    whole: BoolArray | None = None,
    worth: FloatArray | None = None,
    grouper: Grouper | None = None,
) -> Emitted:
    """The smallest set that holds what is demanded, is rectangular where it must be, and fills blocks of
    `align` channels in every value that weights create, as far as there are dead channels to fill with.
    Classes in `whole` stay whatever is demanded. Dead classes with the most `worth` fill blocks first. `grouper`
    decides on the groups of contractions; without it, each keeps its groups, all of one size.

    Raises:
        InternalError: the set does not settle.
    """
    live, kept, needed = analysis.live, analysis.kept.copy(), list(analysis.needed)
    if whole is not None and whole.any():
        live, kept, needed = demand(analysis.steps, live, kept | whole, analysis.outputs)
    shared = even_groups(analysis) if align > 1 else ()
    for _ in range(_MOST_ROUNDS):
        before = int(kept.sum())
        for groups in shared:
            kept[groups.missing(kept, align, worth)] = True
        groupings = grouper.decide(kept, live, needed) if grouper is not None else {}
        for grouping in groupings.values():
            kept[grouping.inputs] = kept[grouping.outputs] = True
        for number, (step, used) in enumerate(zip(analysis.steps, needed, strict=True)):
            if used and number not in groupings:
                _fill_blocks(step, kept, align, worth)
                for even in step.flow.evens:
                    make_even(even, kept)
        if int(kept.sum()) == before:
            return Emitted(kept, live, tuple(needed), groupings)
        live, kept, needed = demand(analysis.steps, live, kept, analysis.outputs)
    raise InternalError("emitted channels did not settle")


def _fill_blocks(step: Step, kept: BoolArray, align: int, worth: FloatArray | None) -> None:
    if align <= 1 or not step.flow.creates:
        return
    values = [found.labels.ravel() for found in step.flow.outputs if found is not None and len(found.axes) == 1]
    # Rows of a grid within the node are channels of matrices of their own.
    inner = step.flow.inner
    for labels in (*values, *(inner.labels if inner is not None and len(inner.axes) == inner.rank == 2 else ())):
        present = kept[labels]
        missing = -int(present.sum()) % align
        if missing == 0 or not present.any():
            continue
        dead = labels[np.flatnonzero(~present)]
        if worth is not None:
            dead = dead[np.argsort(-worth[dead], kind="stable")]
        kept[dead[:missing]] = True


def make_even(even: Even, kept: BoolArray) -> None:
    """Mark in `kept` the fewest classes beside those in it that make the grids rectangular."""
    used: BoolArray | None = None
    if len(even.parts) > 1:
        used = np.logical_or.reduce([kept[part].any(1) for part in even.parts])
    for part in even.parts:
        if used is not None:
            _revive(part, used, kept)
        if not even.aligned and part.ndim == 2:
            _fill_rows(part, kept)
        present = kept[part]
        grown = aligned_out(present) if even.aligned else even_out(present)
        if grown.sum() > present.sum():
            kept[part[grown]] = True


def _fill_rows(part: IntArray, kept: BoolArray) -> None:
    """Fill rows that hold less than others by whole classes, where some have several entries in a row: pairs of
    features that are rotated together. Filled entry by entry, a row would hold more than the others then."""
    counts = kept[part].sum(1)
    for row in part[(counts > 0) & (counts < counts.max())]:
        held = kept[row]  # rows before may have filled classes of this one
        spare, sizes = np.unique(row[~held], return_counts=True)
        if (sizes > 1).any():
            kept[spare[sizes.cumsum() <= counts.max() - held.sum()]] = True


def _revive(part: IntArray, used: BoolArray, kept: BoolArray) -> None:
    empty = used & ~kept[part].any(1)
    if empty.any():
        kept[part[empty, 0]] = True
