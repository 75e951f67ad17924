"""Masks for a compile: from a file, of one amount everywhere, or chosen with the target in mind."""

from __future__ import annotations

import functools

import onnx

from upscale_onnx.errors import ArgumentError
from upscale_onnx.export.planned import prepared_analysis
from upscale_onnx.masks.aware.aim import aim_at
from upscale_onnx.masks.aware.allocator import Allocator, Choice, allocator
from upscale_onnx.masks.checks import knows_target
from upscale_onnx.masks.mask_model import channel_scores, mask_model, write_masks
from upscale_onnx.masks.mixture import Masks
from upscale_onnx.masks.patterns import matching
from upscale_onnx.masks.pools import Scores
from upscale_onnx.masks.targets import mask_targets
from upscale_onnx.model import infer_shapes
from upscale_onnx.options import Options
from upscale_onnx.prune.choosing import Scorer, chosen_masks
from upscale_onnx.prune.hybrid import Judge, hybrid_masks
from upscale_onnx.prune.measuring import measured_share
from upscale_onnx.prune.pruned import Pruned
from upscale_onnx.timing.target_costs import chosen_costs, chosen_target, is_at_hand

# Of the time that masks of an amount are to save: less, where outputs show that accuracy would go with it.
_PARTS = (1.0, 0.5, 0.0)
_EXACT = 1e-9


def masked_model(
    model: onnx.ModelProto, options: Options, scorer: Scorer | None = None, judge: Judge | None = None
) -> tuple[onnx.ModelProto, int]:
    """A copy of `model` with the channels that `options` prune zeroed, and how many; `model` itself where they
    prune none. scorer: for criteria that need more than the weights. judge: what tells which of several masks is best,
    where there are several.

    Raises:
        ArgumentError: options that do not go together, or a latency or size that pruning cannot reach.
        ModelError: the model cannot be read or run.
    """
    pruned = pruned_model(model, options, scorer, judge)
    return pruned.model, pruned.count


def pruned_model(
    model: onnx.ModelProto, options: Options, scorer: Scorer | None = None, judge: Judge | None = None
) -> Pruned:
    """As `masked_model`, with what is needed to prune less.

    Raises:
        ArgumentError: as `masked_model`. ModelError: the model cannot be read or run.
    """
    if not options.prune.scores_channels:
        return Pruned(*mask_model(model, options), model)
    known = None if scorer is None else _remembering(scorer, model)
    masked, count = write_masks(model, _chosen(model, options, known, judge), options.prune.side)
    if options.prune.is_exact or not count:
        return Pruned(masked, count, model)
    return Pruned(masked, count, model, channel_scores(model, options.prune, _asked(known, model)))


def _chosen(model: onnx.ModelProto, options: Options, scorer: Scorer | None, judge: Judge | None) -> Masks:
    if options.prune.method == "hybrid":
        return hybrid_masks(model, options, _asked(scorer, model), judge)
    if knows_target(options):
        return _for_target(model, options, _asked(scorer, model), judge)
    return chosen_masks(model, options, scorer)


def _remembering(scorer: Scorer, model: onnx.ModelProto) -> Scorer:
    """`scorer`, which is asked only once about `model` itself: scores can take minutes."""

    @functools.cache
    def first() -> Scores | None:
        return scorer(model)

    return lambda asked: first() if asked is model else scorer(asked)


def _asked(scorer: Scorer | None, model: onnx.ModelProto) -> Scores | None:
    return None if scorer is None else scorer(model)


def _for_target(model: onnx.ModelProto, options: Options, scores: Scores | None, judge: Judge | None) -> Masks:
    if options.prune.latency is not None:
        return _for_latency(model, options, options.prune.latency, scores).masks
    amount, chosen = options.prune.amount or 0.0, _allocator(model, options, scores)
    if judge is None:
        return chosen.for_amount(amount).masks
    flat = chosen.flat(amount)
    bar = judge(write_masks(model, flat)[0])
    for part in _PARTS:
        masks = chosen.for_amount(amount, part).masks
        if judge(write_masks(model, masks)[0]) <= bar:
            return masks
    return flat


def _allocator(model: onnx.ModelProto, options: Options, given: Scores | None) -> Allocator:
    targets = {target.weight: target for target in mask_targets(model)}
    ignored = matching(list(targets.values()), options.prune.ignore)
    scores = channel_scores(model, options.prune, given)
    named = {targets[weight].node: (weight, values) for weight, values in scores.items() if weight not in ignored}
    analysis = prepared_analysis(model, infer_shapes(model))
    return allocator(analysis, chosen_costs(chosen_target(options.target), options.target), named, options.prune.amount)


def _for_latency(model: onnx.ModelProto, options: Options, goal: float, scores: Scores | None) -> Choice:
    target, chosen = chosen_target(options.target), _allocator(model, options, scores)
    if not is_at_hand(target, options.target):
        return _predicted(goal, chosen.for_latency(goal))
    return aim_at(goal, chosen.for_latency, lambda choice: measured_share(model, choice.masks, target, options))


def _predicted(goal: float, choice: Choice) -> Choice:
    """`choice`, where it is predicted to reach the goal."""
    if choice.latency > goal + _EXACT:
        raise ArgumentError(
            f"latency {goal:g} cannot be reached: all that may be pruned is predicted to leave {choice.latency:.2f} "
            "of the input's"
        )
    return choice
