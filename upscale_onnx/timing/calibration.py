"""Measuring a model's operators on this machine, and predicting latencies from what was measured."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import onnx

from upscale_onnx.costs.costs import Costs
from upscale_onnx.costs.measured import MeasuredCosts
from upscale_onnx.costs.predict import Prediction, predict
from upscale_onnx.costs.store import load_tables, save_tables
from upscale_onnx.costs.tables import Tables, Timed
from upscale_onnx.costs.targets import Target, target
from upscale_onnx.model import load_model
from upscale_onnx.model.kernels import Kernel, read_kernels
from upscale_onnx.types import Progress

Model = str | os.PathLike[str] | onnx.ModelProto


@dataclass(frozen=True)
class Calibration:
    """What a calibration found.

    target, device, threads: what was measured. timed, wanted: operator shapes measured so far, and all of the model's.
    input_ms, predicted: the model's latency as measured, and as the tables predict it. path: where the tables are.
    """

    target: str
    device: str
    provider: str
    threads: int
    timed: int
    wanted: int
    seconds: float
    input_ms: float
    predicted: Prediction
    path: str


def resolve_target(name: str | None, provider: str = "cpu") -> Target:
    """The target called `name` (None is what `provider` is) on this machine.

    Raises:
        ArgumentError: there is no such target.
    """
    from upscale_onnx.runtime.providers import cpu_block

    return target(provider if name is None else name, cpu_block())


def calibrate(
    model: Model,
    *,
    target: Target,
    provider: str = "cpu",
    threads: int = 1,
    budget_s: float = 60.0,
    batch: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Calibration:
    """Time the operators of `model` at many channel counts, within `budget_s` seconds, and keep the times in the
    user's cache folder, where compiles find them. What an interrupted calibration measured is kept.

    Raises:
        ArgumentError: the cache folder cannot be written to. ModelError: the model cannot be read or run.
        ProviderError: no such device.
    """
    from upscale_onnx.runtime.calibrate import calibrate as measure
    from upscale_onnx.runtime.providers import describe, resolve_provider

    device = resolve_provider(provider)
    machine = describe(device, threads)
    tables = load_tables(target, machine)
    path = save_tables(tables, machine)  # where that cannot be done, minutes of measuring would be lost

    def store(timed: Sequence[Timed], node_ms: float | None) -> None:
        nonlocal tables
        tables = tables.with_times(timed, node_ms)
        save_tables(tables, machine)

    done = measure(
        load_model(model), block=target.block(), known=lambda kernel: tables.has(kernel), store=store, provider=device,
        threads=threads, budget_s=budget_s, batch=batch, seed=seed, progress=progress,
    )  # fmt: skip
    return Calibration(
        target.name, str(machine["device"]), device, threads, done.timed, done.wanted, done.seconds, done.input_ms,
        predict(done.kernels, tables), str(path),
    )  # fmt: skip


def measured_tables(target: Target, provider: str = "cpu", threads: int = 1) -> Tables:
    """The tables measured on this machine; empty where the target is not what onnxruntime runs here."""
    from upscale_onnx.runtime.providers import describe, resolve_provider

    device = resolve_provider(provider)
    return load_tables(target, describe(device, threads)) if target.provider == device else Tables(target)


def measured_costs(target: Target, provider: str = "cpu", threads: int = 1, batch: int = 1) -> Costs:
    """What operators cost on `target`: by times measured on this machine where there are any, else by its preset."""
    tables = measured_tables(target, provider, threads)
    return MeasuredCosts(tables, batch) if tables.contractions else target.costs(batch)


def executed(model: onnx.ModelProto, provider: str = "cpu", threads: int = 1, batch: int = 1) -> tuple[Kernel, ...]:
    """The nodes that onnxruntime executes for `model`, after its own fusions and layout changes; nothing is run.

    Raises:
        ModelError: onnxruntime cannot load the model.
    """
    from upscale_onnx.runtime.optimise import optimised_model, prepared_model
    from upscale_onnx.runtime.providers import resolve_provider

    prepared = prepared_model(model, {})
    optimised = optimised_model(prepared, provider=resolve_provider(provider), threads=threads)
    return read_kernels(optimised, batch)


def predict_model(
    model: onnx.ModelProto, tables: Tables, provider: str = "cpu", threads: int = 1, batch: int = 1
) -> Prediction:
    """The latency that `tables` predict for `model` under onnxruntime.

    Raises:
        ModelError: onnxruntime cannot load the model.
    """
    return predict(executed(model, provider, threads, batch), tables)
