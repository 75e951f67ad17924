"""What pruning does not reach in bodies of If, Loop and Scan."""

from __future__ import annotations

from upscale_onnx.masks.prunable import prunable_targets
from upscale_onnx.masks.targets import inner_targets, mask_targets
from upscale_onnx.pruning.criteria import criterion_of
from upscale_onnx.pruning.task import Task


def left_alone(task: Task) -> tuple[str, ...]:
    """A line for each reason why weights in bodies stay as they are, though others like them do not."""
    asked, model = task.options.prune, task.model
    if asked.mask is not None or not inner_targets(model, mask_targets(model)):
        return ()
    weights = [target.weight for target in inner_targets(model, prunable_targets(model, asked.side))]
    unseen, name = sum(weight not in task.scores for weight in weights), criterion_of(asked.criterion).name
    lines = []
    if unseen:
        lines.append(
            f"criterion {name!r} has no scores for {unseen} of the {len(weights)} weights in bodies of If, Loop and "
            "Scan, which are not pruned: --criterion l1 has them for all"
        )
    if asked.repair is not None and unseen < len(weights):
        lines.append("repair does not reach bodies of If, Loop and Scan: what is left of weights there stays as it is")
    return tuple(lines)
