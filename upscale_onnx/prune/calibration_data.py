"""What calibration data is for: scores of criteria that need activations, and repair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import onnx
from onnx import numpy_helper

from upscale_onnx.channels.analysis import Analysis, analyse
from upscale_onnx.errors import ArgumentError
from upscale_onnx.masks.activations import Gauge, observed
from upscale_onnx.masks.bn_scales import bn_scores
from upscale_onnx.masks.checks import knows_target
from upscale_onnx.masks.criteria import ACTIVATION, BN_SCALE, CRITERIA, OBS, TVS, base_name
from upscale_onnx.masks.criteria.activation import ActivationCriterion
from upscale_onnx.masks.prunable import prunable_targets
from upscale_onnx.masks.targets import constant_tensors
from upscale_onnx.model import import_graph, infer_shapes
from upscale_onnx.options import Options
from upscale_onnx.prune.class_scores import taylor_scores, tvs_scores
from upscale_onnx.prune.hybrid import Judge
from upscale_onnx.prune.judging import harm_on, outputs_judge
from upscale_onnx.prune.masking import pruned_model
from upscale_onnx.prune.pruned import Pruned
from upscale_onnx.repair.choose import obs_choice, obs_scores
from upscale_onnx.repair.costs import obs_costs
from upscale_onnx.repair.joint import fitted_jointly
from upscale_onnx.repair.repair import How, repair
from upscale_onnx.repair.turn import turned
from upscale_onnx.runtime.activations import sample_count, value_batches
from upscale_onnx.runtime.inputs import Inputs
from upscale_onnx.runtime.samples import load_calibration, load_labels
from upscale_onnx.types import Array, FloatArray, Progress

Scores = Mapping[str, FloatArray]

# Repairs that give layers other weights than those that are left.
_REFITS = ("lsq", "joint")
# What a share of channels to do without is taken to be, where a goal says it only later.
_USUAL_AMOUNT = 0.3


def calibrated_model(
    model: onnx.ModelProto, options: Options, progress: Progress | None = None
) -> tuple[onnx.ModelProto, int]:
    """`model` pruned and repaired as `options` ask, with what their calibration data tells; and how many channels.

    Raises:
        ArgumentError: there is nothing to repair, no calibration data where it is needed, or it does not fit.
    """
    pruned, batches = _pruned(model, options)
    if options.prune.repair is None:
        return pruned.model, pruned.count
    return _repaired(pruned.dense, pruned.model, options, batches, progress), pruned.count


def pruned_with_data(model: onnx.ModelProto, options: Options, progress: Progress | None = None) -> Pruned:
    """`model` pruned as `options` ask, with what their calibration data tells; repaired only where what repair chooses
    anew decides which channels are pruned, or where these are given.

    Raises:
        ArgumentError: as `calibrated_model`.
    """
    pruned, batches = _pruned(model, options)
    dense = pruned.dense
    if options.prune.repair is None:
        return pruned
    if options.prune.is_exact:
        return replace(pruned, model=_repaired(dense, pruned.model, options, batches, progress))
    if _chooses_anew(options):
        pruned = replace(pruned, model=_repaired(dense, pruned.model, _quick(options), batches, progress))

    def finished(chosen: onnx.ModelProto) -> onnx.ModelProto:
        return _repaired(dense, chosen, options, batches, progress, anew=False)

    return replace(pruned, finished=finished)


def _pruned(model: onnx.ModelProto, options: Options) -> tuple[Pruned, Sequence[Inputs]]:
    """The model pruned but not repaired, and the inputs that told."""
    if options.prune.repair is not None and not options.prune.prunes:
        raise ArgumentError("repair is against the model as it was before pruning: say how much to prune")
    batches = () if options.prune.calibration is None else load_calibration(options.prune.calibration, model)
    if options.prune.repair is not None and not batches:
        raise ArgumentError(f"repair {options.prune.repair!r} needs calibration data: --calibration data.npz")
    if options.prune.repair in _REFITS and options.prune.mask is None and options.prune.side == "input":
        model = turned(model, batches, options.prune.amount or _USUAL_AMOUNT, options.target.threads)
    several = options.prune.method == "hybrid" or knows_target(options)
    judge = _judge(model, options, batches) if several and batches else None
    return pruned_model(model, options, lambda pruned: _scores(pruned, options, batches), judge), batches


def _quick(options: Options) -> Options:
    """A repair without the long part: what is best after least squares is so after the longer repair too."""
    return options.replaced(repair="lsq") if options.prune.repair == "joint" else options


def _judge(model: onnx.ModelProto, options: Options, batches: Sequence[Inputs]) -> Judge:
    quick = _quick(options)

    def repaired(masked: onnx.ModelProto, fit: Sequence[Inputs]) -> onnx.ModelProto:
        return _repaired(model, masked, quick, fit, None)

    return outputs_judge(model, batches, None if quick.prune.repair is None else repaired, options.target.threads)


def _scores(model: onnx.ModelProto, options: Options, batches: Sequence[Inputs]) -> Scores | None:
    """By weight, one score per channel of `options.side`; None for criteria that see weights alone."""
    if isinstance(options.prune.criterion, ActivationCriterion):
        return _observed_scores(model, options, options.prune.criterion, _needed(batches, "of activations"))
    if callable(options.prune.criterion):
        return None
    name = base_name(options.prune.criterion)
    if name in CRITERIA:
        return None
    if name == BN_SCALE:
        return bn_scores(_analysed(model), model, options.prune.side)
    some = _needed(batches, repr(name))
    if name in ACTIVATION:
        return _observed_scores(model, options, ACTIVATION[name], some)
    if name == OBS:
        if options.prune.side != "input":
            raise ArgumentError("criterion 'obs' scores what layers read: use side 'input'")
        if options.prune.scope == "local":
            return obs_scores(model, some, options.target.threads)
        return obs_costs(model, some, partial(harm_on, model, threads=options.target.threads), options.target.threads)
    assert options.prune.calibration is not None
    samples = sample_count(some)
    labels = load_labels(options.prune.calibration, model, samples)
    if name == TVS:
        return tvs_scores(model, options, some, labels)
    return taylor_scores(model, options.prune, some, labels)


def _needed(batches: Sequence[Inputs], criterion: str) -> Sequence[Inputs]:
    if not batches:
        raise ArgumentError(f"criterion {criterion} needs calibration data: --calibration data.npz")
    return batches


def _repaired(
    model: onnx.ModelProto,
    masked: onnx.ModelProto,
    options: Options,
    batches: Sequence[Mapping[str, Array]],
    progress: Progress | None,
    anew: bool = True,
) -> onnx.ModelProto:
    """`masked` repaired. anew: whether, where every layer chooses for itself by "obs", the choice is made anew, of as
    many channels, on what the layers before it, pruned and repaired, hand on."""
    assert options.prune.repair is not None
    again = anew and _chooses_anew(options)
    choose = obs_choice(_analysed(model), model, masked) if again else None
    start = model if again else masked
    how: How = "stats" if options.prune.repair == "stats" else "lsq"
    found = repair(model, start, batches, how, choose=choose, progress=progress, threads=options.target.threads)[0]
    if options.prune.repair != "joint":
        return found
    tell = None if progress is None else partial(progress, "repair jointly")
    return fitted_jointly(model, found, batches, progress=tell, threads=options.target.threads)


def _chooses_anew(options: Options) -> bool:
    free = options.prune.method == "unconstrained" and options.prune.mask is None and not knows_target(options)
    return options.prune.repair in _REFITS and options.prune.criterion == "obs" and free


def _analysed(model: onnx.ModelProto) -> Analysis:
    return analyse(import_graph(model), infer_shapes(model))


def _observed_scores(
    model: onnx.ModelProto, options: Options, criterion: ActivationCriterion, batches: Sequence[Mapping[str, Array]]
) -> Scores:
    targets = {target.weight: target for target in prunable_targets(model, options.prune.side)}
    places = {weight: place for weight, place in observed(model, options.prune.side).items() if weight in targets}
    gauges = {place: Gauge(criterion, place.axis) for place in places.values()}
    names = list(dict.fromkeys(place.value for place in gauges))
    for values in value_batches(model, names, batches, options.target.threads):
        for place, gauge in gauges.items():
            gauge.add(values[place.value])
    tensors = constant_tensors(model)
    scores = {}
    for weight, place in places.items():
        axis = targets[weight].axis(options.prune.side)
        assert axis is not None
        scores[weight] = gauges[place].scores(numpy_helper.to_array(tensors[weight]), axis)
    return scores
