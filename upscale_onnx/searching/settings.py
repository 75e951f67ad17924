"""How a search goes, as one frozen value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from upscale_onnx.candidates.keeping import Choice
from upscale_onnx.errors import ArgumentError
from upscale_onnx.options.checking import check_group
from upscale_onnx.options.ranges import FACTOR, NATURAL, POSITIVE, POSITIVE_NUMBER
from upscale_onnx.searching.goals import QUALITY, Constraint, Goals
from upscale_onnx.searching.strategies import check_name


@dataclass(frozen=True)
class Searching:
    """The settings of a search.

    objectives: names: accuracy, latency, params, macs, compression; of several, the front is found. Without any, they
        are accuracy and params, or accuracy alone where a size or the latency is constrained.
    constraints: what has to hold, as shares of the unpruned model: "latency<=0.5", "accuracy>=0.9".
    compression: at most 1 / `compression` of the parameters; random profiles are scaled to it.
    strategy: random, greedy, local, tpe, nsga2, gp or ppo, or one that was registered.
    trials: how many there are, of all processes and starts together. seconds: no trial is begun after that many.
    greedy: how many trials the strategy "greedy" makes first.
    choice: how channels are chosen: by "scores", as many at random ("exact"), or each at random ("bernoulli").
    limit: on how many samples profiles are measured, held in memory.
    workers: processes on this machine. address: of a Ray cluster that runs the trials in their place.
    callbacks: optuna's callbacks, as "MODULE:NAME", which are told of each finished trial.

    >>> from upscale_onnx import Searching
    >>> goals = Searching(constraints=("latency<=0.5",)).goals(labelled=True)
    >>> goals.objectives, [str(constraint) for constraint in goals.constraints]
    (('accuracy',), ['latency<=0.5'])
    """

    objectives: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    compression: Annotated[float, FACTOR] | None = None
    strategy: str = "tpe"
    trials: Annotated[int, POSITIVE] = 100
    seconds: Annotated[float, POSITIVE_NUMBER] | None = None
    greedy: Annotated[int, NATURAL] = 0
    choice: Choice = "scores"
    limit: Annotated[int, POSITIVE] = 1000
    workers: Annotated[int, POSITIVE] = 1
    address: str | None = None
    callbacks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_group(self)
        check_name(self.strategy)
        Goals(*self._asked())
        if self.address is not None and self.workers > 1:
            raise ArgumentError("workers are processes on this machine: leave them out where there is an address")

    def goals(self, *, labelled: bool) -> Goals:
        """The goals. Without labels, accuracy is the distance of outputs.

        Raises: ArgumentError where a goal needs labels, or has to be measured without them.
        """
        chosen, limits = self._asked()
        limited = [one.name for one in limits]
        if labelled and "distance" in (*chosen, *limited):
            raise ArgumentError("distance is measured without labels: leave out the labelled data, or use accuracy")
        if not labelled and "accuracy" in limited:
            raise ArgumentError("a constraint of accuracy needs labelled data; without labels, use distance<=0.2")
        if not labelled:
            chosen = tuple(dict.fromkeys("distance" if name == "accuracy" else name for name in chosen))
        return Goals(chosen, limits)

    def _asked(self) -> tuple[tuple[str, ...], tuple[Constraint, ...]]:
        limits = tuple(Constraint.parse(text) for text in self.constraints)
        if self.compression is not None:
            limits += (Constraint("compression", False, self.compression),)
        return tuple(self.objectives) or _usual(limits), limits


def _usual(limits: tuple[Constraint, ...]) -> tuple[str, ...]:
    if any(one.name not in QUALITY for one in limits):
        return ("accuracy",)
    return ("params",) if limits else ("accuracy", "params")
