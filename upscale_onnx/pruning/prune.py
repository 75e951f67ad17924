"""The entry to pruning: from a model, options and calibration data to the pruned model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import onnx

from upscale_onnx.errors import ArgumentError
from upscale_onnx.export.sizes import remaining, size_goal, tightened
from upscale_onnx.masks.float_view import FloatView, float_view
from upscale_onnx.masks.viewed_nodes import EXPERTS
from upscale_onnx.model.bodies import all_nodes
from upscale_onnx.model.runtime_operators import RUNTIME_DOMAIN
from upscale_onnx.options import Options
from upscale_onnx.pruning.in_bodies import left_alone
from upscale_onnx.pruning.judging import few_of, harm_on, outputs_judge
from upscale_onnx.pruning.pruned import Pruned
from upscale_onnx.pruning.repairing import chooses_anew, in_basis, quick, repaired, with_repair
from upscale_onnx.pruning.scoring import scores_of
from upscale_onnx.pruning.strategies import strategy_of
from upscale_onnx.pruning.task import Judge, Task
from upscale_onnx.repair.choose import matrix_scores
from upscale_onnx.runtime.inputs import Inputs
from upscale_onnx.runtime.samples import load_calibration
from upscale_onnx.types import Progress

# By how much more than what was missed a smaller size is asked for, time after time.
_MARGINS = (0.998, 0.99, 0.98, 0.96)


def prune(model: onnx.ModelProto, options: Options, progress: Progress | None = None) -> Pruned:
    """Zero the channels of `model` that `options` ask for. The options have passed `check_masks`.

    The result is repaired at once where the masks are exact, or where repair chooses channels anew. Otherwise its
    `finished` repairs it later.

    Raises:
        ArgumentError: options that do not fit the model, a goal that pruning cannot reach, or no calibration data where
            it is needed. ModelError: the model cannot be read or run.
    """
    asked = options.prune
    if asked.repair is not None and not asked.prunes:
        raise ArgumentError("repair has no effect where nothing is pruned: say how much to prune")
    batches = () if asked.calibration is None else load_calibration(asked.calibration, model)
    if asked.repair is not None and not batches:
        raise ArgumentError(f"repair {asked.repair!r} needs calibration data: --calibration data.npz")
    if not asked.prunes:
        return Pruned(model, 0, model)
    view = viewed_for(model, options, batches)
    if view is not None:
        return _pruned_view(view, options, batches, progress)
    return _pruned_floats(in_basis(model, options, batches), options, batches, progress)


def viewed_for(model: onnx.ModelProto, options: Options, batches: Sequence[Inputs]) -> FloatView | None:
    """The view of `model` that is pruned as `options` say in place of it; None where nothing of it is viewed."""
    asked, view = options.prune, float_view(model)
    if view is None:
        return None
    if asked.criterion != "obs" or asked.mask is not None or not batches or not view.experts:
        return view
    return view.ordered(matrix_scores(view.model, batches, options.target.threads, view.experts))


def _pruned_floats(
    model: onnx.ModelProto, options: Options, batches: Sequence[Inputs], progress: Progress | None,
    view: FloatView | None = None,
) -> Pruned:  # fmt: skip
    """`model`, whose weights are floating-point numbers, pruned. view: that of a quantised model, if `model` is it."""
    if not chooses_anew(options):
        return _pruned(model, options, batches, progress, view)
    found = partial(_pruned, model, batches=batches, progress=progress, view=view)
    return _as_small_as_asked(model, options, found)


def _as_small_as_asked(model: onnx.ModelProto, options: Options, pruned: Callable[[Options], Pruned]) -> Pruned:
    """What `pruned` makes of the options. Where repair chooses other channels than the masks whose size was counted,
    and these leave more of the model, a smaller size is asked for."""
    found, goal = pruned(options), size_goal(options.prune)
    if goal is None:
        return found
    share, asked = remaining(model, goal, options), options
    for margin in _MARGINS:
        left = share(found.model)
        if left <= goal.share:
            break
        asked = tightened(asked, goal.share / left * margin)
        found = pruned(asked)
    return found


def _pruned(
    model: onnx.ModelProto, options: Options, batches: Sequence[Inputs], progress: Progress | None,
    view: FloatView | None,
) -> Pruned:  # fmt: skip
    """`model` masked, and repaired if that is asked for."""
    asked, strategy = options.prune, strategy_of(options)
    judge = _judge(model, options, batches, view) if strategy.is_judged and batches else None
    harm = None if judge is None else partial(harm_on, model, few_of(model, batches), options.target.threads)
    task = Task(model, options, partial(scores_of, options=options, batches=batches), judge, view, harm, progress)
    masked, count = strategy.mask(task)
    scores = {} if asked.is_exact or not count else task.scores
    found = Pruned(masked, count, model, scores, notes=(*left_alone(task, batches), *_of_experts(task)))
    return found if asked.repair is None else with_repair(found, options, batches, progress, view)


def _of_experts(task: Task) -> tuple[str, ...]:
    """A line where pruning or repair leaves experts within a node alone."""
    asked = task.options.prune
    if any(node.op_type in EXPERTS and node.domain == RUNTIME_DOMAIN for node in all_nodes(task.model)):
        return ("experts within one node (MoE, QMoE) in this form are not pruned: see docs/coverage.md",)
    if asked.repair == "stats" and task.view is not None and task.view.experts:
        return ("repair 'stats' moves biases, which experts within one node (MoE, QMoE) keep: repair 'lsq' fits them",)
    return ()


def _pruned_view(view: FloatView, options: Options, batches: Sequence[Inputs], progress: Progress | None) -> Pruned:
    """The quantised model with the zeros, and after repair the other weights, that pruning its view leads to."""
    found = _pruned_floats(view.model, options, batches, progress, view)
    repair, finished = found.finished, None
    if repair is not None:

        def finished(chosen: onnx.ModelProto) -> onnx.ModelProto:
            return view.written(repair(view.read(chosen)))

    exactly = options.prune.mask is not None
    return replace(found, model=view.written(found.model, exactly), finished=finished, view=view)


def _judge(model: onnx.ModelProto, options: Options, batches: Sequence[Inputs], view: FloatView | None) -> Judge:
    def made_up_for(masked: onnx.ModelProto, fit: Sequence[Inputs]) -> onnx.ModelProto:
        return repaired(model, masked, quick(options), fit, view=view)

    return outputs_judge(model, batches, None if options.prune.repair is None else made_up_for, options.target.threads)
