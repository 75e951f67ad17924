"""The entry to training: from a model and data to the trained model."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import numpy as np

from upscale_onnx.model import Model, load_model
from upscale_onnx.results.training import Finetuned
from upscale_onnx.runtime.naming import arrays_of
from upscale_onnx.training.requirement import check_torch
from upscale_onnx.training.settings import Training
from upscale_onnx.types import Data, Progress

if TYPE_CHECKING:
    from upscale_onnx.measures.accuracy import Preprocessing
    from upscale_onnx.training.session import Session
    from upscale_onnx.training.settings import Where

Path = str | os.PathLike[str]


def finetune(
    model: Model,
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
    """Train `model` on `data`. Zeros of weights stay zeros, and a compile removes of the result what it removes of
    `model`.

    data, val: labelled images as `evaluate` takes them, or other samples "x" with labels "y". The model is judged on
        `val` after each epoch, in onnxruntime; without it, the last epoch is kept. limit: judge on that many images.
    teacher: a model of the same input and classes, whose scores are learned, too. `data` needs no labels if these count
        nothing.
    state: path of a file that holds the state after each epoch. Where it is there, training goes on from it, and the
        result is the same as without an interruption. Whoever calls removes it in the end.

    Raises:
        ArgumentError: data or settings cannot be used, PyTorch is missing, an operator has no gradient, or the loss is
            no finite number.
        ModelError: a model cannot be read or run.
        InternalError: onnxruntime computes something else than PyTorch.

    >>> import upscale_onnx
    >>> model, data = "models/digits_cnet_masked.onnx", "models/digits_test.npz"
    >>> found = upscale_onnx.finetune(model, data, settings=upscale_onnx.Training(epochs=1, batch=64))
    >>> [epoch.number for epoch in found.course.epochs]
    [1]
    """
    wanted = settings or Training()
    return prepared(model, data, val, wanted, preprocessing, teacher, state, limit, progress).finished()


def prepared(
    model: Model,
    data: Data,
    val: Data | None,
    settings: Training,
    preprocessing: Preprocessing | None,
    teacher: Model | None,
    state: Path | None,
    limit: int | None,
    progress: Progress | None,
    plan: object = None,
) -> Session:
    """A training that is ready to begin, or to go on. plan: what else is set, for its identity; the rest as in
    `finetune`."""
    check_torch()
    from upscale_onnx.measures.accuracy import Preprocessing
    from upscale_onnx.torch_backend.devices import device_of
    from upscale_onnx.training.checkpoint import identity
    from upscale_onnx.training.images import training_data
    from upscale_onnx.training.judging import judge_on
    from upscale_onnx.training.session import Session
    from upscale_onnx.training.trainer import Trainer

    settings = replace(settings, device=cast("Where", device_of(settings.device).type))  # a state is of one device
    loaded, taught = load_model(model), None if teacher is None else load_model(teacher)
    pixels, tell = preprocessing or Preprocessing(), progress or (lambda stage, share: None)
    tell("read the data", 0.0)
    labelled = taught is None or settings.distill_weight < 1
    samples = training_data(loaded, data, pixels, settings.augment, settings.batch, labelled=labelled)
    judge = None if val is None else judge_on(val, loaded, samples, settings, pixels, limit)
    known = identity(loaded, samples, settings, taught, None if val is None else _known(val), limit, plan)
    trainer = Trainer(loaded, samples, settings, taught)
    return Session(loaded, trainer, judge, known, None if state is None else str(state), tell)


def _known(data: Data) -> str:
    """What tells `data` from others: its path, or a hash of its arrays."""
    if isinstance(data, str | os.PathLike):
        return os.fspath(data)
    arrays, _ = arrays_of(data)
    found = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        found.update(f"{name}{array.dtype}{array.shape}".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()
