"""Masks chosen with the target in mind, for an amount or for a latency. Masks for an amount are used only where outputs
suffer no more than from flat masks.
"""

from __future__ import annotations

from dataclasses import replace

from upscale_onnx.channels.analysis import Analysis
from upscale_onnx.errors import ArgumentError
from upscale_onnx.export.planned import prepared_analysis
from upscale_onnx.masks.aware.aim import aim_at
from upscale_onnx.masks.aware.allocator import Allocator, Choice, allocator
from upscale_onnx.masks.choose import chooser
from upscale_onnx.masks.groups import mask_groups
from upscale_onnx.masks.mask_model import write_masks
from upscale_onnx.masks.patterns import matching
from upscale_onnx.masks.pools import Masks
from upscale_onnx.masks.targets import mask_targets
from upscale_onnx.model import infer_shapes
from upscale_onnx.model.operators import RECURRENT
from upscale_onnx.pruning.branches import with_branches
from upscale_onnx.pruning.measuring import measured_share
from upscale_onnx.pruning.task import Task
from upscale_onnx.timing.target_costs import chosen_costs, chosen_target, is_at_hand

# Shares of the time that masks of an amount can save. Smaller ones are tried where outputs suffer more than from flat
# masks.
_PARTS = (1.0, 0.5, 0.0)
_EXACT = 1e-9


def aware_masks(task: Task) -> Masks:
    """Masks by weight (True = kept) for the amount or the latency that is asked for.

    Raises:
        ArgumentError: a latency that pruning cannot reach. ModelError: the model cannot be run.
    """
    prune, analysis = task.options.prune, prepared_analysis(task.model, infer_shapes(task.model))
    if prune.latency is not None:
        return _for_latency(task, analysis, prune.latency)
    amount = prune.amount or 0.0
    tied = _tied(task, analysis, amount)
    chosen = _allocator(task, analysis, tied)
    if task.judge is None:
        return {**chosen.for_amount(amount).masks, **tied}
    flat = {**chosen.flat(amount), **tied}
    bar = task.judge(task.masked(flat)[0])
    for part in _PARTS:
        masks = {**chosen.for_amount(amount, part).masks, **tied}
        if task.judge(task.masked(masks)[0]) <= bar:
            return masks
    return flat


def _tied(task: Task, analysis: Analysis, amount: float) -> Masks:
    """Masks of recurrent layers, grouped convolutions and weights of several uses, with those of all layers that share
    their channels. Their times are not predicted. They lose the same units, since a unit that any of them still reads
    could not leave."""
    recurrent = {target.weight for target in mask_targets(task.model) if target.op_type in RECURRENT}
    groups = mask_groups(analysis, task.model, "input", "unconstrained")
    if recurrent:
        every = mask_groups(analysis, task.model, "input")
        groups += [group for group in every if any(weight in recurrent for weight, _ in group)]
    scores = {weight: task.scores[weight] for group in groups for weight, _ in group if weight in task.scores}
    return chooser(task.model, task.options.prune, groups).masks(scores, amount)


def _allocator(task: Task, analysis: Analysis, masked: Masks) -> Allocator:
    """The allocator of all layers but those that are `masked` already."""
    targets = {target.weight: target for target in mask_targets(task.model)}
    left_out = matching(list(targets.values()), task.options.prune.ignore) | masked.keys()
    named = {targets[weight].node: (weight, scores) for weight, scores in task.scores.items() if weight not in left_out}
    costs = chosen_costs(chosen_target(task.options.target, task.model), task.options.target)
    return allocator(analysis, costs, named, task.options.prune.amount)


def _for_latency(task: Task, analysis: Analysis, goal: float) -> Masks:
    whole = _allocator(task, analysis, {})
    target = chosen_target(task.options.target, task.model)

    def without(gone: Masks) -> Allocator:
        if not gone:
            return whole
        masked, _ = write_masks(task.model, gone)
        return _allocator(task, prepared_analysis(masked, infer_shapes(masked)), gone)

    def choose(gone: Masks) -> Choice:
        rest = without(gone)
        share = rest.full_ms / whole.full_ms if whole.full_ms > 0 else 1.0

        def for_latency(aim: float) -> Choice:
            chosen = rest.for_latency(aim / share)
            return replace(chosen, masks={**chosen.masks, **gone}, latency=chosen.latency * share)

        if not is_at_hand(target, task.options.target):
            return _predicted(goal, for_latency(goal))
        return aim_at(goal, for_latency, lambda found: measured_share(task.model, found.masks, target, task.options))

    return with_branches(task, analysis, lambda gone: without(gone).full_ms, choose)


def _predicted(goal: float, choice: Choice) -> Choice:
    """Return `choice`. Raises: ArgumentError where it is not predicted to reach the goal."""
    if choice.latency > goal + _EXACT:
        raise ArgumentError(
            f"latency {goal:g} cannot be reached: pruning all that may go is predicted to leave {choice.latency:.2f} "
            "of the input's"
        )
    return choice
