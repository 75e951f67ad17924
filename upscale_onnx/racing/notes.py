"""Notes, of one line each, for cases in which a compile does not do what users might expect."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import onnx

from upscale_onnx.costs.targets import Target
from upscale_onnx.masks.stored_weights import quantised_weights
from upscale_onnx.masks.targets import constant_tensors
from upscale_onnx.model.protos import element_count, iter_nodes
from upscale_onnx.model.provenance import NODES_SINCE
from upscale_onnx.options import PruneOptions
from upscale_onnx.results import PruningEffect, Refusal

_MOST_NAMES = 3
_LOOKUPS = frozenset(("Gather", "GatherND", "Slice"))
_MOSTLY = 0.5
NONE_FASTER = (
    "no export was faster than the input, which is written as it is: --prefer size takes the smallest, "
    "--export NAME a given one"
)

NONE_SMALLER = "every export takes more bytes than the input, which is written as it is"

LARGER = (
    "the file is larger than the input, since the selections take more bytes than the removed channels did: "
    "--prefer size writes the smaller one"
)

PRUNED_NOT_FASTER = (
    "no export of the pruned model was faster than the input, so nothing was pruned: try a larger --amount; "
    "--prefer size prunes to make it smaller"
)

ZERO_BEFORE = "nothing more was pruned, since the channels that were chosen to go were zero before"


def latency_missed(wanted: float, ratio: float, least: float) -> str:
    """The note for a latency that is above the one asked for, but not by more than races can tell apart."""
    return (
        f"latency {wanted:g} may be missed: the race measured {ratio:.3f}, at best {least:.3f}; "
        "ask for a smaller share to be sure"
    )


def not_at_hand(target: Target) -> str:
    """The note for a target that is another device or runtime, so that nothing was timed."""
    return (
        f"target {target.name} is another device or runtime: nothing was timed, predicted times decided; "
        "compile there to race"
    )


def nothing_removed(refusals: Sequence[Refusal], constants: int) -> str:
    """Why an unpruned model stays as it is, and what to try. constants: how many channels that layers make are zeros or
    other constants."""
    if constants:
        why = f"{constants} channels hold zeros or other constants, but what reads them needs them in their places"
        alone = f" ({_left_alone(refusals)})" if refusals else ""
        return f"nothing can be removed: {why}{alone}; --amount 0.3 prunes more"
    if not refusals:
        return "nothing is pruned in this model, so nothing can be removed: try --amount 0.3"
    return f"nothing can be removed: no channel is zero, or {_left_alone(refusals)}; --amount 0.3 prunes first"


def nothing_chosen(layers: int, refusals: Sequence[Refusal]) -> str:
    """Why no channel of a model is pruned, and what to try. layers: how many of its layers may be pruned."""
    if layers:
        return (
            f"nothing was pruned: none of the {layers} layers that may be pruned loses a channel that can be removed; "
            "try a larger amount, or --align 1, since channels are removed in whole blocks"
        )
    what = "nothing was pruned: no Conv, ConvTranspose, Gemm or MatMul has a constant float weight of 8 channels"
    return f"{what}; {_left_alone(refusals)}" if refusals else what


def nothing_freed(refusals: Sequence[Refusal]) -> str:
    """Why a pruned model is no smaller, and what to try."""
    what = "nothing was pruned, since the channels to prune are still needed"
    if refusals:
        return f"{what}: {_left_alone(refusals)}"
    return f"{what}, or are less than a block of their layer: try a larger amount, --method constrained, or --align 1"


def unrepaired(options: PruneOptions, dense: onnx.ModelProto) -> tuple[str, ...]:
    """A note if a model is pruned without repair, or if repair leaves weights of it alone because of their form, else
    nothing. dense: the model that was pruned."""
    if options.repair is not None:
        left = quantised_weights(dense)
        return (f"repair leaves {_listed(left)} alone: the form of these weights is not supported",) if left else ()
    return (f"pruned without repair, which usually gives most of the lost accuracy back: add {_repair(options)}",)


def mostly_tables(model: onnx.ModelProto) -> tuple[str, ...]:
    """A note if most parameters of `model` are in tables of which rows are looked up, else nothing."""
    counts = {name: element_count(tensor.dims) for name, tensor in constant_tensors(model).items()}
    tables = {node.input[0] for node in iter_nodes(model.graph) if node.op_type in _LOOKUPS and node.input}
    share = sum(counts.get(name, 0) for name in tables) / max(sum(counts.values()), 1)
    if share <= _MOSTLY:
        return ()
    return (
        f"{share:.0%} of the parameters are in tables that are looked up (embeddings, places): "
        "pruning takes no rows of them, and columns only where no layer reads these",
    )


def undescribed(model: onnx.ModelProto) -> tuple[str, ...]:
    """A note if a model is too old to hold metadata of its nodes, else nothing."""
    if model.ir_version >= NODES_SINCE:
        return ()
    return (
        f"nodes hold metadata from IR version {NODES_SINCE} on, and this model has {model.ir_version}: "
        "the metadata is that of the model alone",
    )


def too_much_lost(found: PruningEffect, most: float, options: PruneOptions) -> str:
    """The message for pruning that costs more than is allowed, and what to try."""
    more = "" if options.repair is not None else f", or add {_repair(options)}"
    return f"{found.text}; {most:g} may be lost, so nothing is written: prune less{more}"


def _repair(options: PruneOptions) -> str:
    return "--repair lsq" if options.calibration is not None else "--calibration FILE --repair lsq"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(map(repr, names[:_MOST_NAMES])) + (f" and {more} more" if more > 0 else "")


def _left_alone(refusals: Sequence[Refusal]) -> str:
    reason, count = Counter(refusal.reason for refusal in refusals).most_common(1)[0]
    nodes = "node is" if len(refusals) == 1 else "nodes are"
    return f"{len(refusals)} {nodes} left alone (mostly: {reason.value}, {count}); `inspect` shows them"
