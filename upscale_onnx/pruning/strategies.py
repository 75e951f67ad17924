"""Strategies, which choose the channels to prune, and the choice of one by options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from upscale_onnx.masks.mask_model import masked_by_file
from upscale_onnx.masks.pools import Masks
from upscale_onnx.options import Options, PruneOptions
from upscale_onnx.pruning.aware import aware_masks
from upscale_onnx.pruning.choosing import chosen_masks
from upscale_onnx.pruning.hybrid import hybrid_masks
from upscale_onnx.pruning.task import Masked, Task


@dataclass(frozen=True)
class Strategy:
    """A way to choose channels.

    applies: whether options ask for it. mask: returns the masked model and the number of pruned channels. masks: the
    values of option `masks` that may ask for it. is_judged: whether it makes several masks and takes the best of them
    by outputs on calibration data.
    """

    applies: Callable[[Options], bool]
    mask: Callable[[Task], Masked]
    masks: tuple[str, ...] = ()
    is_judged: bool = False


def knows_target(options: Options) -> bool:
    """Whether masks are chosen with the target in mind. By default they are if an amount is given, the export is to be
    fast, each layer may choose what it reads, and no other option says how much each layer loses."""
    export, prune = options.export, options.prune
    if prune.latency is not None:
        return True
    if prune.amount is None:
        return False
    if prune.masks != "auto":
        return prune.masks == "aware"
    fast = export.prefer == "speed" and export.recipe in ("auto", "planned", "keep")
    free = prune.side == "input" and prune.method == "unconstrained"
    return fast and free and shared_out_by(prune) is None


def shared_out_by(options: PruneOptions) -> str | None:
    """The option that says how much each layer loses, if there is one."""
    names = ("scope", "amounts", "profile", "min_channels", "mask_align", "steps")
    return next((name for name in names if getattr(options, name) != getattr(PruneOptions, name)), None)


def _of_file(task: Task) -> Masked:
    assert task.options.prune.mask is not None
    stored = None if task.view is None else task.view.weights
    return masked_by_file(task.model, task.options.prune.mask, task.options.prune.side, stored)


def _by(masks: Callable[[Task], Masks]) -> Callable[[Task], Masked]:
    return lambda task: task.masked(masks(task))


# The first that applies is taken.
STRATEGIES = (
    Strategy(lambda options: options.prune.mask is not None, _of_file),
    Strategy(lambda options: options.prune.method == "hybrid", _by(hybrid_masks), is_judged=True),
    Strategy(knows_target, _by(aware_masks), ("aware",), is_judged=True),
    Strategy(lambda options: True, _by(chosen_masks), ("flat", "filled")),
)
MASKS = ("auto", *(name for strategy in STRATEGIES for name in strategy.masks))


def strategy_of(options: Options) -> Strategy:
    """The strategy that `options`, which prune something, ask for."""
    return next(strategy for strategy in STRATEGIES if strategy.applies(options))
