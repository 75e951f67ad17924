"""How close the exports are to the limit, and to what was predicted: both need the tables of a calibration."""

from __future__ import annotations

import onnx

from upscale_onnx.channels.analysis import analyse
from upscale_onnx.costs.predict import predict
from upscale_onnx.model import import_graph, infer_shapes
from upscale_onnx.plan.bound import latency_bound
from upscale_onnx.runtime import Device
from upscale_onnx.timing.calibration import calibrate, executed, measured_costs, measured_tables, resolve_target


def measure_operators(model: onnx.ModelProto, provider: Device, threads: int, batch: int, budget_s: float) -> None:
    """Time the operators of `model` where the cache does not hold them yet, for at most `budget_s` seconds."""
    calibrate(model, provider=provider, threads=threads, budget_s=budget_s, batch=batch)


def bound_ratio(masked: onnx.ModelProto, input_ms: float, provider: Device, threads: int, batch: int) -> float:
    """The least share of `input_ms`, the latency of `masked`, that its demands allow, were selections free."""
    costs = measured_costs(resolve_target(None, provider), provider, threads, batch)
    return latency_bound(analyse(import_graph(masked), infer_shapes(masked)), costs, input_ms).ratio


def predicted_ms(model: onnx.ModelProto, provider: Device, threads: int, batch: int) -> float:
    """The latency that the measured tables predict for `model`."""
    tables = measured_tables(resolve_target(None, provider), provider, threads)
    return predict(executed(model, provider, threads, batch), tables).ms
