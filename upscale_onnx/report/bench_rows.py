"""The tables of a bench: its races, and the time by operator type of each runner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from upscale_onnx.report.rows import Table, race_table
from upscale_onnx.results import Bench, OperatorTotal, TimeProfile


def profile_table(profiles: Sequence[TimeProfile]) -> Table:
    """One row per operator type: its time in each profile, and its number of nodes in the optimised graph."""
    found = [{operator.op_type: operator for operator in profile.operators} for profile in profiles]
    op_types = list(dict.fromkeys(op_type for operators in found for op_type in operators))
    nothing = OperatorTotal("", 0, 0.0)
    parts = [[operators.get(op_type, nothing) for operators in found] for op_type in op_types]
    parts.sort(key=lambda row: -max(part.ms for part in row))
    named = [next(part.op_type for part in row if part.op_type) for row in parts]
    names = short_names([profile.name for profile in profiles])
    columns = ["operator"]
    for profile in profiles:
        columns += [f"{names[profile.name]} ms", f"{names[profile.name]} nodes"]
    rows = [
        (name, *(cell for part in row for cell in (part.ms, part.nodes)))
        for name, row in zip(named, parts, strict=True)
    ]
    sums = [(sum(o.ms for o in p.operators), sum(o.nodes for o in p.operators)) for p in profiles]
    rows.append(("total", *(cell for pair in sums for cell in pair)))
    return Table("profile", "Operators", tuple(columns), tuple(rows))


def bench_tables(bench: Bench) -> tuple[Table, ...]:
    """A table per race, followed by the profile of the race, if any. Several races are named by their settings."""
    several = len(bench.races) > 1
    tables: list[Table] = []
    for race in bench.races:
        profiles = [p for p in bench.profiles if (p.batch, p.threads) == (race.batch, race.threads)]
        drawn = [race_table(race)] + ([profile_table(profiles)] if profiles else [])
        if several:
            suffix = f"{'' if race.batch is None else f'.batch{race.batch}'}.threads{race.threads}"
            where = setting(race.batch, race.threads)
            drawn = [replace(table, name=table.name + suffix, title=f"{table.title}, {where}") for table in drawn]
        tables += drawn
    return tuple(tables)


def setting(batch: int | None, threads: int) -> str:
    """A batch size and a number of threads as text for people."""
    shown = f"{threads} thread" if threads == 1 else f"{threads} threads"
    return shown if batch is None else f"batch {batch}, {shown}"


def short_names(names: Sequence[str]) -> dict[str, str]:
    """The names without their folders; with folders if they would not be unique."""
    short = {name: name.replace("\\", "/").rsplit("/", 1)[-1] for name in names}
    return short if len(set(short.values())) == len(short) and all(short.values()) else {name: name for name in names}
