"""Runs trials: mask, compile, evaluate and time a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, cast

import onnx

from upscale_onnx import pipeline
from upscale_onnx.errors import UpscaleError
from upscale_onnx.measures.accuracy import Preprocessing, evaluate
from upscale_onnx.measures.data import unlabelled
from upscale_onnx.measures.measure import Distance
from upscale_onnx.options import Export, Options, Repair
from upscale_onnx.paper.rows import Key, Row, Setting
from upscale_onnx.paper.trial import Trial
from upscale_onnx.pruning.checks import check_masks
from upscale_onnx.pruning.prune import prune
from upscale_onnx.results import Accuracy, Race, Result
from upscale_onnx.runtime import race
from upscale_onnx.runtime.place import Place
from upscale_onnx.runtime.providers import Device
from upscale_onnx.training.finetune import finetune
from upscale_onnx.training.settings import Training
from upscale_onnx.types import Progress

_BUDGET_S = 6.0
_SAMPLES = 256


@dataclass(frozen=True, eq=False)
class Experiment:
    """A model, and how the models made from it are measured.

    data, preprocessing: labelled images, as `evaluate` takes them. Without them, outputs are compared with those of
    the unpruned model, on the calibration data if it is given, else on random inputs.
    train, batch: labelled images of the same kind that every masked model is trained on before it is judged, for the
    epochs of the setting, and the samples of a step.
    limit: the number of images to evaluate, or of samples to compare on.
    export: the export that is timed. "auto" is the fastest one, or the paper's if nothing is timed.
    latency: whether models are timed, in a race of `budget_s` seconds per trial.
    """

    model: onnx.ModelProto
    setting: Setting
    data: str | None = None
    preprocessing: Preprocessing | None = None
    train: str | None = None
    batch: int = Training.batch
    limit: int | None = None
    calibration: str | None = None
    repair: Repair | None = None
    export: Export = "auto"
    latency: bool = False
    budget_s: float = _BUDGET_S

    @property
    def device(self) -> Device:
        """The device on which models run."""
        return cast("Device", self.setting.provider)

    @property
    def session(self) -> dict[str, Any]:
        """The provider, threads and seed with which models run, by name."""
        return {"provider": self.device, "threads": self.setting.threads, "seed": self.setting.seed}

    @cached_property
    def unpruned(self) -> Accuracy:
        """The accuracy of the unpruned model."""
        return self.accuracy(self.model)

    @cached_property
    def distance(self) -> Distance:
        """The measure of how far outputs are from those of the unpruned model."""
        setting = self.setting
        place = Place(self.device, setting.threads)
        return unlabelled(self.model, self.calibration, limit=self.limit or _SAMPLES, seed=setting.seed, place=place)

    def accuracy(self, model: onnx.ModelProto) -> Accuracy:
        """The accuracy of `model` on the labelled images."""
        assert self.data is not None
        return evaluate(model, self.data, self.preprocessing, limit=self.limit, **self.session)

    def row(self, trial: Trial, **outcome: Any) -> Row:
        """The row of `trial`, with the fields in `outcome`."""
        return Row(**asdict(self.setting), **asdict(trial), **outcome)

    def lacks(self, trial: Trial, known: Mapping[Key, Row]) -> bool:
        """Whether the rows in `known` lack a result that is wanted for `trial`."""
        row = known.get(self.row(trial).key)
        return row is None or not row.has_accuracy or (self.latency and not row.has_latency)


def run(
    experiment: Experiment,
    trials: Iterable[Trial],
    known: Mapping[Key, Row],
    *,
    progress: Progress | None = None,
    failed: Callable[[Trial, UpscaleError], None],
) -> Iterator[Row]:
    """Run the `trials` for which `known` lacks a result, and yield the row of each as soon as it is measured.

    failed: is called with each trial that cannot be run, and its error; the others are run nevertheless.
    """
    wanted = [trial for trial in trials if experiment.lacks(trial, known)]
    for done, trial in enumerate(wanted):
        if progress is not None:
            progress(str(trial), done / len(wanted))
        try:
            row = measure(experiment, trial, known.get(experiment.row(trial).key))
        except UpscaleError as error:
            failed(trial, error)
            continue
        yield row


def measure(experiment: Experiment, trial: Trial, known: Row | None = None) -> Row:
    """Measure the results wanted for `trial` that `known`, an older row of it, lacks. Returns the row.

    Raises:
        ArgumentError: the options do not go together.
        ModelError: a model cannot be run.
        NotEquivalentError: the compiled model does not equal the masked one.
    """
    options = _options(experiment, trial)
    check_masks(options)
    pruned = prune(experiment.model, options)
    exported = _exported(experiment, pruned.model)
    after = exported.report.after
    outcome: dict[str, Any] = {"channels": pruned.count, "parameters": after.parameters, "macs": after.macs}
    outcome["export"] = exported.report.export
    if known is None or not known.has_accuracy:
        outcome |= _accuracy(experiment, _trained(experiment, pruned.model, exported))
    if experiment.latency:
        outcome |= _latency(experiment, pruned.model, exported)
    return experiment.row(trial, **outcome)


def _options(experiment: Experiment, trial: Trial) -> Options:
    calibration, repair = experiment.calibration, experiment.repair
    return Options.of(**asdict(trial), masks="flat", calibration=calibration, repair=repair, **experiment.session)


def _exported(experiment: Experiment, masked: onnx.ModelProto, race: bool = False) -> Result:
    """`masked`, compiled to the export that is asked for. "auto" without a race is the paper's export."""
    export = "upscale" if experiment.export == "auto" and not race else experiment.export
    return pipeline.compile(masked, export=export, race=race, **experiment.session)


def _trained(experiment: Experiment, masked: onnx.ModelProto, exported: Result) -> onnx.ModelProto:
    """The export of `masked`, trained if that is asked for: by Adam at a constant rate, as the reference does. So the
    first epochs are the same for any number of them."""
    setting = experiment.setting
    if experiment.train is None or not setting.epochs:
        return exported.model
    settings = Training(
        epochs=setting.epochs,
        batch=experiment.batch,
        optimizer="adam",
        rate=1e-3,
        weight_decay=0.0,
        schedule="constant",
        keep="last",
        seed=setting.seed,
        threads=setting.threads,
    )
    trained = finetune(masked, experiment.train, None, settings, experiment.preprocessing)
    return _exported(experiment, trained.model).model


def _accuracy(experiment: Experiment, model: onnx.ModelProto) -> dict[str, Any]:
    if experiment.data is not None:
        found = experiment.accuracy(model)
        before = experiment.unpruned.top1
        return {"unpruned_top1": before, "top1": found.top1, "top5": found.top5, "images": found.images}
    return {"distance": experiment.distance.value(model)}


def _latency(experiment: Experiment, masked: onnx.ModelProto, exported: Result) -> dict[str, Any]:
    timed = _exported(experiment, masked, race=True) if experiment.export == "auto" else exported
    gathered = pipeline.compile(masked, export="gather", race=False, verify=False, provider=experiment.device).model
    models = {"baseline": gathered, "unpruned": experiment.model, "pruned": timed.model}
    raced = race(models, **experiment.session, budget_s=experiment.budget_s)
    return {"export": timed.report.export, **_timings(raced)}


def _timings(raced: Race) -> dict[str, Any]:
    baseline, unpruned, pruned = raced.timings
    return {
        "unpruned_ms": unpruned.median_ms,
        "unpruned_std_ms": unpruned.std_ms,
        "baseline_ms": baseline.median_ms,
        "baseline_std_ms": baseline.std_ms,
        "latency_ms": pruned.median_ms,
        "latency_std_ms": pruned.std_ms,
        "ratio": pruned.ratio,
        "ratio_low": pruned.ratio_low,
        "ratio_high": pruned.ratio_high,
    }
