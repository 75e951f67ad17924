"""The results of training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

    from upscale_onnx.results.report import Report, Result

from upscale_onnx.results.shown import Shown


@dataclass(frozen=True)
class Epoch:
    """An epoch. loss, train_accuracy: means over its training batches. accuracy: top-1 on the validation data, as
    onnxruntime runs the model. rate: the learning rate at its end. Shares are 0 to 1, and None without labels."""

    number: int
    loss: float
    train_accuracy: float | None
    accuracy: float | None
    rate: float
    seconds: float


@dataclass(frozen=True)
class Course(Shown):
    """The course of a training.

    before, accuracy: top-1 (0 to 1) on the validation data before and after; None without validation data.
    kept: the number of the epoch whose weights the model has. trained: the names of the tensors that were trained.
    norms: how many normalisations followed the batches. batch: samples of a step. notes: what the user should know.
    """

    before: float | None
    accuracy: float | None
    epochs: tuple[Epoch, ...]
    kept: int
    trained: tuple[str, ...]
    norms: int
    batch: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finetuned(Shown):
    """A trained model, and how it was trained.

    >>> import onnx
    >>> from upscale_onnx import Finetuned
    >>> from upscale_onnx.results import Course, Epoch
    >>> course = Course(0.87, 0.91, (Epoch(1, 0.2, 0.93, 0.91, 0.01, 4.0),), 1, ("w",), 0, 64)
    >>> print(Finetuned(onnx.ModelProto(), course))
    1 epoch, the weights of epoch 1: accuracy 91.0%, 87.0% before
    number  loss  train accuracy  accuracy  rate  seconds
         1   0.2            0.93      0.91  0.01        4
    """

    model: onnx.ModelProto
    course: Course


@dataclass(frozen=True)
class PrunedInTraining(Shown):
    """A model that was pruned in turns with training, and compiled.

    course: of the training. masked: the trained model, with zeros where channels were pruned. result: of its compile.

    >>> import upscale_onnx
    >>> from upscale_onnx.results import Course, Epoch
    >>> result = upscale_onnx.compile("models/digits_cnet_masked.onnx", race=False, verify=False)
    >>> course = Course(0.87, 0.91, (Epoch(1, 0.2, 0.93, 0.91, 0.01, 4.0),), 1, ("w",), 0, 64)
    >>> upscale_onnx.PrunedInTraining(course, result.masked, result).model == result.model
    True
    """

    course: Course
    masked: onnx.ModelProto
    result: Result

    @property
    def model(self) -> onnx.ModelProto:
        """The compiled model."""
        return self.result.model

    @property
    def report(self) -> Report:
        """The report of the compile."""
        return self.result.report
