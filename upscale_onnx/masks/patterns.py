"""Choosing layers by shell-style patterns of their names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from upscale_onnx.errors import ArgumentError, did_you_mean
from upscale_onnx.masks.targets import MaskTarget


def matches(target: MaskTarget, pattern: str) -> bool:
    """Whether the name of the weight or of its node matches `pattern`."""
    return fnmatchcase(target.weight, pattern) or fnmatchcase(target.node, pattern)


def matching(targets: Sequence[MaskTarget], patterns: Iterable[str]) -> frozenset[str]:
    """The weights of all targets that match one of `patterns`.

    Raises: ArgumentError where a pattern matches none.
    """
    found: set[str] = set()
    for pattern in patterns:
        hit = {target.weight for target in targets if matches(target, pattern)}
        if not hit:
            raise ArgumentError(f"no layer is called {pattern!r}{_hint(targets, pattern)}")
        found |= hit
    return frozenset(found)


def own_amounts(targets: Sequence[MaskTarget], amounts: Sequence[tuple[str, float]]) -> dict[str, float]:
    """The amount of the first matching pattern, by weight. Targets that match no pattern are left out.

    Raises: ArgumentError where a pattern matches none.
    """
    found: dict[str, float] = {}
    for pattern, amount in amounts:
        for weight in matching(targets, (pattern,)):
            found.setdefault(weight, amount)
    return found


def _hint(targets: Sequence[MaskTarget], pattern: str) -> str:
    names = [name for target in targets for name in (target.weight, target.node)]
    return did_you_mean(pattern.strip("*"), names) or ": patterns are of node or weight names, as in '*.conv1.*'"
