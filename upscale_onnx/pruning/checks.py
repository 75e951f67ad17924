"""Which options about masks go together."""

from __future__ import annotations

import reprlib

from upscale_onnx.errors import ArgumentError, did_you_mean
from upscale_onnx.masks.profiles import is_relative
from upscale_onnx.options import Options, PruneOptions
from upscale_onnx.options.checking import check_options
from upscale_onnx.pruning.criteria import criterion_of
from upscale_onnx.pruning.strategies import MASKS, shared_out_by


def check_masks(options: Options) -> None:
    """Raises: ArgumentError where an option is out of range, or options about masks do not go together."""
    check_options(options)
    prune = options.prune
    criterion_of(prune.criterion)
    if prune.masks not in MASKS:
        wanted = " or ".join(map(repr, MASKS))
        raise ArgumentError(f"masks is {prune.masks!r}: it takes {wanted}{did_you_mean(prune.masks, MASKS)}")
    _check_goals(prune)
    _check_effects(prune, options.proof.verify)
    _check_target_aware(prune)
    _check_scopes(prune)
    _check_hybrid(prune)


def _check_goals(options: PruneOptions) -> None:
    """Only one option may say how much is pruned in all."""
    goals = ("amount", "latency", "params", "macs", "compression", "mask")
    given = [name for name in goals if getattr(options, name) is not None]
    if len(given) > 1:
        first, second = ("a mask file" if name == "mask" else name for name in given[:2])
        raise ArgumentError(f"{first} and {second} both say how much to prune: give one of them")
    if options.mask is not None and options.scores_channels:
        raise ArgumentError("a mask file says what to prune: leave amounts and the profile out")


def _check_effects(options: PruneOptions, verify: bool) -> None:
    """Options that would have no effect are refused."""
    if options.max_loss is not None and not options.prunes:
        raise ArgumentError("max_loss has no effect where nothing is pruned: give an amount")
    if options.max_loss is not None and not verify:
        raise ArgumentError("max_loss needs a loss that is measured: leave --no-verify out")
    if options.scores_channels:
        return
    for name in ("scope", "ignore", "min_channels", "mask_align", "steps"):
        if getattr(options, name) != getattr(PruneOptions, name):
            raise ArgumentError(f"{name} has no effect where nothing is pruned by its score: give an amount")


def _check_target_aware(options: PruneOptions) -> None:
    if options.latency is None and (options.masks != "aware" or not options.scores_channels):
        return
    if options.amount is None and options.latency is None:
        raise ArgumentError("masks that know the target need an amount or a latency")
    if options.side != "input" or options.method != "unconstrained" or options.masks in ("flat", "filled"):
        raise ArgumentError(
            "masks that know the target prune side 'input' by method 'unconstrained': leave side, method and masks out"
        )
    by = shared_out_by(options)
    if by is not None:
        raise ArgumentError(f"masks that know the target decide how much each layer loses: leave {by} out")


def _check_scopes(options: PruneOptions) -> None:
    if options.steps == 1 and options.schedule != PruneOptions.schedule:
        raise ArgumentError("schedule has no effect in a single round: give steps")
    shown = reprlib.repr(options.profile)
    has_extent = options.amount is not None or options.has_size_goal
    if options.profile is not None and is_relative(options.profile) != has_extent:
        raise ArgumentError(
            f"profile {shown} varies around an amount: give an amount or a size"
            if is_relative(options.profile)
            else f"profile {shown} says how much each layer keeps: leave amounts and sizes out"
        )
    if options.profile is not None and options.scope != "local":
        raise ArgumentError(f"a profile says what each layer keeps, and so does scope {options.scope!r}: leave one out")
    if options.profile is not None and options.amounts:
        raise ArgumentError("a profile and amounts by pattern both say what layers lose: give one of them")


def _check_hybrid(options: PruneOptions) -> None:
    if options.method != "hybrid":
        return
    if options.amount is None:
        raise ArgumentError("method 'hybrid' compares two choices of one amount: give an amount")
    if options.side != "input":
        raise ArgumentError("method 'hybrid' prunes only what layers read: use side 'input'")
    if options.scope != "local" or options.profile is not None or options.steps > 1:
        raise ArgumentError("method 'hybrid' weighs groups of layers one by one: leave scope, profile and steps out")
