"""From options to recipes: those that a compile chooses from, and the one that stands for them in predictions."""

from __future__ import annotations

from dataclasses import replace

from upscale_onnx.costs.targets import Target
from upscale_onnx.export.recipes import Recipe, recipes
from upscale_onnx.options import ExportOptions, Options
from upscale_onnx.timing.target_costs import is_at_hand


def contenders(options: Options, target: Target) -> dict[str, Recipe]:
    """The recipes to choose from, by name.

    Raises: ProviderError where there is no such device.
    """
    known = recipes(target.block())
    names: list[str]
    if options.export.recipe != "auto":
        names = [options.export.recipe]
    elif is_raced(options, target):
        names = [name for name, recipe in known.items() if not recipe.restores]
    elif options.export.prefer == "size" or options.prune.has_size_goal:
        names = ["upscale", "gather", "keep", "restore"]
        known["keep"] = replace(known["keep"], align=1)
    else:
        names = ["keep"] if options.target.name is None else ["planned"]
    align = options.export.align
    return {name: known[name] if align is None else replace(known[name], align=align) for name in names}


def tightest(known: dict[str, Recipe]) -> Recipe:
    """The recipe that leaves every layer the fewest channels: "restore" where it is known, else "gather", by which it
    reads what it needs, and makes what is read from it; else the first one known."""
    return next((known[name] for name in ("restore", "gather") if name in known), next(iter(known.values())))


def is_raced(options: Options, target: Target) -> bool:
    """Whether exports are chosen by measured speed. Then the target must be the machine on which onnxruntime measures.

    Raises: ProviderError where there is no such device.
    """
    return wants_speed(options.export) and is_at_hand(target, options.target)


def wants_speed(options: ExportOptions) -> bool:
    """Whether the fastest export is asked for, whichever it is."""
    return options.prefer == "speed" and options.recipe == "auto"
