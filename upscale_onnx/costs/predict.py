"""The predicted latency of a whole model: the times of its executed nodes, and the runtime's overhead."""

from __future__ import annotations

from collections.abc import Sequence

from upscale_onnx.costs.tables import Tables
from upscale_onnx.model.kernels import Kernel
from upscale_onnx.results import Prediction


def predict(kernels: Sequence[Kernel], tables: Tables) -> Prediction:
    """The latency of a model that executes `kernels`."""
    total, contractions, known = 0.0, 0.0, 0.0
    by_operator: dict[str, float] = {}
    for kernel in kernels:
        ms = tables.kernel_ms(kernel)
        total += ms
        contractions += ms if kernel.workload is not None else 0.0
        known += ms if tables.near(kernel) else 0.0
        by_operator[kernel.op_type] = by_operator.get(kernel.op_type, 0.0) + ms
    ranked = tuple(sorted(by_operator.items(), key=lambda item: -item[1]))
    beside = len(kernels) * tables.node_ms
    return Prediction(max(total + beside, 0.0), contractions, known / total if total else 1.0, ranked)
