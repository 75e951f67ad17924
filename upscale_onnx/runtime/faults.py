"""Tells a fault of the compiler from a fault of the model: at a fault of the model, onnxruntime fails as well."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import onnx

from upscale_onnx.errors import InternalError, ModelError, UpscaleError
from upscale_onnx.model import load_model

P = ParamSpec("P")
R = TypeVar("R")
Model = str | os.PathLike[str] | onnx.ModelProto


def blames_the_model(function: Callable[P, R]) -> Callable[P, R]:
    """Wrap `function`, whose first argument is `model`. If it fails unexpectedly, and onnxruntime cannot run the model
    either, a ModelError says so; else the error is raised as it is."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            if isinstance(error, UpscaleError) and not isinstance(error, InternalError):
                raise
            model: Any = args[0] if args else kwargs.get("model")
            fault = "there is not enough memory for it" if isinstance(error, MemoryError) else _fault(model)
            if fault:
                raise ModelError(f"the model cannot be used: {fault}") from error
            raise

    return call


def _fault(model: Model) -> str:
    """Why onnxruntime cannot run the model; empty if it can."""
    from upscale_onnx.runtime.soundness import why_it_does_not_run

    try:
        return why_it_does_not_run(load_model(model))
    except ModelError as error:
        return str(error)
