"""What pruning and repair do not reach in bodies of If, Loop and Scan."""

from __future__ import annotations

from collections.abc import Sequence

from upscale_onnx.masks.prunable import prunable_targets
from upscale_onnx.masks.targets import inner_targets, mask_targets
from upscale_onnx.pruning.criteria import criterion_of
from upscale_onnx.pruning.task import Task
from upscale_onnx.repair.unreached import unreached_weights
from upscale_onnx.runtime.inputs import Inputs


def left_alone(task: Task, batches: Sequence[Inputs]) -> tuple[str, ...]:
    """A line for each reason why weights in bodies stay as they are, though others like them do not."""
    asked, model = task.options.prune, task.model
    if not inner_targets(model, mask_targets(model)):
        return ()
    weights = [target.weight for target in inner_targets(model, prunable_targets(model, asked.side))]
    lines = []
    unseen = [] if asked.mask is not None else [weight for weight in weights if weight not in task.scores]
    if unseen:
        name = criterion_of(asked.criterion).name
        lines.append(
            f"criterion {name!r} has no scores for {len(unseen)} of the {len(weights)} weights in bodies of If, Loop "
            "and Scan, which are not pruned: --criterion l1 has them for all"
        )
    left = set() if asked.repair is None else unreached_weights(model, batches, task.options.target.threads)
    left &= set(weights) - set(unseen)
    if left:
        lines.append(
            f"repair does not reach {len(left)} of the {len(weights)} weights in bodies of If, Loop and Scan: they are "
            "not run by calibration data, or have a form that is not fitted; what is left of them stays as it is"
        )
    return tuple(lines)
