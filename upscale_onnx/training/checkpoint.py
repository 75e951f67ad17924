"""The state of a training in a file, so that it can be stopped and started again."""

from __future__ import annotations

import hashlib
import io
import pickle
from pathlib import Path
from typing import Any

import onnx
import torch

from upscale_onnx.errors import ArgumentError
from upscale_onnx.files.publish import write_whole
from upscale_onnx.training.images import TrainingData
from upscale_onnx.training.settings import Training


def identity(
    model: onnx.ModelProto, data: TrainingData, settings: Training, teacher: onnx.ModelProto | None, *others: object
) -> str:
    """A hash of all that decides what a training does."""
    found = hashlib.sha256(model.SerializeToString(deterministic=True))
    if teacher is not None:
        found.update(teacher.SerializeToString(deterministic=True))
    for part in (data.samples, data.labels):
        found.update(part.contiguous().numpy().tobytes())
    found.update(repr((settings, data.preprocessing, data.margin, data.mirror, data.batch, *others)).encode())
    return found.hexdigest()


def save_state(path: str, state: dict[str, Any]) -> None:
    """Write `state` to `path`, whole or not at all.

    Raises: ArgumentError where the file cannot be written.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_whole(buffer.getvalue(), path)


def load_state(path: str, expected: str) -> dict[str, Any] | None:
    """The state in the file at `path`; None if there is no file. expected: its `identity`.

    Raises: ArgumentError where the file is no state, or that of another training.
    """
    if not Path(path).exists():
        return None
    try:
        state = torch.load(path, weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise ArgumentError(f"{path}: is no state of a training: remove it to begin anew") from error
    if not isinstance(state, dict) or state.get("identity") != expected:
        raise ArgumentError(
            f"{path}: is the state of a training with another model, data or settings: remove it to begin anew"
        )
    return state
