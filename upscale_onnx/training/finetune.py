"""The entry to training: from a model and data to the trained model."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import astuple, dataclass, field
from pathlib import Path

import onnx

from upscale_onnx.measures.accuracy import Preprocessing, labelled_batches
from upscale_onnx.measures.measure import Top1
from upscale_onnx.model import load_model
from upscale_onnx.runtime.inputs import Inputs
from upscale_onnx.runtime.place import Place
from upscale_onnx.training.checkpoint import identity, load_state, save_state
from upscale_onnx.training.images import TrainingData, labelled_samples, training_data
from upscale_onnx.training.settings import Training
from upscale_onnx.training.trainer import Trainer
from upscale_onnx.types import IntArray, Progress

Model = str | Path | onnx.ModelProto
Judge = Callable[[onnx.ModelProto], float]


@dataclass(frozen=True)
class Epoch:
    """An epoch. loss, train_accuracy: means over its training batches. accuracy: top-1 on the validation data, as
    onnxruntime runs the model. Shares are 0 to 1."""

    number: int
    loss: float
    train_accuracy: float
    accuracy: float
    seconds: float


@dataclass(frozen=True)
class Course:
    """The course of a training. before, accuracy: top-1 (0 to 1) on the validation data before and after. trained: the
    names of the tensors that were trained."""

    before: float
    accuracy: float
    epochs: tuple[Epoch, ...]
    trained: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Finetuned:
    """A trained model, and how it was trained."""

    model: onnx.ModelProto
    course: Course


def finetune(
    model: Model,
    data: str,
    val: str,
    settings: Training | None = None,
    preprocessing: Preprocessing | None = None,
    *,
    teacher: Model | None = None,
    state: str | None = None,
    limit: int | None = None,
    progress: Progress | None = None,
) -> Finetuned:
    """Train `model` on `data`. It is judged on `val` after each epoch, in onnxruntime.

    data, val: as `upscale_onnx.measures.accuracy.evaluate` takes them. limit: judge on that many images.
    teacher: a model of the same classes, whose scores are learned, too.
    state: path of a file that holds the state after each epoch. Where it is there, training goes on from it, and the
        result is the same as without an interruption.

    Raises:
        ArgumentError: data or settings cannot be used, or the loss is no finite number.
        ModelError: the model cannot be read, run or trained.
    """
    wanted, pixels = settings or Training(), preprocessing or Preprocessing()
    loaded = load_model(model)
    taught = None if teacher is None else load_model(teacher)
    tell = progress or (lambda stage, share: None)
    tell("read the data", 0.0)
    samples = training_data(loaded, data, pixels, wanted.augment, wanted.batch)

    batches = _judging(loaded, samples, val, pixels, limit, wanted.seed)
    judge = Top1(batches, 0.0, Place(threads=wanted.threads)).value
    known = identity(loaded, samples, wanted, taught, val, limit)
    run = _Run(Trainer(loaded, samples, wanted, taught), wanted, judge, known, state)
    run.begin(loaded)
    while len(run.epochs) < wanted.epochs:
        run.epoch(tell)
    return Finetuned(run.best, Course(run.before, run.accuracy, tuple(run.epochs), run.trainer.names))


def _judging(
    model: onnx.ModelProto, samples: TrainingData, val: str, pixels: Preprocessing, limit: int | None, seed: int
) -> list[tuple[Inputs, IntArray]]:
    """The batches in `val` to judge on, which are read once: images drawn with `seed`, or the first other samples."""
    if samples.preprocessing is not None:
        return list(labelled_batches(model, val, pixels, limit, seed)[1])
    x, labels = labelled_samples(val, samples.name)
    count, size = min(limit or len(labels), len(labels)), min(samples.batch, len(labels))
    starts = range(0, max(count - size, 0) + 1, size)
    return [({samples.name: x[i : i + size]}, labels[i : i + size]) for i in starts]


@dataclass(eq=False)
class _Run:
    """A training and what has come of it so far. state: the path of its file, if it has one."""

    trainer: Trainer
    settings: Training
    judge: Judge
    identity: str
    state: str | None
    before: float = 0.0
    best: onnx.ModelProto = field(default_factory=onnx.ModelProto)
    epochs: list[Epoch] = field(default_factory=list)

    @property
    def accuracy(self) -> float:
        """That of the model that is kept."""
        found = [epoch.accuracy for epoch in self.epochs]
        return found[-1] if self.settings.keep == "last" else max(found)

    def begin(self, model: onnx.ModelProto) -> None:
        """Begin with `model`, or go on from the file."""
        saved = None if self.state is None else load_state(self.state, self.identity)
        if saved is None:
            self.before, self.best = self.judge(model), model
            return
        self.trainer.restore(saved["trainer"])
        self.epochs = [Epoch(*row) for row in saved["epochs"]]
        self.before, self.best = saved["before"], onnx.ModelProto.FromString(saved["best"])

    def epoch(self, tell: Progress) -> None:
        """Train for one epoch, judge, and save."""
        start, done, count = time.perf_counter(), len(self.epochs), self.settings.epochs
        last = f", loss {self.epochs[-1].loss:.3f}, {self.epochs[-1].accuracy:.1%}" if self.epochs else ""
        stage = f"epoch {done + 1}/{count}{last}"
        loss, hits = self.trainer.epoch(done, lambda share: tell(stage, (done + share) / count))
        made = self.trainer.model()
        accuracy = self.judge(made)
        if self.settings.keep == "last" or not self.epochs or accuracy > self.accuracy:
            self.best = made
        self.epochs.append(Epoch(done + 1, loss, hits, accuracy, time.perf_counter() - start))
        if self.state is None:
            return
        content = {"identity": self.identity, "trainer": self.trainer.state(), "before": self.before}
        rows = [list(astuple(epoch)) for epoch in self.epochs]
        save_state(self.state, {**content, "epochs": rows, "best": self.best.SerializeToString()})
