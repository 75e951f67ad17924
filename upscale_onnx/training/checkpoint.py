"""The state of a training in a file, so that it can be stopped and started again."""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
import torch

from upscale_onnx.errors import ArgumentError
from upscale_onnx.files.publish import write_whole
from upscale_onnx.training.images import TrainingData
from upscale_onnx.training.settings import Training

Identity = Mapping[str, str]
"""What must be the same for a training to go on: hashes by what they are of."""


def identity(
    model: onnx.ModelProto, data: TrainingData, settings: Training, teacher: onnx.ModelProto | None, *others: object
) -> Identity:
    """Hashes of all that decides what a training does."""
    models = (model,) if teacher is None else (model, teacher)
    facts = (data.preprocessing, data.margin, data.mirror, data.batch)
    return {
        "model": _hash(*(each.SerializeToString(deterministic=True) for each in models)),
        "data": _hash(*(part.contiguous().numpy().tobytes() for part in (data.samples, data.labels)), repr(facts)),
        "settings": _hash(repr((settings, others, torch.__version__))),
    }


def _hash(*parts: bytes | str) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(part.encode() if isinstance(part, str) else part)
    return found.hexdigest()


def save_state(path: str, state: dict[str, Any]) -> None:
    """Write `state` to `path`, whole or not at all.

    Raises: ArgumentError where the file cannot be written.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_whole(buffer.getvalue(), path)


def load_state(path: str, expected: Identity) -> dict[str, Any] | None:
    """The state in the file at `path`; None if there is no file. expected: its `identity`.

    Raises: ArgumentError where the file is no state, or that of another training.
    """
    if not Path(path).exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        known = dict(state["identity"])
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, ValueError, pickle.UnpicklingError) as error:
        raise ArgumentError(f"{path}: is no state of a training, or is damaged: remove it to begin anew") from error
    other = [name for name, found in expected.items() if known.get(name) != found]
    if other:
        raise ArgumentError(
            f"{path}: is the state of a training with other {' and other '.join(other)}: remove it to begin anew, or "
            "give what was given first to go on"
        )
    return dict(state)
