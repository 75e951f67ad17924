"""What a schedule of pruning is: which cuts are made before which steps of the training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from upscale_onnx.options import Scope

ScheduleName = Literal["one-shot", "gradual", "soft", "han", "molchanov", "layerwise"]


@dataclass(frozen=True)
class Cut:
    """Channels to prune at once.

    amount: of each layer, or of all together, 0 to below 1; channels that are pruned already count. amounts: those of
    single layers, by the names of their weights, in place of it. returns: whether pruned channels may come back.
    """

    amount: float | None = None
    amounts: tuple[tuple[str, float], ...] = ()
    returns: bool = False


@dataclass(frozen=True)
class Setting:
    """What cuts are planned for.

    amount: how much is pruned in the end. epochs, per_epoch: of the training, and the steps of each epoch. rounds,
    updates: how many cuts there are, and how many steps between two; None leaves it to the schedule. layers: the
    weights that are pruned and their numbers of channels, in graph order. tolerated: the largest amount that each layer
    tolerates by itself, by weight.
    """

    amount: float
    epochs: int
    per_epoch: int
    layers: Mapping[str, int]
    tolerated: Callable[[], Mapping[str, float]]
    rounds: int | None = None
    updates: int | None = None

    @property
    def steps(self) -> int:
        """All steps of the training."""
        return self.epochs * self.per_epoch


@dataclass(frozen=True)
class Schedule:
    """A schedule: `cuts` by the step before which each is made.

    criterion, scope: those that it uses if no others are asked for. scales_dropout: whether Dropout drops less where
    connections are pruned.
    """

    name: ScheduleName
    cuts: Callable[[Setting], Mapping[int, Cut]]
    criterion: str = "l2"
    scope: Scope = "local"
    scales_dropout: bool = False
