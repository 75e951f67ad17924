"""Method "hybrid": constrained, unconstrained and mixed masks of one latency, and the best of them."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from upscale_onnx.export.planned import prepared_analysis
from upscale_onnx.masks.aware.network import build_network
from upscale_onnx.masks.aware.predicted import Predictor
from upscale_onnx.masks.choose import chooser
from upscale_onnx.masks.groups import mask_groups
from upscale_onnx.masks.mixture import as_fast, mixture
from upscale_onnx.masks.pools import Masks
from upscale_onnx.masks.targets import mask_targets
from upscale_onnx.model import infer_shapes
from upscale_onnx.pruning.measuring import measured_share
from upscale_onnx.pruning.task import Task
from upscale_onnx.timing.target_costs import chosen_costs, chosen_target, is_at_hand

# Latency falls in steps, so the result may be far from the share that was asked for.
_TRIALS = 6
# The precision of a race.
_ALIKE = 1.02


@dataclass(frozen=True, eq=False)
class Candidates:
    """The masks to choose from, as functions of a share of the predicted time of the constrained masks."""

    constrained: Masks
    predictor: Predictor
    others: Mapping[str, Callable[[float], Masks | None]] = field(default_factory=dict)


def hybrid_masks(task: Task) -> Masks:
    """Masks by weight (True = kept): the best of constrained, unconstrained and mixed masks, all at the latency of the
    constrained ones. In mixed masks each group of layers is constrained or free, whichever loses less.

    Latencies are predicted, and measured too where onnxruntime is the target. Without a judge, the best masks are
    those that lose least importance.

    Raises:
        ArgumentError: an option does not fit the model. ModelError: the model cannot be run.
    """
    found = candidates(task)
    made = {"constrained": found.constrained}
    for name, choose in found.others.items():
        masks = _settled(task, found.constrained, choose)
        if masks is not None:
            made[name] = masks
    values = {
        name: found.predictor.importance(masks) if task.judge is None else task.judge(task.masked(masks)[0])
        for name, masks in made.items()
    }
    return made[min(values, key=lambda name: values[name])]


def candidates(task: Task) -> Candidates:
    """The masks to choose from, by the options and the scores."""
    model, options, scores = task.model, task.options, task.scores
    amount = options.prune.amount or 0.0
    targets = mask_targets(model)
    analysis = prepared_analysis(model, infer_shapes(model))
    groups = mask_groups(analysis, model, "input")
    named = {target.node: (target.weight, scores[target.weight]) for target in targets if target.weight in scores}
    costs = chosen_costs(chosen_target(options.target, model), options.target)
    predictor = Predictor(build_network(analysis, named), costs)
    constrained = chooser(model, replace(options.prune, method="constrained"), groups).masks(scores, amount)
    tied = mask_groups(analysis, model, "input", "unconstrained")
    alone = chooser(model, replace(options.prune, method="unconstrained"), tied)
    agreeing = [frozenset(weight for weight, _ in group if weight in scores) for group in groups]

    @functools.cache  # groups ask for the same amounts
    def free(asked: float) -> Masks:
        return alone.masks(scores, asked)

    def mixed(allowed: float) -> Masks:
        several = [group for group in agreeing if len(group) > 1]
        return mixture(several, constrained, free, predictor, amount, allowed)

    def unconstrained(allowed: float) -> Masks | None:
        return as_fast(free, predictor.latency_ms, amount, allowed * predictor.latency_ms(constrained))

    return Candidates(constrained, predictor, {"mixed": mixed, "unconstrained": unconstrained})


def _settled(task: Task, constrained: Masks, choose: Callable[[float], Masks | None]) -> Masks | None:
    """The masks of `choose` at the latency of the constrained ones; None where it finds none but these.

    Of equally fast masks, those that prune least are returned.
    """
    target = chosen_target(task.options.target, task.model)
    if not is_at_hand(target, task.options.target):
        return choose(1.0)
    goal = measured_share(task.model, constrained, target, task.options)
    best: Masks | None = None
    low, high, allowed = 0.0, math.inf, 1.0
    tried: list[tuple[Masks, float]] = [(constrained, goal)]
    for _ in range(_TRIALS):
        masks = choose(allowed)
        if masks is None:  # predicted to be too slow, however much is pruned
            low = allowed
            allowed = (low + min(high, 2 * low)) / 2
            continue
        share = next((known for other, known in tried if _alike(masks, other)), None)
        if share is None:
            share = measured_share(task.model, masks, target, task.options)
            tried.append((masks, share))
        if share > _ALIKE * goal:
            high = allowed
        else:
            best, low = masks, allowed
        # What prediction and measurement are apart by; then whatever fewer pruned channels the same step of time holds.
        wanted = allowed * goal / share
        allowed = wanted if _ALIKE * low < wanted < high else (low + min(high, 2 * low)) / 2
    return None if best is None or _alike(best, constrained) else best


def _alike(one: Masks, other: Masks) -> bool:
    return all((one[weight] == other[weight]).all() for weight in one.keys() & other.keys())
