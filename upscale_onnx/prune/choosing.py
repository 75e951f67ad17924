"""Masks by score, in rounds: prune a part, score what is left anew, and so on to an amount or a size."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import onnx

from upscale_onnx.channels.analysis import analyse
from upscale_onnx.export.sizes import remaining, size_goal
from upscale_onnx.masks.choose import Chooser, Masks
from upscale_onnx.masks.groups import mask_groups
from upscale_onnx.masks.mask_model import channel_scores, chooser, write_masks
from upscale_onnx.masks.pools import Scores
from upscale_onnx.masks.reach import least_amount
from upscale_onnx.masks.rescore import without_idle
from upscale_onnx.masks.steps import Round, rounds
from upscale_onnx.masks.structures import structures
from upscale_onnx.model import import_graph, infer_shapes
from upscale_onnx.options import Options, PruneOptions

Scorer: TypeAlias = Callable[[onnx.ModelProto], Scores | None]
"""Scores by weight of a model that may be pruned already; None where the weights alone are to be scored."""


def chosen_masks(model: onnx.ModelProto, options: Options, scorer: Scorer | None = None) -> Masks:
    """Masks by weight (True = kept) of what `options` prune by score.

    scorer: for criteria that need more than the weights; it is asked anew in every round, with the model as it is
    pruned by then.

    Raises:
        ArgumentError: an option does not fit the model, or a size cannot be reached.
    """
    prune = options.prune
    select = _chooser(model, prune)
    masks: Masks = {}
    for part in rounds(prune.steps, prune.schedule):
        scores = _scores(model, masks, prune, scorer)
        masks = select.masks(scores, _amount(model, options, select, scores, part), part)
    return masks


def _chooser(model: onnx.ModelProto, options: PruneOptions) -> Chooser:
    constrained, isomorphic = options.method == "constrained", options.scope == "isomorphic"
    if not constrained and not isomorphic:
        return chooser(model, options)
    analysis = analyse(import_graph(model), infer_shapes(model))
    groups = mask_groups(analysis, model, options.side) if constrained else ()
    return chooser(model, options, groups, structures(analysis, model, options.side) if isomorphic else None)


def _scores(model: onnx.ModelProto, masks: Masks, options: PruneOptions, scorer: Scorer | None) -> Scores:
    """Scores of the model under `masks`; what they prune scores lowest, so that it stays pruned."""
    scored = without_idle(write_masks(model, masks, options.side)[0], options.side) if masks else model
    given = None if scorer is None else scorer(scored)
    scores = channel_scores(scored, options, given)
    return {
        weight: np.where(masks[weight], values, -np.inf) if weight in masks else values
        for weight, values in scores.items()
    }


def _amount(model: onnx.ModelProto, options: Options, select: Chooser, scores: Scores, part: Round) -> float:
    """What is to be pruned in the end: the amount of the options, or the least that `part` of the way to the size
    they ask for needs."""
    goal = size_goal(options.prune)
    if goal is None:
        return options.prune.amount or 0.0
    share = remaining(model, goal, options)
    wanted = goal.share if part.is_last else part.share_left(goal.share)
    return least_amount(
        wanted,
        lambda amount: share(write_masks(model, select.masks(scores, amount, part), options.prune.side)[0]),
        goal.name,
        must=part.is_last,
    )
