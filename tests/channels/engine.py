"""Running models: onnxruntime, and onnx's reference where onnxruntime has no kernel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx.reference import ReferenceEvaluator

from upscale_onnx.types import Array

_NO_KERNEL = (ort.capi.onnxruntime_pybind11_state.NotImplemented,)
_NO_FORM = "are not supported"  # onnxruntime has the operator, but not this form of it


class Engine:
    """One model, ready to run."""

    def __init__(self, model: onnx.ModelProto) -> None:
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        # Both models are to compute the same, not to be optimised the same.
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._session: Any = None
        try:
            self._session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except _NO_KERNEL:
            self._reference = ReferenceEvaluator(model)
        except ort.capi.onnxruntime_pybind11_state.Fail as error:
            if _NO_FORM not in str(error):
                raise
            self._reference = ReferenceEvaluator(model)

    def run(self, feeds: Mapping[str, Array]) -> list[Array]:
        """The outputs."""
        if self._session is None:
            with np.errstate(all="ignore"):
                return [np.asarray(value) for value in self._reference.run(None, dict(feeds))]
        return [np.asarray(value) for value in self._session.run(None, dict(feeds))]
