"""Recipes: the ways to export a model, by name."""

from __future__ import annotations

from dataclasses import dataclass

from upscale_onnx.costs.costs import Costs, PresetCosts


@dataclass(frozen=True)
class Recipe:
    """How one candidate is made.

    selects: which selections are made: one for every consumer that demands a part ("all"), those that the
    planner finds cheapest ("planned"), or no selection ("none"). reorders: whether channels are ordered for
    contiguous selections. align: emitted channel counts are rounded up to multiples of it. splits: whether values are
    computed in pieces where the planner finds that faster than a selection. restores: whether constant channels that
    nodes need are restored in front of them, wherever that takes fewer bytes than the weights that make them.
    """

    name: str
    selects: str = "none"
    reorders: bool = False
    align: int = 1
    splits: bool = False
    restores: bool = False


@dataclass(frozen=True)
class Making:
    """How an export is made: by `recipe`, with the `costs` that the planner uses (None: a preset), and without
    selections of the values `without`. widens: whether groups of a convolution may share weights with zeros between
    them where that is faster."""

    recipe: Recipe
    costs: Costs | None = None
    without: frozenset[str] = frozenset()
    widens: bool = True

    @property
    def known_costs(self) -> Costs:
        """The costs that the planner uses."""
        return self.costs or PresetCosts(self.recipe.align)


def recipes(block: int) -> dict[str, Recipe]:
    """The exports by name; `block` is the channel block of the machine."""
    return {
        "keep": Recipe("keep", align=block),
        "planned": Recipe("planned", "planned", reorders=True, align=block),
        "upscale": Recipe("upscale", "all", reorders=True),
        "gather": Recipe("gather", "all"),
        "restore": Recipe("restore", "all", restores=True),
    }
