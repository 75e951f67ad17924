"""The tables of what is measured of a model: its accuracy, the times of its operators, what its layers can lose."""

from __future__ import annotations

from upscale_onnx.report.rows import Cell, Table, facts_of
from upscale_onnx.results import Accuracy, Calibration, Sensitivity


def accuracy_table(found: Accuracy) -> Table:
    """The shares of images whose label has the highest score, or one of the five highest."""
    return Table("accuracy", "Accuracy", facts=facts_of(found, "top1", "top5", "images"))


def calibration_table(result: Calibration) -> Table:
    """What was measured, and the predicted time of each operator type."""
    prediction = result.predicted
    measured = facts_of(result, "target", "device", "provider", "threads", "timed", "wanted", "seconds", "input_ms")
    facts = (*measured, ("predicted_ms", prediction.ms), ("contraction_ms", prediction.contraction_ms))
    return Table("calibration", "Calibration", ("operator", "predicted ms"), prediction.by_operator, facts)


def sensitivity_table(found: Sensitivity) -> Table:
    """One row per layer: what is measured at each amount, and the largest amount that is tolerated."""
    columns = ("layer", "channels", *(f"{amount:g}" for amount in found.amounts), "largest_amount")
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (layer.weight, layer.channels, *layer.values, layer.largest_amount) for layer in found.layers
    )
    facts: tuple[tuple[str, Cell], ...] = facts_of(found, "measure", "baseline")
    facts += (("tolerated_loss", found.tolerated), ("samples", found.samples))
    if found.together is not None:
        facts += (
            ("loss_of_all_together", found.together.unscaled_loss),
            ("profile.factor", found.together.factor),
            ("profile.loss", found.together.loss),
        )
    return Table("sensitivity", "Sensitivity", columns, rows, facts)
