"""Targets by name and from files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from upscale_onnx.costs.targets import PRESETS, target
from upscale_onnx.errors import ArgumentError


def test_cpu_is_the_preset_for_the_block_of_the_machine() -> None:
    assert (target("cpu", 16).name, target("cpu", 16).block()) == ("cpu-avx512", 16)
    assert (target("cpu", 8).name, target("cpu", 8).preset.align) == ("cpu-avx2", 8)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_agree_with_their_costs_about_the_block(name: str) -> None:
    found = target(name)
    assert found.name == name
    assert found.block() == found.preset.align


def test_tensor_cores_want_more_channels_of_bytes() -> None:
    assert target("cuda").block("float16") == 8
    assert target("cuda").block("int8") == 32


def test_contiguous_selections_are_free_where_slices_are_views() -> None:
    assert target("openvino").preset.selection_ms((1, 64, 8, 8), 1, 32, contiguous=True) == 0
    assert target("cpu").preset.selection_ms((1, 64, 8, 8), 1, 32, contiguous=True) > 0


def test_file_overrides_its_base(tmp_path: Path) -> None:
    path = tmp_path / "board.json"
    path.write_text(json.dumps({"base": "cpu-avx2", "align": {"": 4, "int8": 16}, "launch_ms": 0.05}))
    found = target(str(path))
    assert (found.name, found.provider, found.block(), found.block("int8")) == ("board", "cpu", 4, 16)
    assert found.preset.align == 4
    assert found.preset.launch_ms == 0.05
    assert found.preset.macs_per_ms == PRESETS["cpu-avx2"].preset.macs_per_ms


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is not JSON"),
        ("[1]", "must be a JSON object"),
        ('{"base": "abacus"}', "base 'abacus'"),
        ('{"colour": 1}', "unknown field 'colour'"),
        ('{"align": 0}', "align is 0"),
        ('{"align": {"int8": true}}', "align of int8 is True"),
        ('{"launch_ms": -1}', "launch_ms is -1"),
        ('{"macs_per_ms": "fast"}', "macs_per_ms is 'fast'"),
        ('{"bytes_per_ms": NaN}', "bytes_per_ms is nan"),
        ('{"free_slices": 1}', "free_slices must be true or false"),
        ('{"engine": "steam"}', "engine 'steam'"),
        ('{"name": ""}', "name must be text"),
        ('{"base": ["cpu"]}', "base ['cpu'] is none of"),
        ('{"base": {}}', "base {} is none of"),
        ('{"engine": ["any"]}', "engine ['any'] is none of"),
        ('{"align": 1e400}', "align is inf"),
        ('{"align": 70000}', "align is 70000; it must be a whole number from 1 to 65536"),
        ('{"launch_ms": 1' + "0" * 400 + "}", "launch_ms is 1000"),
        ('{"launch_ms": ' + "9" * 5000 + "}", "is not JSON"),
        ('{"launch_ms": {"a": "' + "b" * 5000 + '"}}', "..."),
    ],
)
def test_bad_file_is_one_clear_line(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(ArgumentError) as caught:
        target(str(path))
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ArgumentError, match="unknown target 'gpu': choose cpu, cpu-avx512"):
        target("gpu")
