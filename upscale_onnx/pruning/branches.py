"""Whole branches in masks for a latency: residual blocks that are left out, so that other layers keep more channels.

Where values have a way around a layer, leaving out the whole branch that it ends may harm outputs less than taking as
much time from channels everywhere. Branches are ranked by the harm that leaving one out does, without repair, for each
predicted millisecond. They go one after another; channels save what is missing; outputs of the repaired models decide.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx

from upscale_onnx.channels.analysis import Analysis
from upscale_onnx.errors import ArgumentError
from upscale_onnx.masks.aware.allocator import Choice
from upscale_onnx.masks.branches import branches, weights_in_front_of_sums
from upscale_onnx.masks.decisions import decisions
from upscale_onnx.masks.groups import mask_groups
from upscale_onnx.masks.mask_model import write_masks
from upscale_onnx.masks.patterns import matching
from upscale_onnx.masks.pools import Masks
from upscale_onnx.masks.prunable import prunable_targets
from upscale_onnx.model import infer_shapes
from upscale_onnx.pruning.task import Task

# Outputs of so many more branches may be worse before no further one is tried.
_PATIENCE = 2


def with_branches(
    task: Task, analysis: Analysis, predicted_ms: Callable[[Masks], float], choose: Callable[[Masks], Choice]
) -> Masks:
    """The masks that harm outputs least: those that `choose` adds to none, one, two, … branches that are left out.

    predicted_ms: the predicted time of the model with masks. choose: makes the masks that reach the latency, given
    those of branches; raises ArgumentError where none do.

    Raises: ArgumentError, that of `choose`, where the latency cannot be reached.
    """
    ranked = _ranked(task, analysis, predicted_ms)
    if not ranked:
        return choose({}).masks
    assert task.judge is not None, "branches are ranked by calibration data"
    best: Masks | None = None
    least, worse = np.inf, 0
    gone: Masks = {}
    problem: ArgumentError | None = None
    for number, branch in enumerate(({}, *ranked)):
        if task.progress is not None:
            task.progress("choose branches", number / (len(ranked) + 1))
        gone = {**gone, **branch}
        try:
            choice = choose(gone)
        except ArgumentError as error:
            problem = error
            continue
        rated = task.judge(task.masked(choice.masks)[0])
        if best is None or rated < least:
            best, least, worse = choice.masks, rated, 0
        else:
            worse += 1
        if worse == _PATIENCE or choice.importance == 0:  # no channel has to go any longer
            break
    if best is None:
        assert problem is not None, "there is at least one trial"
        raise problem
    return best


def _ranked(task: Task, analysis: Analysis, predicted_ms: Callable[[Masks], float]) -> list[Masks]:
    """Masks that leave out one branch each, those first that harm outputs least for each millisecond."""
    found = _branches(task, analysis) if task.harm is not None else []
    if not found or task.harm is None:
        return []
    harm, whole = task.harm(), predicted_ms({})
    saved = [whole - predicted_ms(masks) for masks in found]
    harms = [harm(write_masks(task.model, masks)[0]) for masks in found]
    order = sorted((one for one in range(len(found)) if saved[one] > 0), key=lambda one: harms[one] / saved[one])
    return [found[one] for one in order]


def _branches(task: Task, analysis: Analysis) -> list[Masks]:
    """Masks that leave out one branch each, by the last layer of the branch."""
    ends = weights_in_front_of_sums(analysis)
    targets = [target for target in prunable_targets(task.model, "input") if target.weight in ends]
    ignored = matching(targets, task.options.prune.ignore)
    tied = {weight for group in mask_groups(analysis, task.model, "input", "unconstrained") for weight, _ in group}
    targets = [target for target in targets if target.weight not in ignored and target.weight not in tied]
    masks: list[Masks] = [{target.weight: np.zeros(target.channels("input"), np.bool_)} for target in targets]

    def without(place: int | None) -> onnx.ModelProto:
        return task.model if place is None else write_masks(task.model, masks[place])[0]

    found = branches(decisions(targets, "input"), infer_shapes(task.model), without) if targets else {}
    return [masks[place] for place in found]
