"""Masks that are constrained for some groups of layers and free for others, whichever loses less in the same time.

Where all that read the same channels agree on an amount, the channels go altogether. A group that is free instead
must prune more to be as fast, since what any of it reads stays: how much more is found by the predicted latency.
Then what both lose is compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from upscale_onnx.masks.aware.predicted import Predictor
from upscale_onnx.masks.pools import Masks
from upscale_onnx.masks.reach import bisected

_MOST_AMOUNT = 0.95
_HALVINGS = 6
_SLACK = 1e-9


def as_fast(
    free: Callable[[float], Masks], latency_ms: Callable[[Masks], float], amount: float, allowed_ms: float
) -> Masks | None:
    """The masks of about the least amount, from `amount` up, that take at most `allowed_ms`; None where none do.
    free: returns the masks of an amount."""
    most = max(_MOST_AMOUNT, amount)
    found = bisected(lambda asked: latency_ms(free(asked)), allowed_ms + _SLACK, amount, most, _HALVINGS)
    return None if found is None else free(found)


def mixture(
    groups: Sequence[frozenset[str]],
    constrained: Masks,
    free: Callable[[float], Masks],
    predictor: Predictor,
    amount: float,
    allowed: float = 1.0,
) -> Masks:
    """Return the masks `constrained`, with each group freed that then loses less importance in no more time.

    groups: weights that agree in `constrained`. free: returns the masks of an amount that layers choose for themselves.
    allowed: the time that a free group may take, as a share of its time when constrained.
    """
    masks = constrained
    for group in groups:
        allowed_ms = allowed * predictor.latency_ms(masks)
        other = as_fast(_freed(masks, group, free), predictor.latency_ms, amount, allowed_ms)
        if other is not None and predictor.importance(other) < predictor.importance(masks) - _SLACK:
            masks = other
    return masks


def _freed(masks: Masks, group: frozenset[str], free: Callable[[float], Masks]) -> Callable[[float], Masks]:
    """Return a function of an amount: `masks`, with `group` choosing for itself by this amount."""

    def of(amount: float) -> Masks:
        own = free(amount)
        return {**masks, **{weight: own[weight] for weight in group if weight in own}}

    return of
