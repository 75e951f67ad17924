"""How large a masked model is after its compile, compared with a size that options ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import onnx

from upscale_onnx.export.contenders import contenders, tightest
from upscale_onnx.export.export import make
from upscale_onnx.model import infer_shapes
from upscale_onnx.model.stats import model_stats
from upscale_onnx.options import Options, PruneOptions
from upscale_onnx.timing.target_costs import chosen_costs, chosen_target


@dataclass(frozen=True)
class SizeGoal:
    """The share (0 to 1) of the input's parameters or multiply-accumulates that may stay. name: the option's name."""

    name: str
    of: Literal["parameters", "macs"]
    share: float

    def count(self, model: onnx.ModelProto) -> int:
        """The number of parameters or multiply-accumulates of `model`, whichever the goal counts."""
        stats = model_stats(model)
        return stats.parameters if self.of == "parameters" else stats.macs


def size_goal(options: PruneOptions) -> SizeGoal | None:
    """The size that `options` ask for; None where they ask for none."""
    if options.params is not None:
        return SizeGoal("params", "parameters", options.params)
    if options.macs is not None:
        return SizeGoal("macs", "macs", options.macs)
    if options.compression is not None:
        return SizeGoal(
            f"compression {options.compression:g}, which is params", "parameters", 1.0 / options.compression
        )
    return None


def tightened(options: Options, factor: float) -> Options:
    """The options with a size goal that is `factor` (0 to 1) of theirs."""
    asked = options.prune
    if asked.params is not None:
        return options.replaced(params=asked.params * factor)
    if asked.macs is not None:
        return options.replaced(macs=asked.macs * factor)
    return options.replaced(compression=(asked.compression or 1.0) / factor)


def size_share(compiled: onnx.ModelProto, model: onnx.ModelProto, goal: SizeGoal) -> float:
    """The share (0 to 1) of what `goal` counts in `model` that is left in `compiled`."""
    return goal.count(compiled) / max(goal.count(model), 1)


def smallest(made: Mapping[str, onnx.ModelProto]) -> str:
    """The name of the model with the fewest bytes; among equals, of the one with the fewest nodes."""
    if len(made) == 1:
        return next(iter(made))
    stats = {name: model_stats(model) for name, model in made.items()}
    return min(stats, key=lambda name: (stats[name].bytes, stats[name].nodes))


def remaining(model: onnx.ModelProto, goal: SizeGoal, options: Options) -> Callable[[onnx.ModelProto], float]:
    """A function that returns the share (0 to 1) of `model` that is left when a masked copy of it is compiled.

    The recipe is the one that `options` name. Where they name none it is "gather", in which every layer has exactly
    the channels that it still reads and those that are still read from it. In the end, the fastest of the exports that
    are as small is chosen.
    """
    target = chosen_target(options.target, model)
    recipe = tightest(contenders(options, target))
    costs = chosen_costs(target, options.target) if recipe.selects == "planned" else None
    before = goal.count(model)

    def share(masked: onnx.ModelProto) -> float:
        compiled = make(recipe, masked, infer_shapes(masked), costs)
        return goal.count(compiled) / max(before, 1)

    return share
