"""The table of the epochs of a training."""

from __future__ import annotations

from upscale_onnx.report.rows import Table, facts_of
from upscale_onnx.results import Course

EPOCH_COLUMNS = ("number", "loss", "train_accuracy", "accuracy", "rate", "seconds")


def course_table(course: Course) -> Table:
    """One row per epoch; the facts are of the model that is kept."""
    rows = tuple(tuple(getattr(epoch, name) for name in EPOCH_COLUMNS) for epoch in course.epochs)
    notes = tuple(("note", note) for note in course.notes)
    facts = (*facts_of(course, "before", "accuracy", "kept", "norms"), *notes)
    return Table("training", "Training", EPOCH_COLUMNS, rows, facts)
