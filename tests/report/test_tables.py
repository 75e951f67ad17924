"""The rows of the tables, and their two renderings."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterable

import pytest
from rich.console import Console

from upscale_onnx.report import rows
from upscale_onnx.report.plain import plain_text, printable
from upscale_onnx.report.rows import Table
from upscale_onnx.report.tables import rich_tables
from upscale_onnx.results import LocalProof, ModelStats, Report, Unproven


def _rich(tables: Iterable[Table], *, color: bool = False, width: int = 200) -> str:
    stream = io.StringIO()
    Console(file=stream, force_terminal=color, color_system="truecolor" if color else None, width=width).print(
        rich_tables(tables, width)
    )
    return stream.getvalue()


NARROW = Table(
    "race",
    "Race",
    ("layer", "op_type", "channels", "median_ms", "ratio", "ratio_low", "ratio_high"),
    tuple((f"encoder.layers.{index}.conv.weight", "Conv", 1000 * index, 1.234, 0.987, 0.9, 0.999) for index in (1, 2)),
)


@pytest.mark.parametrize("width", [100, 80, 60, 50, 40, 20])
def test_narrow_screens_lose_nothing(width: int) -> None:
    shown = _rich([NARROW], width=width)
    assert max(map(len, shown.splitlines())) <= width
    if width >= 60:
        words = shown.split()
        assert {"layer", "1,000", "2,000", "1.234", "0.987", "0.999", "Conv"} <= set(words)
        starts = [word for word in words if word.startswith("encoder.laye")]
        assert len(starts) == 2, "the names in the first column begin on lines of their own"
    together = "".join(shown.split())
    for text in ("1.234", "0.987", "0.999", "median", "high"):
        assert text in together


def test_headings_are_broken_only_where_that_is_needed() -> None:
    assert "median ms" in _rich([NARROW], width=100)
    assert "median ms" not in _rich([NARROW], width=62)


def test_stats_hold_the_ratio() -> None:
    table = rows.stats_table(ModelStats(100, 0, 8, 0, 500), ModelStats(40, 0, 10, 64, 200))
    assert table.rows == (
        ("parameters", 100, 40, 0.4),
        ("bytes", 500, 200, 0.4),
        ("macs", 0, 0, None),
        ("nodes", 8, 10, 1.25),
        ("copied_bytes", 0, 64, None),
    )


def test_segments_count_their_parts(report: Report) -> None:
    assert rows.segments_table(report.segments).rows == (
        ("0", 64, 40, 1, 2, 2, 1, 1, 0),
        ("1", 1280, 1280, 1, 0, 0, 0, 0, 2),
    )


def test_producers_and_consumers_are_named_with_their_segment(report: Report) -> None:
    assert rows.producers_table(report.segments).rows[0] == ("stem", 0, "Conv", "a", 1, 64, 40, 4)
    assert rows.consumers_table(report.segments).rows == (
        ("left", 0, "Conv", "r", 1, 64, 45),
        ("right", 0, "Conv", "r", 1, 64, 44),
    )


def test_refusals_are_counted_by_reason_with_examples(report: Report) -> None:
    whole, custom = rows.refusals_table(report.refusals).rows
    assert whole[:5] == ("whole_axis", 4, 0, 0, "reads the whole channel axis")
    assert whole[5] == "softmax0 (Softmax), softmax1 (Softmax), softmax2 (Softmax), …"
    assert custom[:2] == ("custom_domain", 1)
    assert custom[5] == "my\nnode (Foo)"


def test_refused_nodes_say_where_they_sit(report: Report) -> None:
    table = rows.refused_nodes_table(report.refusals, report.segments)
    assert [row[-1] for row in table.rows] == ["", "1", "", "", "1"]
    assert table.rows[4][:6] == ("my\nnode", "Foo", 0, 0, "operator of another domain", "com.example")


def test_the_most_expensive_refusals_come_first(report: Report) -> None:
    costly = [dataclasses.replace(r, channels=3, bytes=48) if r.op_type == "Foo" else r for r in report.refusals]
    assert [row[:4] for row in rows.refusals_table(costly).rows] == [
        ("custom_domain", 1, 3, 48),
        ("whole_axis", 4, 0, 0),
    ]


def test_a_report_shows_what_was_done(report: Report) -> None:
    assert [t.name for t in rows.report_tables(report)] == ["compile", "stats", "refusal", "verify", "race"]
    bare = dataclasses.replace(report, verification=None, race=None, refusals=())
    assert [t.name for t in rows.report_tables(bare)] == ["compile", "stats"]
    verbose = [t.name for t in rows.report_tables(report, verbose=True)]
    assert verbose[2:7] == ["segment", "producer", "consumer", "refusal", "refused"]


def test_an_inspection_shows_segments(report: Report) -> None:
    tables = rows.inspection_tables(report.before, report.segments, report.refusals)
    assert [t.name for t in tables] == ["model", "segment", "producer", "consumer", "refusal"]
    assert rows.inspection_tables(report.before, report.segments, report.refusals, verbose=True)[-1].name == "refused"


def test_plain_text_in_full(report: Report) -> None:
    tables = [t for t in rows.report_tables(report) if t.name in ("compile", "stats", "verify", "race")]
    assert plain_text(tables).splitlines() == [
        "compile.outcome           1.35x faster, 40 % fewer parameters, same outputs",
        "compile.export            upscale",
        "compile.masked_channels   17",
        "compile.seconds.load      0.25",
        "compile.seconds.analysis  0.1",
        "compile.next              time it as it will run: upscale_onnx bench IN OUT --batch N --threads N",
        "stats.parameters          before 11689512    after 7000001     ratio 0.598827",
        "stats.bytes               before 46800000    after 28080000    ratio 0.6",
        "stats.macs                before 1814073344  after 1100000000  ratio 0.60637",
        "stats.nodes               before 49          after 52          ratio 1.06122",
        "stats.copied_bytes        before 0           after 802816      ratio -",
        "verify.equal              yes",
        "verify.tolerance          1e-05",
        "verify.trials             4",
        "verify.provider           cpu",
        "verify.never_active       125 of 1000 channels behind activations (12.5 %)",
        "verify.logits             max_absolute 1.19209e-07  relative 0.333333  tolerance 1e-05  cosine 1  "
        "argmax_agreement 1",
        "verify.map                max_absolute 0            relative 0         tolerance 1e-06  cosine 1  "
        "argmax_agreement -",
        "race.winner               upscale",
        "race.provider             cpu",
        "race.threads              1",
        "race.rounds               12",
        "race.input                median_ms 14.8  p10_ms 14.1  p90_ms 16     ratio 1",
        "race.upscale              median_ms 11    p10_ms 10.5  p90_ms 12.25  ratio 0.743243",
    ]


def test_plain_text_has_one_line_per_row_whatever_the_names(report: Report) -> None:
    text = plain_text(rows.report_tables(report, verbose=True))
    tables = rows.report_tables(report, verbose=True)
    assert len(text.splitlines()) == sum(len(t.rows) + len(t.facts) for t in tables)
    assert "refused.my\\nnode" in text


def test_plain_text_of_one_long_name_does_not_push_the_rest_away() -> None:
    table = Table("t", "T", ("name", "n"), (("x" * 200, 1), ("y", 2)))
    assert plain_text([table]).splitlines()[1] == "t.y" + " " * 45 + "  n 2"


def test_nothing_is_no_text() -> None:
    assert plain_text([]) == ""


def test_rich_shows_the_same_values_grouped(report: Report) -> None:
    text = _rich(rows.report_tables(report, verbose=True))
    for shown in ("11,689,512", "1,100,000,000", "0.7432", "14.8", "masked channels", "winner upscale", "my\\nnode"):
        assert shown in text
    assert "equal yes" in text
    assert "\x1b" not in text


def test_rich_segments_fit_a_narrow_terminal(report: Report) -> None:
    lines = _rich([rows.segments_table(report.segments)], width=80).splitlines()
    assert any(line.split()[:3] == ["#", "classes", "live"] and "refusals" in line for line in lines)
    assert any("1,280" in line for line in lines)


def test_rich_folds_instead_of_cutting() -> None:
    name = "layer4/block1/conv2/" * 10
    table = Table("t", "T", ("name", "n"), ((name, 1),))
    drawn = "".join(line.split()[0] for line in _rich([table], width=60).splitlines() if line.strip())
    assert name in drawn


def test_names_cannot_write_markup_or_escapes() -> None:
    table = Table("t", "T", ("name",), (("[red]bold[/red]",), ("\x1b[31mred",), (":smile:",)))
    text = _rich([table])
    assert "[red]bold[/red]" in text
    assert "\\x1b[31mred" in text
    assert ":smile:" in text
    assert "\x1b" not in plain_text([table])


def test_printable_keeps_letters_and_escapes_control_characters() -> None:
    assert printable("Größe 层/conv") == "Größe 层/conv"
    assert printable("a\nb\tc\x1b[0m\u202e") == "a\\nb\\tc\\x1b[0m\\u202e"


def test_the_local_proof_is_told_with_what_it_covers(report: Report) -> None:
    assert report.verification is not None
    local = LocalProof(5, 5)
    facts = dict(rows.verification_table(dataclasses.replace(report.verification, local=local)).facts)
    assert facts["regions_proven"] == "5 of 5"
    assert str(facts["never_active"]).endswith("; the local proof covers them")
    local = LocalProof(5, 4, unrunnable=(Unproven("x", "cannot be run"),))
    facts = dict(rows.verification_table(dataclasses.replace(report.verification, local=local)).facts)
    assert facts["regions_proven"] == "4 of 5"
    assert "covers" not in str(facts["never_active"])
