"""Repair of a pruned model, as options ask for it: at once, or later, when the pruned channels are settled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import onnx

from upscale_onnx.channels.analysis import analyse
from upscale_onnx.masks.float_view import FloatView
from upscale_onnx.model import import_graph, infer_shapes
from upscale_onnx.options import Options
from upscale_onnx.pruning.pruned import Pruned
from upscale_onnx.pruning.strategies import knows_target
from upscale_onnx.repair.choose import obs_choice
from upscale_onnx.repair.joint import fitted_jointly
from upscale_onnx.repair.repair import How, repair
from upscale_onnx.repair.turn import turned
from upscale_onnx.runtime.inputs import Inputs
from upscale_onnx.types import Progress

# The amount that is assumed where the goal is not an amount, as for a latency or a profile.
_USUAL_AMOUNT = 0.3


def in_basis(model: onnx.ModelProto, options: Options, batches: Sequence[Inputs]) -> onnx.ModelProto:
    """`model` in the basis in which its channels are scored and pruned: another one in linear streams where what is
    left is re-fitted, else its own. It computes the same. Masks in a file are of the model's own basis."""
    asked = options.prune
    if not refits(options) or asked.mask is not None or asked.side != "input":
        return model
    return turned(model, batches, asked.amount or _USUAL_AMOUNT, options.target.threads)


def with_repair(
    pruned: Pruned, options: Options, batches: Sequence[Inputs], progress: Progress | None = None,
    view: FloatView | None = None,
) -> Pruned:  # fmt: skip
    """Repair `pruned` where its masks are settled or repair chooses them anew. Where they are not settled, set
    `finished`, which repairs later. view: as in `repaired`."""
    if options.prune.is_exact:
        return replace(pruned, model=repaired(pruned.dense, pruned.model, options, batches, progress, view=view))
    if chooses_anew(options):
        quickly = repaired(pruned.dense, pruned.model, quick(options), batches, progress, view=view)
        pruned = replace(pruned, model=quickly)

    def finished(chosen: onnx.ModelProto) -> onnx.ModelProto:
        return repaired(pruned.dense, chosen, options, batches, progress, anew=False, view=view)

    return replace(pruned, finished=finished)


def repaired(
    model: onnx.ModelProto,
    masked: onnx.ModelProto,
    options: Options,
    batches: Sequence[Inputs],
    progress: Progress | None = None,
    anew: bool = True,
    view: FloatView | None = None,
) -> onnx.ModelProto:
    """Repair `masked`, a masked copy of `model`. anew: whether layers that choose for themselves by "obs" choose as
    many channels anew, on the outputs of the pruned and repaired layers before them. view: where `model` is the view of
    a quantised model, that view: weights are rounded as it stores them."""
    again, threads = anew and chooses_anew(options), options.target.threads
    if view is not None:
        exactly = options.prune.mask is not None
        masked, again = view.read(view.written(masked, exactly)), again and view.stores_single_zeros
    rounded = None if view is None else view.rounded
    choose = obs_choice(analyse(import_graph(model), infer_shapes(model)), model, masked) if again else None
    start = model if again else masked
    how: How = "stats" if options.prune.repair == "stats" else "lsq"
    found = repair(model, start, batches, how, choose=choose, rounded=rounded, progress=progress, threads=threads)[0]
    if options.prune.repair != "joint":
        return found
    tell = None if progress is None else partial(progress, "repair jointly")
    device = "cpu" if options.target.provider == "cpu" else "auto"
    return fitted_jointly(model, found, batches, rounded=rounded, progress=tell, threads=threads, device=device)


def quick(options: Options) -> Options:
    """Options for a repair without its long part. The best masks after least squares are the best after it, too."""
    return options.replaced(repair="lsq") if options.prune.repair == "joint" else options


def refits(options: Options) -> bool:
    """Whether repair gives other values to the weights that are left."""
    return options.prune.repair in ("lsq", "joint")


def chooses_anew(options: Options) -> bool:
    """Whether repair chooses the channels of layers anew, as many as the masks leave."""
    free = options.prune.method == "unconstrained" and options.prune.mask is None and not knows_target(options)
    return refits(options) and options.prune.criterion == "obs" and free
