"""Recipes: the ways to export a model, by name."""

from __future__ import annotations

from dataclasses import dataclass

from upscale_onnx.costs.costs import Costs, PresetCosts


@dataclass(frozen=True)
class Recipe:
    """How one candidate is made.

    selects: whether consumers are handed exactly what they demand ("all"), what the planner finds
    cheapest ("planned"), or never a selection ("none"). reorders: whether channels are ordered for
    contiguous selections. align: block that emitted channel counts fill. splits: whether values are computed in
    pieces where the planner finds that faster than a selection.
    """

    name: str
    selects: str = "none"
    reorders: bool = False
    align: int = 1
    splits: bool = False


@dataclass(frozen=True)
class Making:
    """How an export is made: by a recipe, with what the planner goes by (None: a preset), and without selections of
    the values `without`."""

    recipe: Recipe
    costs: Costs | None = None
    without: frozenset[str] = frozenset()

    @property
    def known_costs(self) -> Costs:
        """What the planner goes by."""
        return self.costs or PresetCosts(self.recipe.align)


def recipes(block: int) -> dict[str, Recipe]:
    """The exports by name; `block` is the channel block of the machine."""
    return {
        "keep": Recipe("keep", align=block),
        "planned": Recipe("planned", "planned", reorders=True, align=block),
        "upscale": Recipe("upscale", "all", reorders=True),
        "gather": Recipe("gather", "all"),
    }
