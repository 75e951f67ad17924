"""Masked models for tests, without the compile."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import onnx

from upscale_onnx.masks.pools import Scores
from upscale_onnx.options import Options
from upscale_onnx.pruning.checks import check_masks
from upscale_onnx.pruning.prune import prune
from upscale_onnx.pruning.scoring import scores_of
from upscale_onnx.pruning.strategies import strategy_of
from upscale_onnx.pruning.task import Judge, Task


def pruned(model: onnx.ModelProto, options: Options) -> tuple[onnx.ModelProto, int]:
    """`model` pruned and repaired, and how many channels of it."""
    check_masks(options)
    found = prune(model, options)
    return found.model if found.finished is None else found.finished(found.model), found.count


def task(
    model: onnx.ModelProto,
    options: Options,
    judge: Judge | None = None,
    score: Callable[[onnx.ModelProto], Scores] | None = None,
) -> Task:
    """What a strategy is asked where there is no calibration data; score: in place of the criterion."""
    return Task(model, options, score or partial(scores_of, options=options, batches=()), judge)


def masked_by(task: Task) -> tuple[onnx.ModelProto, int]:
    """The model as the strategy masks it that its options ask for, and how many channels."""
    return strategy_of(task.options).mask(task)
