"""How large a masked model is once compiled, and the masks that bring it down to a size."""

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
class Goal:
    """A share of the input's parameters or multiply-accumulates to come down to; name: as the user calls it."""

    name: str
    of: Literal["parameters", "macs"]
    share: float

    def count(self, model: onnx.ModelProto) -> int:
        """How many a model has of them."""
        stats = model_stats(model)
        return stats.parameters if self.of == "parameters" else stats.macs


def size_goal(options: PruneOptions) -> Goal | None:
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


def smallest(made: Mapping[str, onnx.ModelProto]) -> str:
    """The name of the model of the fewest bytes; of equals, of the fewest nodes."""
    if len(made) == 1:
        return next(iter(made))
    stats = {name: model_stats(model) for name, model in made.items()}
    return min(stats, key=lambda name: (stats[name].bytes, stats[name].nodes))


def remaining(model: onnx.ModelProto, goal: Goal, options: Options) -> Callable[[onnx.ModelProto], float]:
    """What tells which share of `model` is left when a masked copy of it is compiled.

    The export is the one that `options` name. Where they leave it open it is "gather", in which every layer has
    exactly the channels that it still reads and that are still read of it: the fastest of those that are as small
    is chosen in the end.
    """
    target = chosen_target(options.target)
    recipe = tightest(contenders(options, target))
    costs = chosen_costs(target, options.target) if recipe.selects == "planned" else None
    before = goal.count(model)

    def share(masked: onnx.ModelProto) -> float:
        compiled = make(recipe, masked, infer_shapes(masked), costs)
        return goal.count(compiled) / max(before, 1)

    return share
