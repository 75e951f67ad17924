"""The target of a compile, and the costs of operators on it."""

from __future__ import annotations

import onnx

from upscale_onnx.costs.costs import Costs
from upscale_onnx.costs.targets import Target
from upscale_onnx.options import Options, TargetOptions
from upscale_onnx.timing.calibration import calibrate, measured_costs, resolve_target


def chosen_target(options: TargetOptions) -> Target:
    """The target that `options` name, or the target of the provider.

    Raises:
        ArgumentError: there is no such target.
        ProviderError: the provider is not available.
    """
    provider = "cuda" if options.provider == "cuda" else "cpu"
    if options.provider == "auto" and options.race:
        from upscale_onnx.runtime.providers import resolve_provider

        provider = resolve_provider("auto")
    return resolve_target(options.name, provider)


def is_at_hand(target: Target, options: TargetOptions) -> bool:
    """Whether times on `target` can be measured on this machine, and `options` allow it.

    Raises:
        ProviderError: the provider is not available.
    """
    if target.provider is None or not options.race:
        return False
    from upscale_onnx.runtime.providers import resolve_provider

    return target.provider == resolve_provider(options.provider)


def chosen_costs(target: Target, options: TargetOptions) -> Costs:
    """The costs of operators on `target`: from times measured here if it was calibrated here, else from its preset.

    Nothing is timed now, so that masks do not depend on the noise of this run.

    Raises:
        ProviderError: the provider is not available.
    """
    if not is_at_hand(target, options):
        return target.costs(options.batch or 1)
    return measured_costs(target, options.provider, options.threads, options.batch or 1)


def tune(model: onnx.ModelProto, options: TargetOptions) -> None:
    """Time the operators of `model` for `options.tune` seconds, if the target is this machine.

    Masks and plans then use these times.

    Raises:
        ArgumentError: there is no such target.
        ModelError: the model cannot be run.
        ProviderError: the provider is not available.
    """
    target = chosen_target(options)
    if options.tune <= 0 or not is_at_hand(target, options):
        return
    calibrate(model, Options(target=options), budget_s=options.tune)
