"""What the planner would decide about a model, without making an export."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import onnx

from upscale_onnx.channels.analysis import Analysis
from upscale_onnx.export.draft import Draft
from upscale_onnx.export.preparation import narrowed, prepared
from upscale_onnx.export.recipes import Making
from upscale_onnx.model import Shape
from upscale_onnx.plan.claims import Trace
from upscale_onnx.plan.planner import ValuePlan, plan_selections
from upscale_onnx.plan.splitting import Split, plan_splits


class Planned(NamedTuple):
    """What the planner decides for every value of a model, with the analysis it goes by."""

    analysis: Analysis
    plans: tuple[ValuePlan, ...]
    splits: tuple[Split, ...]


def planned_values(draft: Draft, making: Making) -> Planned:
    """The plans of all values of the draft's model, and what would be computed in pieces but for values that
    `making` goes without."""
    shapes = dict(draft.shapes)
    graph, analysis = prepared(draft, shapes, Trace())
    analysis = narrowed(graph, analysis, shapes, making.known_costs)
    splits = plan_splits(analysis, shapes, making.known_costs, making.without)
    return Planned(analysis, plan_selections(analysis, shapes, making.known_costs), splits)


def prepared_analysis(model: onnx.ModelProto, shapes: Mapping[str, Shape]) -> Analysis:
    """The analysis of `model` after the edits that every export begins with; they leave weights as they are."""
    return prepared(Draft(model, shapes), dict(shapes), Trace())[1]
