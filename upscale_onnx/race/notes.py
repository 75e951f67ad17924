"""What is said, in one line each, where a compile did not do what might have been expected of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from upscale_onnx.costs.targets import Target
from upscale_onnx.options import PruneOptions
from upscale_onnx.results import PruningEffect, Refusal

NONE_FASTER = (
    "no export was faster than the input, which is written as it is: --prefer size takes the smallest, "
    "--export NAME a given one"
)

NONE_SMALLER = "every export takes more bytes than the input, which is written as it is"

LARGER = (
    "the file is larger than the input, since what the selections take is more than what the channels took: "
    "--prefer size writes the smaller one"
)

PRUNED_NOT_FASTER = (
    "no export of the pruned model was faster than the input, so nothing was pruned: try a larger --amount; "
    "--prefer size prunes to make it smaller"
)


def latency_missed(wanted: float, ratio: float, least: float) -> str:
    """That the latency is measured above what was asked for, by no more than races are exact to."""
    return f"latency {wanted:g} may be missed: the race says {ratio:.3f}, {least:.3f} at best; a smaller share is surer"


def not_at_hand(target: Target) -> str:
    """That nothing was timed, as the target is another device or runtime."""
    return f"target {target.name} is not what runs here: nothing was timed, its costs decided; compile there to race"


def nothing_removed(refusals: Sequence[Refusal]) -> str:
    """Why an unpruned model stays as it is, and what to try."""
    if not refusals:
        return "no channel is zero or unused, so nothing can be removed: --amount A prunes first"
    return f"nothing can be removed: no channel is zero, or {_left_alone(refusals)}; --amount A prunes first"


def nothing_chosen(layers: int, refusals: Sequence[Refusal]) -> str:
    """Why no channel is pruned of a model with so many layers that may be pruned, and what to try."""
    if layers:
        return (
            f"nothing was pruned: none of the {layers} layers that may be pruned loses a channel that could then go; "
            "try a larger amount, or --align 1, as whole blocks are emitted"
        )
    what = "nothing was pruned: no Conv, ConvTranspose, Gemm or MatMul has a constant float weight of 8 channels"
    return f"{what}; {_left_alone(refusals)}" if refusals else what


def nothing_freed(refusals: Sequence[Refusal]) -> str:
    """Why a pruned model is no smaller, and what to try."""
    what = "nothing was pruned, as what would be is needed all the same"
    return f"{what}: {_left_alone(refusals)}" if refusals else f"{what}: try a larger amount, or --method constrained"


def unrepaired(options: PruneOptions) -> tuple[str, ...]:
    """A line where a model was pruned and nothing makes up for it."""
    if options.repair is not None:
        return ()
    return (f"pruned without repair, which usually gives most of the lost accuracy back: add {_repair(options)}",)


def too_much_lost(found: PruningEffect, most: float, options: PruneOptions) -> str:
    """That pruning costs more than is allowed, and what to try."""
    more = "" if options.repair is not None else f", or add {_repair(options)}"
    return f"{found.text}; {most:g} may be lost, so nothing is written: prune less{more}"


def _repair(options: PruneOptions) -> str:
    return "--repair lsq" if options.calibration is not None else "--calibration FILE --repair lsq"


def _left_alone(refusals: Sequence[Refusal]) -> str:
    reason, count = Counter(refusal.reason for refusal in refusals).most_common(1)[0]
    nodes = "node is" if len(refusals) == 1 else "nodes are"
    return f"{len(refusals)} {nodes} left alone (mostly: {reason.value}, {count}); `inspect` shows them"
