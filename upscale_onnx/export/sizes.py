"""How large a masked model is once compiled, and the masks that bring it down to a size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import onnx

from upscale_onnx.export.export import make
from upscale_onnx.export.recipes import Recipe, recipes
from upscale_onnx.model import infer_shapes
from upscale_onnx.model.stats import model_stats
from upscale_onnx.options import Options
from upscale_onnx.timing.target_costs import chosen_costs, chosen_target


@dataclass(frozen=True)
class Goal:
    """A share of the input's parameters or multiply-accumulates to come down to; name: as the user calls it."""

    name: str
    of: Literal["parameters", "macs"]
    share: float

    def count(self, model: onnx.ModelProto) -> int:
        """How many a model has of them."""
        stats = model_stats(model)
        return stats.parameters if self.of == "parameters" else stats.macs


def size_goal(options: Options) -> Goal | None:
    """The size that is asked for, if one is."""
    if options.params is not None:
        return Goal("params", "parameters", options.params)
    if options.macs is not None:
        return Goal("macs", "macs", options.macs)
    if options.compression is not None:
        return Goal(f"compression {options.compression:g}, which is params", "parameters", 1.0 / options.compression)
    return None


def size_share(compiled: onnx.ModelProto, model: onnx.ModelProto, goal: Goal) -> float:
    """Which share of what `goal` counts in `model` is left in `compiled`."""
    return goal.count(compiled) / max(goal.count(model), 1)


def remaining(model: onnx.ModelProto, goal: Goal, options: Options) -> Callable[[onnx.ModelProto], float]:
    """What tells which share of `model` is left when a masked copy of it is compiled.

    The export is the one that `options` name. Where they leave it open it is "gather", in which every layer has
    exactly the channels that it still reads and that are still read of it: the fastest of those that are as small
    is chosen in the end.
    """
    target = chosen_target(options)
    recipe = _recipe(options, target.block())
    costs = chosen_costs(target, options) if recipe.selects == "planned" else None
    before = goal.count(model)

    def share(masked: onnx.ModelProto) -> float:
        compiled = make(recipe, masked, infer_shapes(masked), costs)
        return goal.count(compiled) / max(before, 1)

    return share


def _recipe(options: Options, block: int) -> Recipe:
    recipe = recipes(block)["gather" if options.export == "auto" else options.export]
    return recipe if options.align is None else replace(recipe, align=options.align)
