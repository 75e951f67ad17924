"""Nodes that rules ask for: what is put in place of a node, or in front of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from upscale_onnx.types import Array


@dataclass(frozen=True)
class NewNode:
    """A node to put in place of another, between the same values.

    inputs: indices of the replaced node's inputs, constants, names of values, or nodes that compute them; one that
    several read is made once. output: index of the replaced node's output. domain: of the operator.
    """

    op_type: str
    inputs: tuple[int | str | Array | NewNode, ...]
    output: int = 0
    attrs: Mapping[str, Any] = field(default_factory=dict)
    domain: str | None = None
