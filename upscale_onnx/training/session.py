"""A whole training: epochs, the best of them, the state after each, and the model at the end."""

from __future__ import annotations

import time
from dataclasses import astuple, dataclass, field
from typing import Protocol

import onnx

from upscale_onnx.results.training import Course, Epoch, Finetuned
from upscale_onnx.training.checking import check_in_onnxruntime
from upscale_onnx.training.checkpoint import Identity, load_state, save_state
from upscale_onnx.training.judging import Judge
from upscale_onnx.training.norms import norm_nodes
from upscale_onnx.training.optimizing import rate_at
from upscale_onnx.training.trainer import Trainer
from upscale_onnx.types import Progress


class Pruner(Protocol):
    """Prunes while training."""

    def before(self, step: int) -> None:
        """Called before each step with the number of steps done."""

    def counts(self, epoch: int) -> bool:
        """Whether the model after that epoch, from 0 on, is pruned as far as it is to be."""


@dataclass(eq=False)
class Session:
    """A training of `model` and what has come of it so far.

    judge: top-1 of a model on the validation data, if there are any. state: the path of its file, if it has one.
    best: the model of the epoch that is kept, `kept`; 0 while no epoch counts.
    """

    model: onnx.ModelProto
    trainer: Trainer
    judge: Judge | None
    identity: Identity
    state: str | None
    tell: Progress
    before: float | None = None
    best: onnx.ModelProto = field(default_factory=onnx.ModelProto)
    kept: int = 0
    epochs: list[Epoch] = field(default_factory=list)

    def finished(self, pruner: Pruner | None = None) -> Finetuned:
        """The trained model, after all epochs that are still to come.

        Raises: as `finetune`.
        """
        settings = self.trainer.settings
        self._begin()
        while len(self.epochs) < settings.epochs:
            self._epoch(pruner)
            self._save()
        self.tell("check in onnxruntime", 1.0)
        check_in_onnxruntime(self.best, self.trainer.data, settings.threads)
        return Finetuned(self.best, self._course())

    def _begin(self) -> None:
        """Go on from the file, if there is one."""
        saved = None if self.state is None else load_state(self.state, self.identity)
        if saved is None:
            self.before = None if self.judge is None else self.judge(self.model)
            return
        self.trainer.restore(saved["trainer"])
        self.epochs = [Epoch(*row) for row in saved["epochs"]]
        self.before, self.kept = saved["before"], saved["kept"]
        if self.kept:
            self.best = onnx.ModelProto.FromString(saved["best"])

    def _epoch(self, pruner: Pruner | None) -> None:
        trainer, settings, done = self.trainer, self.trainer.settings, len(self.epochs)
        start, steps, is_labelled = time.perf_counter(), trainer.data.steps, trainer.data.is_labelled

        def told(share: float, loss: float, accuracy: float) -> None:
            right = f", {accuracy:.1%}" if is_labelled else ""
            self.tell(f"epoch {done + 1}/{settings.epochs}, loss {loss:.3f}{right}", (done + share) / settings.epochs)

        fit = trainer.epoch(done, told, None if pruner is None else pruner.before)
        made = trainer.model()
        accuracy = None if self.judge is None else self.judge(made)
        rate = rate_at((done + 1) * steps - 1, settings.epochs * steps, settings)
        right, seconds = fit.accuracy if is_labelled else None, time.perf_counter() - start
        self.epochs.append(Epoch(done + 1, fit.loss, right, accuracy, rate, seconds))
        if pruner is not None and done + 1 < settings.epochs and not pruner.counts(done):
            return
        if self.accuracy is None or accuracy is None or accuracy > self.accuracy or settings.keep == "last":
            self.best, self.kept = made, done + 1

    @property
    def accuracy(self) -> float | None:
        """That of the model that is kept."""
        return self.epochs[self.kept - 1].accuracy if self.kept else None

    def _save(self) -> None:
        if self.state is None:
            return
        content = {"identity": dict(self.identity), "trainer": self.trainer.state(), "before": self.before}
        rows, best = (
            [list(astuple(epoch)) for epoch in self.epochs],
            self.best.SerializeToString() if self.kept else None,
        )
        save_state(self.state, {**content, "epochs": rows, "kept": self.kept, "best": best})

    def _course(self) -> Course:
        trainer, settings = self.trainer, self.trainer.settings
        norms = 0 if settings.norms == "freeze" else len(norm_nodes(self.model)) + len(trainer.parameters.unfolded)
        size = trainer.data.batch
        notes = () if size == settings.batch else (f"the model fixes its batch: it was trained in batches of {size}",)
        return Course(self.before, self.accuracy, tuple(self.epochs), self.kept, trainer.names, norms, size, notes)
