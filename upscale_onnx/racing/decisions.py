"""The planner's decisions, with predicted times and those from a profile of the compiled model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from upscale_onnx.channels.analysis import Analysis
from upscale_onnx.costs.profiled import NodeTime, contraction_times
from upscale_onnx.model.operators import SELECTIONS, UNARY
from upscale_onnx.plan.planner import ValuePlan
from upscale_onnx.plan.splitting import PieceRead, ValueSplit, part_name
from upscale_onnx.results import Decision, Segment

# The nodes that may stand between a selection and its consumer, the Concat of selected parts among them, and the most.
_BEHIND = UNARY | {"BatchNormalization", "Concat"}
_FARTHEST = 6


def decisions(
    analysis: Analysis,
    plans: Sequence[ValuePlan],
    without: frozenset[str],
    segments: Sequence[Segment],
    compiled: onnx.ModelProto,
    profile: Sequence[NodeTime],
    splits: Sequence[ValueSplit] = (),
) -> tuple[Decision, ...]:
    """One decision per planned value, in graph order.

    without: the values whose selections were taken back.
    splits: the values that are computed in pieces.
    """
    home = {consumer.node: segment.index for segment in segments for consumer in segment.consumers}
    timed = _Timed(compiled, profile)
    pieces = {read.item.step: (split, read) for split in splits for read in split.reads}
    found = []
    for plan in plans:
        reads = [pieces[item.step] for item in plan.items if item.step in pieces]
        served = _in_pieces(reads) if reads else _selected(plan, plan.value in without)
        names = [analysis.steps[item.step].op.name for item in plan.items]
        executed = [name for read in reads for name in _parts(analysis, read[1])] or names
        times = [ms for ms in map(timed.consumer_ms, executed) if ms is not None]
        seen = len(times) == len(executed)
        found.append(
            Decision(
                value=plan.value,
                segment=next((home[name] for name in names if name in home), None),
                channels=int(plan.items[0].present.size),
                consumers=tuple(names),
                handed=served.handed,
                predicted_ms=served.ms,
                measured_ms=sum(times) + timed.selections_ms(executed) if seen else None,
                lowerings=served.lowerings,
                taken_back=plan.value in without and not reads and plan.saved_ms > 0,
            )
        )
    return tuple(found)


@dataclass(frozen=True)
class _Served:
    """How many channels each consumer is handed, in which way, and the predicted ms of all consumers together."""

    handed: tuple[int, ...]
    lowerings: tuple[str, ...]
    ms: float


def _selected(plan: ValuePlan, reverted: bool) -> _Served:
    sizes = [int(item.present.size) for item in plan.items]
    lowerings = ["keep"] * len(sizes)
    for service in () if reverted else plan.assignment.services:
        for consumer in service.consumers:
            if service.positions is not None:
                sizes[consumer], lowerings[consumer] = int(service.positions.size), "selection"
    return _Served(tuple(sizes), tuple(lowerings), plan.direct_ms if reverted else plan.assignment.cost_ms)


def _in_pieces(reads: Sequence[tuple[ValueSplit, PieceRead]]) -> _Served:
    handed = tuple(
        int(np.isin(np.concatenate([split.pieces[index] for index in read.pieces]), read.item.present).sum())
        for split, read in reads
    )
    return _Served(handed, tuple(read.lowering for _, read in reads), sum(read.ms for _, read in reads))


def _parts(analysis: Analysis, read: PieceRead) -> list[str]:
    """The names of the consumer's nodes in the compiled model."""
    name = analysis.steps[read.item.step].op.name
    return [part_name(name, index) for index in read.pieces] if read.lowering == "split+add" else [name]


class _Timed:
    """Times of the compiled model's consumers and of the selections that lead to them."""

    def __init__(self, compiled: onnx.ModelProto, profile: Sequence[NodeTime]) -> None:
        self._contractions: Mapping[str, float] = contraction_times(compiled, profile)
        self._times = {entry.node: entry.ms for entry in profile}
        self._nodes = {node.name or node.output[0]: node for node in compiled.graph.node if node.output}
        self._producers = {name: node for node in compiled.graph.node for name in node.output}

    def consumer_ms(self, name: str) -> float | None:
        """The time in ms of the contraction called `name`; None if it is unknown."""
        return self._contractions.get(name)

    def selections_ms(self, names: Sequence[str]) -> float:
        """The time in ms of the selections in front of the consumers called `names`; each selection counts once."""
        found: set[str] = set()
        for name in names:
            if name in self._nodes:
                self._collect(self._nodes[name], found, _FARTHEST)
        return sum(self._times.get(name, 0.0) for name in found)

    def _collect(self, node: onnx.NodeProto, found: set[str], left: int) -> None:
        for name in node.input:
            producer = self._producers.get(name)
            if producer is None or left == 0:
                continue
            if producer.op_type in SELECTIONS:
                found.add(producer.name)
            elif producer.op_type in _BEHIND:
                self._collect(producer, found, left - 1)
