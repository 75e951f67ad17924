"""The base networks of an experiment: trained, and pruned again and again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

import onnx

from upscale_onnx.candidates.candidate import Candidate
from upscale_onnx.candidates.families import at_compression
from upscale_onnx.candidates.keeping import Choice
from upscale_onnx.candidates.space import Space
from upscale_onnx.experiments.points import Outcome, Point
from upscale_onnx.measures.measure import Top1
from upscale_onnx.options import Options

Tune = Callable[[onnx.ModelProto, Point], onnx.ModelProto]
"""Trains a pruned network, from where and with which seed the point says."""


@dataclass(frozen=True, eq=False)
class Base:
    """A base network.

    group: the number of its data set. options: how it is pruned and repaired. measure: its accuracy on labelled
    images. tune: trains what is left of it; None where nothing is trained.
    """

    name: str
    group: int
    model: onnx.ModelProto
    options: Options
    measure: Top1
    tune: Tune | None = None
    _spaces: dict[str, Space] = field(default_factory=dict, init=False)
    _accuracies: dict[object, float] = field(default_factory=dict, init=False)

    def space(self, criterion: str, *, repaired: bool = False) -> Space:
        """Its profiles, with channels scored by `criterion`; repaired: with candidates repaired as the options say."""
        if criterion not in self._spaces:
            self._spaces[criterion] = Space.of(self.model, self.options.replaced(criterion=criterion))
        found = self._spaces[criterion]
        return found if repaired else found.unrepaired

    def outcome(self, point: Point, shares: Sequence[float], *, is_scaled: bool) -> Outcome:
        """What comes of a point whose profile has these `shares`; is_scaled: raised to a power with which the network
        has the compression that is aimed at."""
        space = self.space(point.criterion)
        choice, seed = cast("Choice", point.choice), point.number
        if is_scaled:
            found = at_compression(space, shares, point.compression, choice=choice, seed=seed)
        else:
            found = space.candidate(shares, choice, seed)
        if found is None:
            return Outcome(0.0, 0.0, tuple(shares), tuple(shares))
        # All draws of a profile are one network where neither channels nor trainings are drawn.
        key = (point.criterion, found.shares) if choice == "scores" and self.tune is None else point
        if key not in self._accuracies:
            self._accuracies[key] = self.measure.value(self._recovered(found, point))
        return Outcome(found.compression, self._accuracies[key], found.shares, tuple(shares))

    def _recovered(self, found: Candidate, point: Point) -> onnx.ModelProto:
        model = found.model
        if self.options.prune.repair is not None:
            model = (
                self.space(point.criterion, repaired=True).candidate_of(found.masks, cast("Choice", point.choice)).model
            )
        return model if self.tune is None else self.tune(model, point)
