"""Runs regions in onnxruntime, or with ONNX's reference evaluator if onnxruntime has no kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from onnx import ModelProto

from upscale_onnx.errors import ModelError
from upscale_onnx.model.on_disk import in_memory
from upscale_onnx.model.protos import iter_nodes, one_line
from upscale_onnx.runtime.sessions import make_session, run

_INTEGER = ("QGemm", "DynamicQuantizeMatMul")
_NO_KERNEL = ("Could not find an implementation", "NOT_IMPLEMENTED")


class Regions:
    """Regions of one model, ready to run. The session is made once."""

    def __init__(self, model: ModelProto) -> None:
        self._model = model
        self._inputs = {value.name for value in model.graph.input}
        self._session: Any = None
        self._evaluates = False

    def outputs(self, feeds: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
        """The outputs for each of `feeds`; these may hold more values than the regions read.

        Raises:
            ModelError: the regions cannot be run.
        """
        given = [{name: value for name, value in feed.items() if name in self._inputs} for feed in feeds]
        if not self._evaluates:
            try:
                if self._session is None:
                    self._session = make_session(self._model, optimize=_contracts_integers(self._model), exact=True)
                return [run(self._session, feed) for feed in given]
            except ModelError as error:
                if not any(text in str(error) for text in _NO_KERNEL):
                    raise
            self._evaluates = True
        return [_evaluated(self._model, feed) for feed in given]


def _contracts_integers(model: ModelProto) -> bool:
    """Whether some kernels would saturate sums if onnxruntime did not replace them."""
    return any(
        node.op_type.startswith("QLinear") or "Integer" in node.op_type or node.op_type in _INTEGER
        for node in iter_nodes(model.graph)
    )


def _evaluated(model: ModelProto, feed: Mapping[str, Any]) -> list[Any]:
    """The outputs by ONNX's reference evaluator, which is slow. Raises `ModelError` if it fails."""
    from onnx.reference import ReferenceEvaluator  # rarely needed, and slow to load

    try:
        return list(ReferenceEvaluator(in_memory(model)).run(None, dict(feed)))
    except Exception as error:  # any exception of numpy or of the evaluator
        raise ModelError(f"ONNX's reference cannot run the region: {one_line(error)}") from error
