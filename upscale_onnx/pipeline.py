"""The stages of a compile, in order: load, tune, prune, analyse, contest, verify, effect."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import onnx

import upscale_onnx
from upscale_onnx.channels.analysis import Analysis, analyse
from upscale_onnx.errors import LossError
from upscale_onnx.masks.float_view import viewed
from upscale_onnx.masks.kept import kept_channels
from upscale_onnx.model import Model, import_graph, infer_shapes, load_model
from upscale_onnx.model.batch import check_batch
from upscale_onnx.model.provenance import with_provenance
from upscale_onnx.model.stats import model_stats
from upscale_onnx.model.stored import WeightStore
from upscale_onnx.options import Options
from upscale_onnx.options.text import options_text
from upscale_onnx.pruning.checks import check_masks
from upscale_onnx.pruning.entry import pruned as pruned_as_asked
from upscale_onnx.racing import notes
from upscale_onnx.racing.proven import proven
from upscale_onnx.racing.settling import Settled, Subject, settled
from upscale_onnx.results import Inspection, PruningEffect, Report, Result, TimeProfile
from upscale_onnx.runtime.faults import blames_the_model
from upscale_onnx.runtime.place import Place
from upscale_onnx.runtime.profile import operator_totals, profile_operators
from upscale_onnx.runtime.providers import resolve_provider
from upscale_onnx.runtime.soundness import check_operators
from upscale_onnx.runtime.user_inputs import load_inputs
from upscale_onnx.segments import find_segments, picture_of, priced_refusals
from upscale_onnx.timing.target_costs import tune
from upscale_onnx.types import Progress
from upscale_onnx.worker import rare_collections

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from upscale_onnx.options.overrides import Overrides

_LOGGER = logging.getLogger(__name__)
# The shares of all work (0 to 1) at which each stage starts and ends, for a usual compile with a race.
_STAGES = {
    "load": (0.0, 0.05),
    "tune": (0.05, 0.1),
    "prune": (0.1, 0.25),
    "analyse": (0.25, 0.3),
    "contest": (0.3, 0.7),
    "verify": (0.7, 0.9),
    "effect": (0.9, 1.0),
}


def compile(
    model: Model, options: Options | None = None, *, progress: Progress | None = None, **overrides: Unpack[Overrides]
) -> Result:
    """Prune `model` where options ask for it, and compile it: the result holds the smaller model and its report.

    The compiled model computes the same as the masked one. `overrides` are fields of `Options`. No model is written to
    disk.

    Raises:
        ArgumentError: an option cannot be used.
        ModelError: the model cannot be read.
        NotEquivalentError: the result could not be shown equal.
        ProviderError: there is no such device.
        UnchangedError: nothing became smaller or faster, and options make that an error.
        LossError: pruning costs more than `max_loss`.

    >>> import upscale_onnx
    >>> result = upscale_onnx.compile("models/digits_cnet_masked.onnx", race=False)
    >>> print(result)
    61 % fewer parameters, same outputs
                before  after                   change
    file size   739 kB  293 kB                  -60 %
    parameters  184 k   72.6 k                  -61 %
    MACs        3.11 M  1.27 M                  -59 %
    exactness   -       15/15 regions, 18 runs  same outputs
    """
    return compiled(model, (options or Options()).replaced(**overrides), progress)


@blames_the_model
@rare_collections()
def compiled(
    model: Model, wanted: Options, progress: Progress | None = None, store: WeightStore | None = None
) -> Result:
    """What `compile` returns, or raises. A large model with external data keeps its weights in `store`, where there is
    one and nothing is pruned; the models of the result then refer to it."""
    check_masks(wanted)
    clock = _Clock(progress)
    with clock.stage("load"):
        original = load_model(model, None if wanted.prune.prunes else store)
        if wanted.target.batch is not None:
            check_batch(original, wanted.target.batch)
        # What cannot be used is said before any work, and a file is read once.
        if wanted.proof.verify and "global" in wanted.proof.proofs:
            check_operators(original, resolve_provider(wanted.target.provider))
        if wanted.proof.verify and wanted.proof.inputs is not None:
            wanted = wanted.replaced(inputs=load_inputs(wanted.proof.inputs, original))
    with clock.stage("tune"):
        tune(original, wanted.target)
    with clock.stage("prune"):
        pruned = pruned_as_asked(original, wanted, clock.inside)
    with clock.stage("analyse"):
        subject = Subject.of(pruned.model)
    with clock.stage("contest"):
        found = settled(subject, pruned, original, wanted, partial(clock.inside, "contest"))
    with clock.stage("verify"):
        shown = proven(found.model, found.outcome, wanted)
        masked, outcome = shown.original, found.outcome
    with clock.stage("effect"):
        effect = _effect(original, shown.model, wanted) if found.count else None
    model = _described(shown.model, found, wanted) if wanted.export.metadata else shown.model
    report = Report(
        export=outcome.name,
        before=model_stats(original, found.subject.draft.shapes),
        after=model_stats(model, shown.shapes),
        segments=found.subject.segments,
        refusals=(*found.subject.refusals, *shown.refusals),
        verification=shown.verification,
        race=outcome.race,
        masked_channels=found.count,
        seconds=clock.seconds,
        decisions=outcome.decisions,
        bound_ratio=outcome.bound_ratio,
        profile=kept_channels(viewed(masked), wanted.prune.side, wanted.prune.method) if wanted.prune.prunes else (),
        notes=(
            *found.notes,
            *pruned.notes,
            *(notes.unrepaired(wanted.prune, pruned.dense) if found.count else ()),
            *(notes.mostly_tables(original) if wanted.prune.prunes else ()),
            *(notes.undescribed(model) if wanted.export.metadata else ()),
        ),
        effect=effect,
    )
    clock.done()
    return Result(model, report, masked, shown.claims)


@blames_the_model
def detailed(result: Result, options: Options | None = None) -> Report:
    """The report of `result` with what only a page shows: the picture of its channels and, if exports were raced, the
    time by operator type of the model before and after. Its segments are those of the model that was compiled in the
    end. `options` are those of the compile.

    Raises:
        ModelError, ProviderError: onnxruntime cannot run one of the models.
    """
    analysis = _analysed(result.masked)
    # Weights that were given back in the end may have brought channels back to life since the contest.
    segments = find_segments(analysis, priced_refusals(analysis))
    report = replace(result.report, segments=segments, picture=picture_of(analysis, segments, result.claims))
    if report.race is None:
        return report
    wanted = (options or Options()).target
    place = Place(resolve_provider(wanted.provider), wanted.threads, wanted.batch)
    runners = {report.race.timings[0].name: result.masked, report.export: result.model}
    return replace(report, profiles=tuple(_profiled(name, model, place) for name, model in runners.items()))


def _profiled(name: str, model: onnx.ModelProto, place: Place) -> TimeProfile:
    totals = operator_totals(profile_operators(model, **vars(place)))
    return TimeProfile(name, totals, place.provider, place.threads, place.batch)


@blames_the_model
def inspect(model: Model, *, progress: Progress | None = None) -> Inspection:
    """The segments, refusals, size and picture of `model`.

    Raises:
        ModelError: the model cannot be read.

    >>> import upscale_onnx
    >>> found = upscale_onnx.inspect("models/digits_cnet_masked.onnx")
    >>> found.segments[0].live, found.segments[0].classes
    (29, 48)
    """
    clock = _Clock(progress)
    with clock.stage("load"):
        loaded = load_model(model)
    with clock.stage("analyse"):
        analysis = _analysed(loaded)
        refusals = priced_refusals(analysis)
        segments = find_segments(analysis, refusals)
    clock.done()
    return Inspection(segments, refusals, model_stats(loaded), picture_of(analysis, segments))


def _analysed(model: onnx.ModelProto) -> Analysis:
    return analyse(import_graph(model), infer_shapes(model))


def _described(compiled: onnx.ModelProto, found: Settled, options: Options) -> onnx.ModelProto:
    """`compiled` with metadata about its nodes and about the compile, without times and places."""
    facts = {"version": upscale_onnx.__version__, "export": found.outcome.name, "options": options_text(options)}
    return with_provenance(compiled, found.model, found.subject.segments, facts)


def _effect(original: onnx.ModelProto, compiled: onnx.ModelProto, options: Options) -> PruningEffect:
    """How far pruning moved the outputs. Raises `LossError` where that is more than `max_loss`."""
    if not options.proof.verify:
        return PruningEffect(detail="not measured: nothing is compared")
    from upscale_onnx.measures.pruning_effect import pruning_effect

    found = pruning_effect(original, compiled, options)
    if options.prune.max_loss is not None and (found.loss is None or not found.loss <= options.prune.max_loss):
        raise LossError(notes.too_much_lost(found, options.prune.max_loss, options.prune))
    return found


class _Clock:
    """Times the stages and reports progress. The reported share of all work never falls."""

    def __init__(self, progress: Progress | None) -> None:
        self.seconds: dict[str, float] = {}
        self._tell = progress or (lambda stage, fraction: None)
        self._done = 0.0
        self._range = (0.0, 0.0)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self._range = _STAGES[name]
        self.inside(name, 0.0)
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start
        _LOGGER.info("%s took %.2f s", name, self.seconds[name])

    def inside(self, name: str, share: float) -> None:
        """Report that the share `share` (0 to 1) of the stage is done; `name` says what is being done."""
        start, end = self._range
        self._done = max(self._done, start + share * (end - start))
        self._tell(name, self._done)

    def done(self) -> None:
        self._tell("done", 1.0)
