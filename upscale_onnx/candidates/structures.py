"""Whether networks are of one structure, so that they share profiles."""

from __future__ import annotations

from collections.abc import Sequence

from upscale_onnx.candidates.space import Space
from upscale_onnx.errors import ArgumentError


def check_structure(spaces: Sequence[Space]) -> None:
    """Check that all networks have the decisions of the first.

    Raises: ArgumentError where there is no network, or which decision of one differs.
    """
    if not spaces:
        raise ArgumentError("no network is given")
    first = described(spaces[0])
    for number, space in enumerate(spaces[1:], 2):
        difference = differing(first, described(space))
        if difference:
            raise ArgumentError(f"network {number} has another structure than network 1: {difference}")


def described(space: Space) -> list[str]:
    """Each decision in words: its channels, and the kinds of its layers."""
    return [str(decision) for decision in space.decisions]


def differing(first: Sequence[str], second: Sequence[str]) -> str:
    """In what two lists of decisions differ first; nothing where they are equal."""
    for number, (one, other) in enumerate(zip(first, second, strict=False), 1):
        if one != other:
            return f"decision {number} is of {other}, not of {one}"
    return "" if len(first) == len(second) else f"it has {len(second)} decisions, not {len(first)}"
