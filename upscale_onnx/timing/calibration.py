"""Times a model's operators on this machine, and predicts latencies from these times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import onnx

from upscale_onnx.costs.costs import Costs
from upscale_onnx.costs.measured import MeasuredCosts
from upscale_onnx.costs.predict import predict
from upscale_onnx.costs.store import load_tables, save_tables
from upscale_onnx.costs.tables import Tables, Timed
from upscale_onnx.costs.targets import Target, target
from upscale_onnx.model import Model, load_model
from upscale_onnx.model.kernels import Kernel, read_kernels
from upscale_onnx.options import Options
from upscale_onnx.options.calls import Calibrating, options_of
from upscale_onnx.options.checking import check_value
from upscale_onnx.options.ranges import POSITIVE_NUMBER
from upscale_onnx.results import Calibration
from upscale_onnx.types import Progress

if TYPE_CHECKING:
    from typing_extensions import Unpack


def resolve_target(name: str | None, provider: str = "cpu") -> Target:
    """The target called `name` on this machine; None stands for the target of `provider`.

    Raises:
        ArgumentError: there is no such target.
    """
    from upscale_onnx.runtime.providers import cpu_block

    return target(provider if name is None else name, cpu_block())


def calibrate(
    model: Model,
    options: Options | None = None,
    *,
    budget_s: float = 60.0,
    progress: Progress | None = None,
    **overrides: Unpack[Calibrating],
) -> Calibration:
    """Time the operators of `model` at many channel counts, within `budget_s` seconds.

    The times are kept in the user's cache folder, where compiles find them, even if the calibration is interrupted. A
    further call goes on where the last one stopped.

    options, overrides: target, provider, threads, batch and seed.

    Raises:
        ArgumentError: an option cannot be used, or the cache folder cannot be written to.
        ModelError: the model cannot be read or run.
        ProviderError: the provider is not available.

    >>> import upscale_onnx
    >>> found = upscale_onnx.calibrate("models/digits_cnet_masked.onnx", target="cpu", budget_s=0.01)
    >>> 0 < found.timed <= found.wanted
    True
    """
    from upscale_onnx.runtime.calibrate import calibrate as measure
    from upscale_onnx.runtime.providers import describe, resolve_provider

    check_value("budget_s", budget_s, Annotated[float, POSITIVE_NUMBER])
    wanted = options_of(Calibrating, options, overrides).target
    device = resolve_provider(wanted.provider)
    target, machine = resolve_target(wanted.name, device), describe(device, wanted.threads)
    tables = load_tables(target, machine)
    path = save_tables(tables, machine)  # fails before minutes of measuring, if the folder cannot be written to

    def store(timed: Sequence[Timed], node_ms: float | None) -> None:
        nonlocal tables
        tables = tables.with_times(timed, node_ms)
        save_tables(tables, machine)

    done = measure(
        load_model(model), block=target.block(), known=lambda kernel: tables.has(kernel), store=store, provider=device,
        threads=wanted.threads, budget_s=budget_s, batch=wanted.batch, seed=wanted.seed, progress=progress,
    )  # fmt: skip
    return Calibration(
        target.name, str(machine["device"]), device, wanted.threads, done.timed, done.wanted, done.seconds,
        done.input_ms, predict(done.kernels, tables), str(path),
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
