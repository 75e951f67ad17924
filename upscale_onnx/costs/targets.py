"""Targets: the channel blocks of a machine's kernels, and their costs where nothing was measured."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from upscale_onnx.costs.costs import PresetCosts
from upscale_onnx.errors import ArgumentError, did_you_mean
from upscale_onnx.files.reading import read_json, shortened
from upscale_onnx.model.arithmetic import DEPTHWISE_INTEGERS, FLOATS

_ENGINES = ("onnxruntime-cpu", "onnxruntime-cuda", "tensorrt", "openvino", "any")


@dataclass(frozen=True)
class Target:
    """A device with the library that runs models on it.

    engine: the library that runs the model; tables can be measured for onnxruntime only. align: channels per block of
    the kernels, by numpy's dtype name, or "int8 depthwise" for models of int8 with depthwise convolutions; "" stands
    for every other dtype. preset: the analytic costs. computes: the arithmetic of the model that this target is for.
    """

    name: str
    engine: str = "any"
    align: Mapping[str, int] = field(default_factory=lambda: {"": 8})
    preset: PresetCosts = field(default_factory=PresetCosts)
    computes: str = FLOATS

    def block(self, dtype: str | None = None) -> int:
        """Channels per block of kernels for `dtype`; None is the arithmetic of the model."""
        kind = dtype or self.computes
        return next((self.align[key] for key in (kind, kind.split()[0], "") if key in self.align), 1)

    @property
    def provider(self) -> str | None:
        """The onnxruntime provider of this target; None where the engine is another."""
        return {"onnxruntime-cpu": "cpu", "onnxruntime-cuda": "cuda"}.get(self.engine)

    def costs(self, batch: int = 1) -> PresetCosts:
        """The preset costs, with `batch` as the size of dynamic first axes."""
        return replace(self.preset, batch=batch, align=self.block())


def _preset(
    align: int, macs_per_ms: float, bytes_per_ms: float, layouts: float, launch_ms: float, free: bool
) -> PresetCosts:
    return PresetCosts(align, macs_per_ms, bytes_per_ms, layouts, launch_ms, free, grouped_speed=0.1)


# On AVX2, an int8 depthwise 3x3 convolution of 24 channels takes longer than one of 32 (146 and 128 us); a dense one
# takes as long for 24 out as for 32, but what reads 24 channels is faster.
_AVX2 = {"": 8, DEPTHWISE_INTEGERS: 16}
_TENSOR_CORES = {"": 8, "int8": 32, "uint8": 32}
# Figures of one core for CPUs and of one mid-range card for GPUs: orders of magnitude, which calibration replaces.
PRESETS: Mapping[str, Target] = {
    target.name: target
    for target in (
        Target("cpu-avx512", "onnxruntime-cpu", {"": 16}, _preset(16, 1.0e8, 1.2e7, 3.0, 0.002, False)),
        Target("cpu-avx2", "onnxruntime-cpu", _AVX2, _preset(8, 5.0e7, 1.2e7, 3.0, 0.002, False)),
        Target("cuda", "onnxruntime-cuda", _TENSOR_CORES, _preset(8, 1.0e10, 4.0e8, 1.0, 0.005, False)),
        Target("tensorrt", "tensorrt", _TENSOR_CORES, _preset(8, 2.0e10, 4.0e8, 1.0, 0.005, True)),
        Target("openvino", "openvino", {"": 16}, _preset(16, 1.0e8, 1.2e7, 2.0, 0.002, True)),
        Target("generic", "any", {"": 8}, _preset(8, 5.0e7, 1.2e7, 2.0, 0.003, False)),
    )
}
_WIDE_BLOCK = 16
_WIDEST_BLOCK = 2**16


def target(name: str, cpu_block: int = _WIDE_BLOCK) -> Target:
    """The target called `name`, or described by the JSON file at that path.

    "cpu" is the preset for this machine, whose kernels work in blocks of `cpu_block` channels. A file holds fields of
    `Target` and of its preset in one object; `base` names the preset whose values apply to all other fields.

    Raises:
        ArgumentError: there is no such target, or the file cannot be used.
    """
    if name == "cpu":
        preset = PRESETS["cpu-avx512" if cpu_block >= _WIDE_BLOCK else "cpu-avx2"]
        costs = replace(preset.preset, align=cpu_block)
        return replace(preset, align={**preset.align, "": cpu_block}, preset=costs)
    if name in PRESETS:
        return PRESETS[name]
    path = Path(name)
    if not path.is_file():
        known = ("cpu", *PRESETS)
        hint = did_you_mean(name, known)
        raise ArgumentError(
            f"unknown target '{name}': choose {', '.join(known)}, or give the path of a JSON file{hint}"
        )
    return _from_file(path)


def _from_file(path: Path) -> Target:
    data = read_json(path, "target")
    if not isinstance(data, dict):
        raise ArgumentError(f'target {path}: must be a JSON object, such as {{"base": "cpu-avx2"}}')
    return _from_fields(str(path), data)


def _from_fields(path: str, data: dict[str, Any]) -> Target:
    base_name = data.pop("base", "generic")
    if not isinstance(base_name, str) or base_name not in PRESETS:
        raise ArgumentError(f"target {path}: base {shortened(base_name)} is none of {', '.join(PRESETS)}")
    base = PRESETS[base_name]
    numbers = {f.name for f in fields(PresetCosts)} - {"align", "free_slices"}
    known = numbers | {"name", "engine", "align", "free_slices"}
    for key in data:
        if key not in known:
            raise ArgumentError(
                f"target {path}: unknown field {shortened(key)}; the fields are base, {', '.join(sorted(known))}"
            )
    align = _align(path, data["align"]) if "align" in data else base.align
    preset = replace(base.preset, align=align.get("float32", align.get("", 1)))
    given: dict[str, Any] = {key: _positive(path, key, data[key]) for key in numbers & data.keys()}
    preset = replace(preset, **given)
    if "free_slices" in data:
        if not isinstance(data["free_slices"], bool):
            raise ArgumentError(f"target {path}: free_slices must be true or false")
        preset = replace(preset, free_slices=data["free_slices"])
    engine = data.get("engine", base.engine)
    if engine not in _ENGINES:
        raise ArgumentError(f"target {path}: engine {shortened(engine)} is none of {', '.join(_ENGINES)}")
    name = data.get("name", Path(path).stem)
    if not isinstance(name, str) or not name:
        raise ArgumentError(f"target {path}: name must be text")
    return Target(name, engine, align, preset)


def _align(path: str, value: object) -> Mapping[str, int]:
    """The channel blocks by dtype: one number for all, or an object."""
    blocks: dict[Any, Any] = value if isinstance(value, dict) else {"": value}
    for dtype, block in blocks.items():
        if isinstance(block, bool) or not isinstance(block, int) or not 1 <= block <= _WIDEST_BLOCK:
            of = f" of {dtype}" if dtype else ""
            raise ArgumentError(
                f"target {path}: align{of} is {shortened(block)}; it must be a whole number from 1 to {_WIDEST_BLOCK}"
            )
    return {str(dtype): int(block) for dtype, block in blocks.items()}


def _positive(path: str, key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= sys.float_info.max:
        raise ArgumentError(f"target {path}: {key} is {shortened(value)}; it must be a number above 0")
    return float(value)
