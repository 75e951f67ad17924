"""The table of a model's zeros."""

from __future__ import annotations

from collections.abc import Sequence

from upscale_onnx.report.rows import Cell, Table, facts_of
from upscale_onnx.results import Sparsified, Sparsity, TensorSparsity


def sparsity_table(result: Sparsity, facts: Sequence[tuple[str, Cell]] = ()) -> Table:
    """One row per tensor; the facts are totals over all tensors, and `facts`."""
    columns = ("tensor", "shape", "zeros", "size", "share", "zero_inputs", "zero_outputs")
    totals = facts_of(result, "zeros", "size", "share")
    return Table("sparsity", "Sparsity", columns, tuple(map(_row, result.tensors)), (*totals, *facts))


def sparsified_table(found: Sparsified) -> Table:
    """One row per pruned tensor: how many of its entries are pruned."""
    columns = ("tensor", "pruned", "size", "share")
    rows = tuple(
        (name, int((~kept).sum()), kept.size, float((~kept).mean()) if kept.size else 0.0)
        for name, kept in found.masks.items()
    )
    return Table("sparsified", "Sparsified", columns, rows, (("skipped_tensors", len(found.skipped)),))


def _row(tensor: TensorSparsity) -> tuple[Cell, ...]:
    return (
        tensor.name,
        "x".join(map(str, tensor.shape)),
        tensor.zeros,
        tensor.size,
        tensor.share,
        None if tensor.zero_inputs is None else f"{tensor.zero_inputs}/{tensor.inputs}",
        None if tensor.zero_outputs is None else f"{tensor.zero_outputs}/{tensor.outputs}",
    )
