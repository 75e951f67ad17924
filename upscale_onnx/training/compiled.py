"""Pruning in turns with training, and the compile of what comes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upscale_onnx.errors import ArgumentError
from upscale_onnx.model import Model
from upscale_onnx.options import Options
from upscale_onnx.options.calls import Compiling, options_of
from upscale_onnx.results import PrunedInTraining
from upscale_onnx.training.finetune import Path
from upscale_onnx.training.pruning import Pruning, pruned_in_training
from upscale_onnx.training.settings import Training
from upscale_onnx.types import Data, Progress

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from upscale_onnx.measures.accuracy import Preprocessing


def prune(
    model: Model,
    pruning: Pruning,
    data: Data,
    val: Data | None = None,
    settings: Training | None = None,
    preprocessing: Preprocessing | None = None,
    options: Options | None = None,
    *,
    teacher: Model | None = None,
    state: Path | None = None,
    limit: int | None = None,
    progress: Progress | None = None,
    **overrides: Unpack[Compiling],
) -> PrunedInTraining:
    """Prune `model` in turns with training, and compile the result. `compile` prunes without training.

    pruning: what is pruned, and by which schedule. settings: how the model is trained.
    options, overrides: those of `compile` that do not prune.

    The other arguments and errors are those of `finetune` and `compile`.

    >>> import upscale_onnx
    >>> model, data = "models/digits_cnet_masked.onnx", "models/digits_test.npz"
    >>> pruning = upscale_onnx.Pruning("one-shot", amount=0.5)
    >>> training = upscale_onnx.Training(epochs=1, batch=64)
    >>> found = upscale_onnx.prune(model, pruning, data, settings=training, race=False, proofs=("global",))
    >>> found.report.after.parameters < found.report.before.parameters
    True
    """
    wanted = options_of(Compiling, options, overrides)
    if wanted.prune.prunes:
        raise ArgumentError("the schedule says what is pruned: leave amounts, goals and masks out of the options")
    from upscale_onnx.pipeline import compile

    trained = pruned_in_training(
        model,
        pruning,
        data,
        val,
        settings,
        preprocessing,
        teacher=teacher,
        state=state,
        limit=limit,
        progress=progress,
    )
    return PrunedInTraining(trained.course, trained.model, compile(trained.model, wanted, progress=progress))
