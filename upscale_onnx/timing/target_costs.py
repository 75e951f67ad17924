"""The target that a compile is for, and what operators cost there."""

from __future__ import annotations

import onnx

from upscale_onnx.costs.costs import Costs
from upscale_onnx.costs.targets import Target
from upscale_onnx.options import TargetOptions
from upscale_onnx.timing.calibration import calibrate, measured_costs, resolve_target


def chosen_target(options: TargetOptions) -> Target:
    """The target that `options` name, or the one of the device that they run on.

    Raises:
        ArgumentError: there is no such target. ProviderError: no such device.
    """
    provider = "cuda" if options.provider == "cuda" else "cpu"
    if options.provider == "auto" and options.race:
        from upscale_onnx.runtime.providers import resolve_provider

        provider = resolve_provider("auto")
    return resolve_target(options.name, provider)


def is_at_hand(target: Target, options: TargetOptions) -> bool:
    """Whether what onnxruntime measures here is `target`, and measuring is allowed.

    Raises:
        ProviderError: no such device.
    """
    if target.provider is None or not options.race:
        return False
    from upscale_onnx.runtime.providers import resolve_provider

    return target.provider == resolve_provider(options.provider)


def chosen_costs(target: Target, options: TargetOptions) -> Costs:
    """Times measured on this machine where the target was calibrated here, else its preset: nothing that would
    make masks depend on the noise of this run."""
    if not is_at_hand(target, options):
        return target.costs(options.batch or 1)
    return measured_costs(target, options.provider, options.threads, options.batch or 1)


def tune(model: onnx.ModelProto, options: TargetOptions) -> None:
    """Measure the operators of `model` for the seconds that `options` give, where the target is what runs here. Masks
    and plans then go by what was measured.

    Raises:
        ArgumentError: there is no such target. ModelError: the model cannot be run. ProviderError: no such device.
    """
    target = chosen_target(options)
    if options.tune <= 0 or not is_at_hand(target, options):
        return
    calibrate(
        model, target=target, provider=options.provider, threads=options.threads, batch=options.batch,
        budget_s=options.tune, seed=options.seed,
    )  # fmt: skip
