"""How two models differ, node by node."""

from __future__ import annotations

from dataclasses import dataclass

from upscale_onnx.results.shown import Shown

Sizes = tuple[int | str | None, ...]


@dataclass(frozen=True)
class NodeChange:
    """A node that is in one of two models only, or makes something of another shape, or has other weights.

    kind: "removed", "added" or "changed". before, after: the sizes of its first result; None where there is no such
    node, or where they are not known. parameters_before, parameters_after: elements of its constants.
    """

    node: str
    op_type: str
    kind: str
    before: Sizes | None
    after: Sizes | None
    parameters_before: int = 0
    parameters_after: int = 0


@dataclass(frozen=True)
class Differences(Shown):
    """How two models differ. same: how many nodes have the same shapes and sizes of weights in both."""

    changes: tuple[NodeChange, ...]
    same: int
