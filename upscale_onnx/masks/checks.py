"""Which options about masks go together."""

from __future__ import annotations

from upscale_onnx.errors import ArgumentError
from upscale_onnx.masks.criteria import base_name
from upscale_onnx.masks.profiles import is_relative
from upscale_onnx.options import Options
from upscale_onnx.options.checking import check_options


def check_masks(options: Options) -> None:
    """Raises: ArgumentError where an option is out of range, or those about masks do not go together."""
    check_options(options)
    if isinstance(options.criterion, str):
        base_name(options.criterion)
    _check_goals(options)
    _check_effects(options)
    _check_target_aware(options)
    _check_scopes(options)
    _check_hybrid(options)


def knows_target(options: Options) -> bool:
    """Whether masks are chosen with the target in mind: where that is not said, where the export is to be fast,
    each layer may choose what it reads, and nothing else says how much each layer loses."""
    if options.latency is not None:
        return True
    if options.amount is None:
        return False
    if options.masks != "auto":
        return options.masks == "aware"
    fast = options.prefer == "speed" and options.export in ("auto", "planned", "keep")
    free = options.side == "input" and options.method == "unconstrained"
    return fast and free and _shared_out_by(options) is None


def _check_goals(options: Options) -> None:
    """One thing says how much is pruned in all."""
    goals = ("amount", "latency", "params", "macs", "compression", "mask")
    given = [name for name in goals if getattr(options, name) is not None]
    if len(given) > 1:
        first, second = ("a mask file" if name == "mask" else name for name in given[:2])
        raise ArgumentError(f"{first} and {second} both say how much to prune: give one of them")
    if options.mask is not None and options.scores_channels:
        raise ArgumentError("a mask file says what to prune: leave amounts and the profile out")


def _check_effects(options: Options) -> None:
    """What would be passed over in silence."""
    if options.max_loss is not None and not options.prunes:
        raise ArgumentError("max_loss has no effect where nothing is pruned: give an amount")
    if options.max_loss is not None and not options.verify:
        raise ArgumentError("max_loss is about what is measured: leave --no-verify out")
    if options.scores_channels:
        return
    for name in ("scope", "ignore", "min_channels", "mask_align", "steps"):
        if getattr(options, name) != getattr(Options, name):
            raise ArgumentError(f"{name} has no effect where nothing is pruned by its score: give an amount")


def _check_target_aware(options: Options) -> None:
    if options.latency is None and (options.masks != "aware" or not options.scores_channels):
        return
    if options.amount is None and options.latency is None:
        raise ArgumentError("masks that know the target need an amount or a latency")
    if options.side != "input" or options.method != "unconstrained" or options.masks in ("flat", "filled"):
        raise ArgumentError(
            "masks that know the target choose by themselves what layers share: leave side, method and masks out"
        )
    by = _shared_out_by(options)
    if by is not None:
        raise ArgumentError(f"masks that know the target choose by themselves what each layer loses: leave {by} out")


def _shared_out_by(options: Options) -> str | None:
    """The option that says how much each layer loses, if there is one."""
    names = ("scope", "amounts", "profile", "min_channels", "mask_align", "steps")
    return next((name for name in names if getattr(options, name) != getattr(Options, name)), None)


def _check_scopes(options: Options) -> None:
    if options.steps == 1 and options.schedule != Options.schedule:
        raise ArgumentError("schedule has no effect in a single round: give steps")
    if options.profile is not None and is_relative(options.profile) != _has_extent(options):
        raise ArgumentError(
            f"profile {options.profile!r} is spread around an amount: give an amount or a size"
            if is_relative(options.profile)
            else f"profile {options.profile!r} says how much each layer keeps: leave amounts and sizes out"
        )
    if options.profile is not None and options.scope != "local":
        raise ArgumentError(f"a profile says what each layer keeps, scope {options.scope!r} finds it: leave one out")
    if options.profile is not None and options.amounts:
        raise ArgumentError("a profile and amounts of their own both say what layers lose: give one of them")


def _has_extent(options: Options) -> bool:
    """Whether it is said how much is to be pruned in all."""
    return options.amount is not None or _has_size(options)


def _has_size(options: Options) -> bool:
    return any(goal is not None for goal in (options.params, options.macs, options.compression))


def _check_hybrid(options: Options) -> None:
    if options.method != "hybrid":
        return
    if options.amount is None:
        raise ArgumentError("method 'hybrid' compares two choices of one amount: give an amount")
    if options.side != "input":
        raise ArgumentError("method 'hybrid' is about what layers read: use side 'input'")
    if options.scope != "local" or options.profile is not None or options.steps > 1:
        raise ArgumentError("method 'hybrid' weighs groups of layers one by one: leave scope, profile and steps out")
