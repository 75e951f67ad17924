"""Masks by score, in rounds: each round prunes a part and the next scores the rest anew, up to an amount or a size."""

from __future__ import annotations

import numpy as np
import onnx

from upscale_onnx.channels.analysis import analyse
from upscale_onnx.export.sizes import remaining, size_goal
from upscale_onnx.masks.choose import Chooser, chooser
from upscale_onnx.masks.groups import agree, mask_groups
from upscale_onnx.masks.pools import Masks, Scores
from upscale_onnx.masks.reach import least_amount
from upscale_onnx.masks.rescore import without_idle
from upscale_onnx.masks.steps import Round, rounds
from upscale_onnx.masks.structures import structures
from upscale_onnx.model import import_graph, infer_shapes
from upscale_onnx.options import PruneOptions
from upscale_onnx.pruning.criteria import criterion_of
from upscale_onnx.pruning.task import Task


def chosen_masks(task: Task) -> Masks:
    """Masks by weight (True = kept), chosen by score.

    Raises:
        ArgumentError: an option does not fit the model, or a size cannot be reached.
    """
    prune = task.options.prune
    select = _chooser(task.model, prune)
    masks: Masks = {}
    for part in rounds(prune.steps, prune.schedule):
        scores = _scores(task, masks)
        masks = select.masks(scores, _amount(task, select, scores, part), part)
    return masks


def _chooser(model: onnx.ModelProto, options: PruneOptions) -> Chooser:
    isomorphic, comparable = options.scope == "isomorphic", criterion_of(options.criterion).is_comparable
    if not isomorphic and not agree(model, options.method):
        return chooser(model, options, is_comparable=comparable)
    analysis = analyse(import_graph(model), infer_shapes(model))
    groups = mask_groups(analysis, model, options.side, options.method)
    return chooser(
        model, options, groups, structures(analysis, model, options.side) if isomorphic else None, comparable
    )


def _scores(task: Task, masks: Masks) -> Scores:
    """Scores of the model under `masks`. Channels that these prune score lowest, so that they stay pruned."""
    if not masks:
        return task.scores
    return {
        weight: np.where(masks[weight], values, -np.inf) if weight in masks else values
        for weight, values in task.score(without_idle(task.masked(masks)[0], task.options.prune.side)).items()
    }


def _amount(task: Task, select: Chooser, scores: Scores, part: Round) -> float:
    """The amount to prune in the end: that of the options, or the least by which round `part` comes as near as it
    must to the size that they ask for."""
    goal = size_goal(task.options.prune)
    if goal is None:
        return task.options.prune.amount or 0.0
    share = remaining(task.model, goal, task.options)
    wanted = goal.share if part.is_last else part.share_left(goal.share)
    # Amounts that are nearly the same choose the same channels, and an export takes much longer than the choice.
    known: dict[frozenset[tuple[str, bytes]], float] = {}

    def left(amount: float) -> float:
        masks = select.masks(scores, amount, part)
        key = frozenset((weight, kept.tobytes()) for weight, kept in masks.items())
        if key not in known:
            known[key] = share(task.masked(masks)[0])
        return known[key]

    return least_amount(wanted, left, goal.name, must=part.is_last)
