"""What the planner would decide for a model, without making an export."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import onnx

from upscale_onnx.channels.analysis import Analysis
from upscale_onnx.costs.costs import Costs
from upscale_onnx.export.draft import Draft
from upscale_onnx.export.pipeline import pipeline_of, preparation
from upscale_onnx.export.recipes import Making
from upscale_onnx.model import Shape
from upscale_onnx.passes.select_channels import SelectChannels
from upscale_onnx.passes.split_producers import SplitProducers
from upscale_onnx.plan.planner import ValuePlan, plan_selections
from upscale_onnx.plan.splitting import ValueSplit, plan_splits


class Planned(NamedTuple):
    """What the planner decides for the values of a model, with the analysis, shapes and costs on which that rests."""

    analysis: Analysis
    shapes: Mapping[str, Shape]
    costs: Costs
    plans: tuple[ValuePlan, ...]

    def splits(self, without: frozenset[str] = frozenset()) -> tuple[ValueSplit, ...]:
        """The groups that would be computed in pieces, except those with a value in `without`."""
        return plan_splits(self.analysis, self.shapes, self.costs, without)


def planned_values(draft: Draft, making: Making) -> Planned:
    """The selections planned for all values of the draft's model, for an export by `making`."""
    now, costs = draft.take(), making.known_costs
    pipeline_of(making).before(SplitProducers, SelectChannels).run(now)
    return Planned(now.analysis, now.shapes, costs, plan_selections(now.analysis, now.shapes, costs))


def prepared_analysis(model: onnx.ModelProto, shapes: Mapping[str, Shape]) -> Analysis:
    """The analysis of `model` after the edits with which every export begins. They change no weights."""
    now = Draft(model, shapes).take()
    preparation().run(now)
    return now.analysis
