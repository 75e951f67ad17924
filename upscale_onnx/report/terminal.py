"""What a terminal shows instead of plain lines: the outcome of a compile, a network as a tree, how models differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import rich.box
import rich.table
from rich.bar import Bar
from rich.console import Group, RenderableType
from rich.text import Text
from rich.tree import Tree

from upscale_onnx.report.headline import headline, next_step, outcome
from upscale_onnx.report.plain import printable
from upscale_onnx.results import ModelStats, Picture, Reading, Refusal, Report, Segment
from upscale_onnx.results.differences import Differences, Sizes

_BAR = 10
_LEAST_NAME, _MOST_NAME = 16, 48
_BESIDE = 46  # columns beside a name: guides of the tree, the bar, and the words


def outcome_view(report: Report) -> RenderableType:
    """The headline, one table, what was left alone, and what to try next."""
    table = rich.table.Table(box=rich.box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("")
    for name in ("before", "after", "change"):
        table.add_column(name, justify="right")
    for row in outcome(report):
        table.add_row(row.what, row.before, row.after, Text(row.change, style=_style(row.ratio)))
    lines: list[RenderableType] = [Text(headline(report), style="bold"), table]
    if report.refusals:
        lines.append(Text(left_alone(report.refusals)))
    for note in report.notes[1:]:
        lines.append(Text(f"note  {printable(note)}"))
    lines.append(Text(f"next  {printable(next_step(report))}"))
    return Group(*lines)


def left_alone(refusals: Sequence[Refusal]) -> str:
    """How many nodes were left alone, and how many channels that costs, in one line."""
    cost, several = sum(refusal.channels for refusal in refusals), len(refusals) != 1
    nodes = f"{len(refusals)} node{'s' if several else ''} left alone"
    stay = "1 channel stays" if cost == 1 else f"{cost} channels stay"
    return f"{nodes}; {stay} because of {'them' if several else 'it'}"


def network_view(
    name: str,
    stats: ModelStats,
    segments: Sequence[Segment],
    picture: Picture,
    refusals: Sequence[Refusal],
    width: int,
) -> RenderableType:
    """The segments of a model as a tree of `width` columns, with a bar for each value that is read: how many of its
    channels are live, and how many of them each node reads."""
    room = min(max(width - _BESIDE, _LEAST_NAME), _MOST_NAME)
    title = f"{printable(name)}: {stats.parameters:,} parameters, {stats.macs:,} MACs, {stats.nodes:,} nodes"
    tree = Tree(Text(title, style="bold"), guide_style="dim")
    readings: dict[int, list[Reading]] = {}
    for reading in picture.readings:
        readings.setdefault(reading.segment, []).append(reading)
    makers = {producer.value: producer.node for segment in segments for producer in segment.producers}
    for segment in segments:
        parts = [f"segment {segment.index}: {segment.live:,} of {segment.classes:,} channels live"]
        kinds = (("fork", segment.forks), ("join", segment.joins))
        parts += [f"{len(found)} {kind}{'s' if len(found) > 1 else ''}" for kind, found in kinds if found]
        branch = tree.add(Text(", ".join(parts)))
        for reading in readings.get(segment.index, ()):
            _add_value(branch, reading, makers, room)
    return Group(tree, Text(left_alone(refusals))) if refusals else Group(tree)


def _add_value(branch: Tree, reading: Reading, makers: Mapping[str, str], room: int) -> None:
    made = f", made by {printable(makers[reading.value])}" if reading.value in makers else ""
    value = branch.add(_barred(reading.value, reading.live, reading.channels, f"live{made}", room))
    for demand in reading.demands:
        value.add(_barred(demand.node, demand.channels, reading.channels, f"by {printable(demand.op_type)}", room))


def _barred(name: str, part: int, whole: int, words: str, room: int) -> RenderableType:
    """A line with a name, a bar that shows `part` of `whole`, and the numbers."""
    line = rich.table.Table.grid(padding=(0, 1))
    line.add_column(width=room, no_wrap=True, overflow="ellipsis")
    line.add_column(width=_BAR)
    line.add_column(overflow="fold")
    bar = Bar(max(whole, 1), 0, part, width=_BAR, color="blue", bgcolor="bright_black")
    line.add_row(Text(printable(name)), bar, Text(f"{part:,} of {whole:,} {words}"))
    return line


def differences_view(found: Differences) -> RenderableType:
    """The nodes that differ, one a line: the sizes that changed of what they make, and their parameters."""
    table = rich.table.Table(box=rich.box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("node", overflow="fold", min_width=_LEAST_NAME)
    table.add_column("operator", overflow="fold")
    for name in ("makes", "parameters"):
        table.add_column(name, justify="right", overflow="fold")
    for change in found.changes:
        made = change.kind if change.kind != "changed" else _changed(change.before, change.after)
        counts = _arrow(change.parameters_before, change.parameters_after)
        table.add_row(Text(printable(change.node)), Text(printable(change.op_type)), Text(made), Text(counts))
    same = f"{len(found.changes)} nodes differ, {found.same} are the same"
    return Group(table, Text(same)) if found.changes else Text(same)


def _changed(before: Sizes | None, after: Sizes | None) -> str:
    """The sizes along the axes on which they differ."""
    if before is None or after is None or len(before) != len(after):
        return "other axes" if before is not None and after is not None else "unknown"
    pairs = [
        (old, new)
        for old, new in zip(before, after, strict=True)
        if isinstance(old, int) and isinstance(new, int) and old != new
    ]
    return ", ".join(_arrow(old, new) for old, new in pairs) or "as before"


def _arrow(old: object, new: object) -> str:
    return printable(f"{old} > {new}") if old != new else printable(str(old))


def _style(ratio: float | None) -> str:
    return "" if ratio is None or ratio == 1 else "green" if ratio < 1 else "yellow"
