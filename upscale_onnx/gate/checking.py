"""Compiles a model and holds the result to bounds, for checks before a commit or a release."""

from __future__ import annotations

import os

import onnx

from upscale_onnx.gate.bounds import Bounds
from upscale_onnx.gate.verdict import judge
from upscale_onnx.model import load_model
from upscale_onnx.model.form import has_same_form
from upscale_onnx.options import Options
from upscale_onnx.pipeline import compile
from upscale_onnx.results import Result, Verdict
from upscale_onnx.types import Progress


def check(
    model: str | os.PathLike[str] | onnx.ModelProto,
    bounds: Bounds,
    options: Options | None = None,
    *,
    progress: Progress | None = None,
) -> tuple[Verdict, Result]:
    """Compile `model` and hold the result to `bounds`: the verdict, and the result. No model is written to disk.

    Raises:
        ArgumentError: no bound is given, a bound cannot be used, or a compile with these options cannot tell.
        UpscaleError: as `pipeline.compile`.
    """
    wanted = options or Options()
    bounds.demand(wanted)
    original = load_model(model)
    result = compile(original, wanted, progress=progress)
    name = "model" if isinstance(model, onnx.ModelProto) else os.fspath(model)
    return judge(name, result.report, bounds, unchanged=has_same_form(result.model, original)), result
