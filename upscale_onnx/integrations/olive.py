"""The compile as a pass of Olive. `package_config` says where Olive finds it.

Source: Olive 0.13, `olive/passes/olive_pass.py` (the class), `olive/package_config.py` (how passes are found).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from upscale_onnx.errors import ArgumentError, UpscaleError
from upscale_onnx.options import Options
from upscale_onnx.options.options import option_name
from upscale_onnx.pipeline import compile

try:
    from olive.exception import OlivePassError
    from olive.package_config import OlivePackageConfig
    from olive.passes import Pass
    from olive.passes.onnx.common import get_external_data_config, model_proto_to_olive_model
    from olive.passes.pass_config import ParamCategory, PassConfigParam
except ImportError as missing:
    raise ArgumentError(f"the pass of Olive needs {missing.name}: pip install 'upscale-onnx[olive]'") from missing

_PATHS = ("mask", "calibration", "inputs")
# Olive writes the files of a workflow, and a model that stays as it is ends no workflow.
_LEFT_OUT = ("save_reproducer", "fail_if_unchanged")


class UpscaleOnnx(Pass):
    """Prunes an ONNX model where options ask for it, and compiles it. Its parameters are the options of a compile."""

    @classmethod
    def _default_config(cls, accelerator_spec: Any) -> dict[str, PassConfigParam]:
        del accelerator_spec
        return {**dict(_parameters()), **get_external_data_config()}

    def _run_for_config(self, model: Any, config: Any, output_model_path: str) -> Any:
        given = {name: getattr(config, name) for name, _ in _parameters()}
        try:
            result = compile(model.model_path, Options.of(**{n: _option(v) for n, v in given.items()}))
        except UpscaleError as error:
            raise OlivePassError(str(error)) from error
        return model_proto_to_olive_model(result.model, _file(output_model_path, model.model_path), config)


def package_config() -> Mapping[str, Any]:
    """Olive's own configuration of packages, with this pass: what `olive.workflows.run` takes as `package_config`."""
    found: dict[str, Any] = json.loads(Path(OlivePackageConfig.get_default_config_path()).read_text(encoding="utf-8"))
    anywhere = {key: ["*"] for key in ("supported_providers", "supported_accelerators", "supported_precisions")}
    found["passes"][UpscaleOnnx.__name__] = {"module_path": f"{__name__}.{UpscaleOnnx.__name__}", **anywhere}
    return found


def _parameters() -> Iterator[tuple[str, PassConfigParam]]:
    """The options of a compile as parameters of a pass, by name."""
    usual = Options()
    seen = set(_LEFT_OUT)
    for place in fields(usual):
        group = getattr(usual, place.name)
        hints = get_type_hints(type(group))
        for part in fields(group):
            name = option_name(part)
            if name in seen:
                continue
            seen.add(name)
            category = ParamCategory.PATH if name in _PATHS else ParamCategory.NONE
            kind, default = _kind(hints[part.name]), getattr(group, part.name)
            yield name, PassConfigParam(type_=kind, category=category, default_value=default, description=_told(name))


def _told(name: str) -> str:
    return f"The option {name} of a compile by upscale_onnx."


def _kind(hint: Any) -> Any:
    """The annotation of an option, without what no file can hold: functions, mappings, arrays."""
    parts = get_args(hint)
    if get_origin(hint) is not tuple and str in parts:
        return str | None if NoneType in parts else str
    return hint


def _option(value: Any) -> Any:
    """A value of a parameter as one of an option: lists are tuples there."""
    return tuple(map(_option, value)) if isinstance(value, (list, tuple)) else value


def _file(output: str, source: str) -> str:
    """Where the model goes: Olive names a folder, or a file."""
    return output if Path(output).suffix == ".onnx" else str(Path(output) / Path(source).name)
