"""Times a model's operators on this machine, and predicts latencies from these times."""

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
    """The result of a calibration.

    target, device, provider, threads: what was measured.
    timed: how many operator shapes have been timed so far.
    wanted: how many operator shapes there are for the model.
    seconds: how long this calibration took.
    input_ms: the measured latency of the model; predicted: the one that the tables predict.
    path: the file of the tables.
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
    """The target called `name` on this machine; None stands for the target of `provider`.

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
    """Time the operators of `model` at many channel counts, within `budget_s` seconds.

    The times are kept in the user's cache folder, where compiles find them, even if the calibration is interrupted.

    Raises:
        ArgumentError: the cache folder cannot be written to.
        ModelError: the model cannot be read or run.
        ProviderError: the provider is not available.
    """
    from upscale_onnx.runtime.calibrate import calibrate as measure
    from upscale_onnx.runtime.providers import describe, resolve_provider

    device = resolve_provider(provider)
    machine = describe(device, threads)
    tables = load_tables(target, machine)
    path = save_tables(tables, machine)  # fails before minutes of measuring, if the folder cannot be written to

    def store(timed: Sequence[Timed], node_ms: float | None) -> None:
        nonlocal tables
        tables = tables.with_times(timed, node_ms)
        save_tables(tables, machine)

    done = measure(
        load_model(model), block=target.block("float32"), known=lambda kernel: tables.has(kernel), store=store,
        provider=device, threads=threads, budget_s=budget_s, batch=batch, seed=seed, progress=progress,
    )  # fmt: skip
    return Calibration(
        target.name, str(machine["device"]), device, threads, done.timed, done.wanted, done.seconds, done.input_ms,
        predict(done.kernels, tables), str(path),
    )  # fmt: skip


def measured_tables(target: Target, provider: str = "cpu", threads: int = 1) -> Tables:
    """The tables measured on this machine; empty tables if `provider` is not the target's.

    Raises:
        ProviderError: the provider is not available.
    """
    from upscale_onnx.runtime.providers import describe, resolve_provider

    device = resolve_provider(provider)
    return load_tables(target, describe(device, threads)) if target.provider == device else Tables(target)


def measured_costs(target: Target, provider: str = "cpu", threads: int = 1, batch: int = 1) -> Costs:
    """The costs of operators on `target`: from times measured on this machine if there are any, else from its preset.

    Raises:
        ProviderError: the provider is not available.
    """
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
