"""Short trainings of many variants of a model, on data that are read once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import onnx
import torch

from upscale_onnx.errors import ArgumentError
from upscale_onnx.measures.accuracy import Preprocessing
from upscale_onnx.runtime.naming import name_of
from upscale_onnx.training.images import TrainingData, training_data
from upscale_onnx.training.settings import Initial, Training
from upscale_onnx.training.trainer import Trainer
from upscale_onnx.types import Data


@dataclass(frozen=True, eq=False)
class Tuning:
    """A function from a variant of a model to the trained one. source: the path of the data, if they have one."""

    source: str
    data: TrainingData
    settings: Training

    @classmethod
    def of(
        cls,
        model: onnx.ModelProto,
        source: Data,
        settings: Training,
        preprocessing: Preprocessing | None = None,
        limit: int | None = None,
    ) -> Tuning:
        """The tuning of variants of `model`, which take the same input. limit: train on that many samples, drawn with
        the seed.

        Raises: ArgumentError where the data cannot be used, or the limit is less than one batch. ModelError: as
            `training_data`.
        """
        pixels = preprocessing or Preprocessing()
        data = training_data(model, source, pixels, settings.augment, settings.batch)
        if limit is not None and limit < len(data.labels):
            if limit < data.batch:
                raise ArgumentError(f"{limit} training samples are less than one batch of {data.batch}")
            drawn = np.sort(np.random.default_rng(settings.seed).permutation(len(data.labels))[:limit])
            rows = torch.from_numpy(drawn)
            data = replace(data, samples=data.samples[rows], labels=data.labels[rows])
        return cls(name_of(source), data, settings)

    def __call__(self, model: onnx.ModelProto, init: str = "pretrained", seed: int | None = None) -> onnx.ModelProto:
        """`model` after all epochs. init: where weights begin. seed: in place of that of the settings.

        Raises: ArgumentError where the model cannot be trained, or the loss is no finite number.
        """
        settings = replace(self.settings, init=cast("Initial", init), seed=self.settings.seed if seed is None else seed)
        trainer = Trainer(model, self.data, settings)
        for number in range(settings.epochs):
            trainer.epoch(number)
        return trainer.model()

    def words(self, model: str, output: str) -> list[str]:
        """The words of a command that writes what comes of the file `model` to `output`."""
        chosen, pixels = self.settings, self.data.preprocessing
        words = ["upscale-onnx", "finetune", model, output, "--data", self.source]
        for name in ("epochs", "batch", "rate", "augment", "seed", "threads"):
            words += [f"--{name}", str(getattr(chosen, name))]
        if pixels is None:
            return words
        words += ["--mean", ",".join(map(str, pixels.mean)), "--std", ",".join(map(str, pixels.std))]
        words += [] if pixels.size is None else ["--size", "x".join(map(str, pixels.size))]
        return [*words, "--layout", pixels.layout, *([] if pixels.scale else ["--no-scale"])]

    @property
    def digest(self) -> str:
        """A hash of all that decides what comes of a model."""
        found = hashlib.sha256(repr((self.settings, self.data.preprocessing)).encode())
        for part in (self.data.samples, self.data.labels):
            found.update(part.contiguous().numpy().tobytes())
        return found.hexdigest()[:16]
