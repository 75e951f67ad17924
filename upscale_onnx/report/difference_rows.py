"""The table of the differences between two models."""

from __future__ import annotations

from upscale_onnx.report.rows import Table
from upscale_onnx.results.differences import Differences, Sizes


def differences_table(found: Differences) -> Table:
    """One row per node that differs: what it makes, and how many parameters it has."""
    rows = tuple(
        (c.node, c.op_type, c.kind, _sizes(c.before), _sizes(c.after), c.parameters_before, c.parameters_after)
        for c in found.changes
    )
    columns = ("node", "operator", "", "makes", "now", "parameters", "parameters_now")
    return Table("diff", "Differences", columns, rows, (("changed", len(rows)), ("same", found.same)))


def _sizes(sizes: Sizes | None) -> str:
    return "-" if sizes is None else f"[{', '.join('?' if size is None else str(size) for size in sizes)}]"
