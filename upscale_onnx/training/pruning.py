"""Settings of pruning in turns with training, and the entry to it."""

from __future__ import annotations

import glob
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from upscale_onnx.errors import ArgumentError
from upscale_onnx.model import Model, load_model
from upscale_onnx.options import Options, Scope, Side
from upscale_onnx.options.checking import check_group
from upscale_onnx.options.ranges import POSITIVE, SHARE
from upscale_onnx.pruning.checks import check_masks
from upscale_onnx.results.training import Finetuned
from upscale_onnx.training.finetune import Path, prepared
from upscale_onnx.training.schedules import SCHEDULES, Cut, ScheduleName
from upscale_onnx.training.settings import Training
from upscale_onnx.types import Array, Data, Progress

if TYPE_CHECKING:
    from upscale_onnx.measures.accuracy import Preprocessing

Method = Literal["unconstrained", "constrained"]


@dataclass(frozen=True)
class Pruning:
    """What is pruned while training, and when.

    schedule: when (see `training.schedules`). amount: share of the channels that are pruned in the end. rounds,
    updates: how many cuts there are, and how many steps between them; None leaves it to the schedule, as a criterion
    and a scope of None do. side, method: as in `PruneOptions`.

    >>> from upscale_onnx import Pruning
    >>> Pruning("gradual", amount=0.4).side
    'input'
    """

    schedule: ScheduleName
    amount: Annotated[float, SHARE]
    criterion: str | None = None
    side: Side = "input"
    method: Method = "unconstrained"
    scope: Scope | None = None
    rounds: Annotated[int, POSITIVE] | None = None
    updates: Annotated[int, POSITIVE] | None = None

    def __post_init__(self) -> None:
        check_group(self)
        if self.scope not in (None, "local") and self.schedule in ("han", "layerwise"):
            raise ArgumentError(f"schedule {self.schedule!r} says what each layer loses: leave the scope out")
        check_masks(self.options(Cut(self.amount)))

    def options(self, cut: Cut, calibration: Mapping[str, Array] | None = None, seed: int = 0) -> Options:
        """The options of one cut."""
        schedule = SCHEDULES[self.schedule]
        return Options.of(
            amount=cut.amount,
            amounts=tuple((glob.escape(weight), amount) for weight, amount in cut.amounts),
            masks="flat",
            criterion=self.criterion or schedule.criterion,
            side=self.side,
            method=self.method,
            scope=self.scope or ("local" if cut.amounts else schedule.scope),
            calibration=calibration,
            seed=seed,
        )


def pruned_in_training(
    model: Model,
    pruning: Pruning,
    data: Data,
    val: Data | None = None,
    settings: Training | None = None,
    preprocessing: Preprocessing | None = None,
    *,
    teacher: Model | None = None,
    state: Path | None = None,
    limit: int | None = None,
    progress: Progress | None = None,
) -> Finetuned:
    """Train `model` while channels are pruned by a schedule. The result is the masked model; a compile makes it small.

    Epochs count for `keep` once all is pruned. The other arguments and errors are those of `finetune`.
    """
    loaded, chosen = load_model(model), settings or Training()
    if chosen.init == "random":
        raise ArgumentError("weights drawn at random are not worth choosing channels by: leave out init 'random'")
    plan = asdict(pruning)
    session = prepared(loaded, data, val, chosen, preprocessing, teacher, state, limit, progress, plan)
    from upscale_onnx.training.pruner import Pruner  # prepared has said it if PyTorch is missing

    return session.finished(Pruner(loaded, pruning, session.trainer))
