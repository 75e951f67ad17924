"""The share of what masks leave that a compile removes, as the tables of docs/coverage.md state it."""

from __future__ import annotations

import onnx

from upscale_onnx import compile
from upscale_onnx.errors import UpscaleError


def removed_share(model: onnx.ModelProto, zeroed: int) -> str:
    """Removed parameters as a share of the `zeroed` ones; "none" if there are none, or the error of a compile."""
    if not zeroed:
        return "none"
    try:
        report = compile(model, export="gather", align=1, race=False).report
    except UpscaleError as error:
        return type(error).__name__
    equal = report.verification is not None and report.verification.equal
    removed = (report.before.parameters - report.after.parameters) / zeroed
    return f"{removed:.2f}" + ("" if equal else " not shown equal")
