"""The contents of tables: rows of raw values, which each form of output formats in its own way."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from upscale_onnx.errors import Reason
from upscale_onnx.report.headline import headline, next_step
from upscale_onnx.results import Decision, KeptChannels, ModelStats, Race, Refusal, Report, Segment, Verification

Cell: TypeAlias = str | int | float | bool | None

_EXAMPLES = 3
_SIZES = ("parameters", "bytes", "macs", "nodes", "copied_bytes")


@dataclass(frozen=True)
class Table:
    """A table: rows under columns, and single facts about all rows.

    name: the word that starts each line of plain text. The first column names the row.
    """

    name: str
    title: str
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[Cell, ...], ...] = ()
    facts: tuple[tuple[str, Cell], ...] = ()


def facts_of(value: object, *names: str) -> tuple[tuple[str, Cell], ...]:
    """The fields of `value` called `names`, as facts."""
    return tuple((name, getattr(value, name)) for name in names)


def summary_table(report: Report) -> Table:
    """The outcome in one sentence, the chosen export, the number of masked channels, what layers lose, the effect of
    pruning, the seconds of each stage, and notes, or what to try next."""
    facts: list[tuple[str, Cell]] = [("outcome", headline(report)), ("export", report.export)]
    facts.append(("masked_channels", report.masked_channels))
    if report.profile:
        facts.append(("units_pruned", units_pruned(report.profile)))
    if report.bound_ratio is not None:
        facts.append(("bound_ratio", report.bound_ratio))
    if report.effect is not None:
        facts += [("compiled", _equality(report.verification)), ("pruned", report.effect.text)]
    facts += [(f"seconds.{stage}", spent) for stage, spent in report.seconds.items()]
    facts += [("note", note) for note in report.notes] or [("next", next_step(report))]
    return Table("compile", "Compile", facts=tuple(facts))


def units_pruned(profile: Sequence[KeptChannels]) -> str:
    """How many units of each kind all layers lose, such as "2 of 8 heads, 76 of 256 neurons"."""
    pruned, counts = Counter[str](), Counter[str]()
    for one in profile:
        pruned[one.unit] += one.channels - one.kept
        counts[one.unit] += one.channels
    return ", ".join(f"{pruned[unit]} of {count} {unit}" for unit, count in counts.items())


def _equality(verification: Verification | None) -> str:
    """A sentence on whether the compiled model equals the pruned one, and how that was shown."""
    if verification is None:
        return "was not compared with the pruned model"
    shown = []
    if verification.local is not None:
        shown.append(f"{verification.local.proven} of {verification.local.regions} regions one by one")
    if verification.trials:
        shown.append(
            f"{verification.trials} runs of whole models, within {verification.tolerance:.2g} of each output's scale"
        )
    return f"equals the pruned model: shown in {' and '.join(shown)}"


def stats_table(before: ModelStats, after: ModelStats) -> Table:
    """Sizes and counts of operations before and after, and their ratios."""
    pairs = [(name, getattr(before, name), getattr(after, name)) for name in _SIZES]
    rows = tuple((name, old, new, new / old if old else None) for name, old, new in pairs)
    return Table("stats", "Model", ("", "before", "after", "ratio"), rows)


def model_table(stats: ModelStats) -> Table:
    """Sizes and counts of operations of one model."""
    return Table("model", "Model", facts=facts_of(stats, *_SIZES))


def segments_table(segments: Sequence[Segment]) -> Table:
    """One row per segment: its number of channel classes, of live ones, and of its nodes by kind."""
    kinds = ("producers", "carriers", "consumers", "forks", "joins", "refusals")
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (str(s.index), s.classes, s.live, *(len(getattr(s, kind)) for kind in kinds)) for s in segments
    )
    return Table("segment", "Segments", ("#", "classes", "live", *kinds), rows)


def producers_table(segments: Sequence[Segment]) -> Table:
    """One row per producer: the number of channels that it makes, of live ones, and of constant ones."""
    rows = tuple(
        (p.node, s.index, p.op_type, p.value, p.axis, p.channels, p.live, p.constant)
        for s in segments
        for p in s.producers
    )
    columns = ("producer", "segment", "operator", "value", "axis", "channels", "live", "constant")
    return Table("producer", "Producers", columns, rows)


def consumers_table(segments: Sequence[Segment]) -> Table:
    """One row per consumer: the number of channels that it reads, and of those that it demands."""
    rows = tuple(
        (c.node, s.index, c.op_type, c.value, c.axis, c.channels, c.demanded) for s in segments for c in s.consumers
    )
    columns = ("consumer", "segment", "operator", "value", "axis", "channels", "demanded")
    return Table("consumer", "Consumers", columns, rows)


def refusals_table(refusals: Sequence[Refusal]) -> Table:
    """One row per reason, the most expensive first: how many nodes were left alone for it, how many channels and bytes
    could go if it were not for them, and three of them."""
    by_reason: defaultdict[Reason, list[Refusal]] = defaultdict(list)
    for refusal in refusals:
        by_reason[refusal.reason].append(refusal)
    ordered = sorted(by_reason.items(), key=lambda item: (-_bytes(item[1]), -len(item[1]), item[0].name))
    rows = tuple(
        (reason.name.lower(), len(found), sum(r.channels for r in found), _bytes(found), reason.value, _examples(found))
        for reason, found in ordered
    )
    return Table("refusal", "Left alone", ("reason", "nodes", "channels", "bytes", "meaning", "examples"), rows)


def refused_nodes_table(refusals: Sequence[Refusal], segments: Sequence[Segment]) -> Table:
    """One row per node that was left alone: the reason, what it costs, and the segments that it bounds."""
    places: defaultdict[Refusal, list[str]] = defaultdict(list)
    for segment in segments:
        for refusal in segment.refusals:
            places[refusal].append(str(segment.index))
    rows = tuple(
        (r.node, r.op_type, r.channels, r.bytes, r.reason.value, r.detail, ", ".join(places[r])) for r in refusals
    )
    columns = ("node", "operator", "channels", "bytes", "reason", "detail", "segments")
    return Table("refused", "Nodes left alone", columns, rows)


def verification_table(verification: Verification) -> Table:
    """One row per output with its largest errors over all trials; the facts hold the verdict."""
    rows = tuple(
        (o.output, o.max_absolute, o.relative, o.tolerance, o.cosine, o.argmax_agreement) for o in verification.outputs
    )
    facts = facts_of(verification, "equal", "tolerance", "trials", "provider")
    if verification.local is not None:
        local = verification.local
        facts += (("regions_proven", f"{local.proven} of {local.regions}"),)
    if verification.asleep:
        share = verification.asleep / verification.activations
        told = f"{verification.asleep} of {verification.activations} channels behind activations ({100 * share:.1f} %)"
        covered = verification.local is not None and verification.local.complete
        facts += (("never_active", f"{told}; the local proof covers them" if covered else told),)
    if verification.detail:
        facts += (("detail", verification.detail),)
    columns = ("output", "max_absolute", "relative", "tolerance", "cosine", "argmax_agreement")
    return Table("verify", "Verification", columns, rows, facts)


def decisions_table(decisions: Sequence[Decision]) -> Table:
    """One row per planned value: how many channels each consumer is handed, and the predicted and measured ms."""
    rows = tuple(
        (d.value, d.segment, d.channels, " ".join(map(str, d.handed)), d.predicted_ms, d.measured_ms) for d in decisions
    )
    columns = ("value", "segment", "channels", "handed", "predicted_ms", "measured_ms")
    return Table("decision", "Decisions", columns, rows)


def race_table(race: Race) -> Table:
    """One row per runner: its latency in ms, and its ratio to the first runner, with the interval if it is known."""
    columns: tuple[str, ...] = ("runner", "median_ms", "p10_ms", "p90_ms", "ratio")
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (t.name, t.median_ms, t.p10_ms, t.p90_ms, t.ratio, t.ratio_low, t.ratio_high) for t in race.timings
    )
    if all(t.ratio_low is None for t in race.timings):
        rows = tuple(row[: len(columns)] for row in rows)
    else:
        columns += ("ratio_low", "ratio_high")
    facts = facts_of(race, "winner", "provider", "threads", "rounds")
    if race.batch is not None:
        facts += (("batch", race.batch),)
    return Table("race", "Race", columns, rows, facts)


def report_tables(report: Report, *, verbose: bool = False) -> tuple[Table, ...]:
    """The tables of a compile; `verbose` adds segments and every node that was left alone."""
    tables = [summary_table(report), stats_table(report.before, report.after)]
    if verbose:
        tables += _segment_tables(report.segments)
        if report.decisions:
            tables.append(decisions_table(report.decisions))
    tables += _refusal_tables(report.refusals, report.segments, verbose=verbose)
    if report.verification is not None:
        tables.append(verification_table(report.verification))
    if report.race is not None:
        tables.append(race_table(report.race))
    return tuple(tables)


def inspection_tables(
    stats: ModelStats, segments: Sequence[Segment], refusals: Sequence[Refusal], *, verbose: bool = False
) -> tuple[Table, ...]:
    """The tables of an inspection; `verbose` adds every node that was left alone."""
    tables = [model_table(stats), *_segment_tables(segments)]
    return (*tables, *_refusal_tables(refusals, segments, verbose=verbose))


def _segment_tables(segments: Sequence[Segment]) -> list[Table]:
    return [segments_table(segments), producers_table(segments), consumers_table(segments)]


def _refusal_tables(refusals: Sequence[Refusal], segments: Sequence[Segment], *, verbose: bool) -> list[Table]:
    if not refusals:
        return []
    listed = [refused_nodes_table(refusals, segments)] if verbose else []
    return [refusals_table(refusals), *listed]


def _bytes(refusals: Sequence[Refusal]) -> int:
    return sum(refusal.bytes for refusal in refusals)


def _examples(refusals: Sequence[Refusal]) -> str:
    named = ", ".join(f"{r.node} ({r.op_type})" for r in refusals[:_EXAMPLES])
    return named if len(refusals) <= _EXAMPLES else f"{named}, …"
