"""What is said, in one line each, where a compile did not do what might have been expected of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from upscale_onnx.plan.targets import Target
from upscale_onnx.results import Refusal

NONE_FASTER = (
    "no export was faster than the input, which is written as it is: --prefer size takes the smallest, "
    "--export NAME a given one"
)

NONE_SMALLER = "every export takes more bytes than the input, which is written as it is"

PRUNED_NOT_FASTER = (
    "no export of the pruned model was faster than the input, so nothing was pruned: try a larger --amount; "
    "--prefer size prunes to make it smaller"
)


def latency_missed(wanted: float, ratio: float) -> str:
    """That the latency is above what was asked for, within what races are exact to."""
    return f"latency {wanted:g} was missed by little: the race says {ratio:.3f}, which may be its noise"


def not_at_hand(target: Target) -> str:
    """That nothing was timed, as the target is another device or runtime."""
    return f"target {target.name} is not what runs here: nothing was timed, its costs decided; compile there to race"


def nothing_removed(refusals: Sequence[Refusal]) -> str:
    """Why an unpruned model stays as it is, and what to try."""
    if not refusals:
        return "no channel is zero or unused, so nothing can be removed: --amount A prunes first"
    return f"nothing can be removed: no channel is zero, or {_left_alone(refusals)}; --amount A prunes first"


def nothing_pruned(refusals: Sequence[Refusal]) -> str:
    """Why a model that was to be pruned stays as it was, and what to try."""
    if not refusals:
        return "nothing was pruned, as no layer may lose a channel at this amount: try a larger one, and fewer limits"
    return f"nothing was pruned: of what may be, no channel can be removed, as {_left_alone(refusals)}"


def _left_alone(refusals: Sequence[Refusal]) -> str:
    reason, count = Counter(refusal.reason for refusal in refusals).most_common(1)[0]
    nodes = "node is" if len(refusals) == 1 else "nodes are"
    return f"{len(refusals)} {nodes} left alone (mostly: {reason.value}, {count}); `inspect` shows them"
