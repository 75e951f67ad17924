"""How much a compile removes of networks in several forms: float32, quantised in each way, recurrent.

    python docs/programs/coverage_forms.py [NAME...]

Each network is built twice with the same numbers: wide, half of the channels of each layer zeroed in all weights that
make or read them; and narrow, without these channels. Both are brought into one form. Printed: the bytes of weights
that a compile removes from the wide network, as a share of those that the narrow one lacks; and whether the result was
shown equal.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from coverage_builder import NETWORKS, RECURRENT, Builder
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

from upscale_onnx import compile

Form = Callable[[onnx.ModelProto], onnx.ModelProto]


def main(argv: Sequence[str] | None = None) -> int:
    """Build, bring into each form, compile and print; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = (*NETWORKS, *RECURRENT)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: all of {', '.join(known)}")
    names = parser.parse_args(argv).names or known
    if unknown := set(names) - set(known):
        parser.error(f"no network is called {min(unknown)!r}; there are {', '.join(known)}")
    logging.disable(logging.WARNING)
    print("| network | " + " | ".join(FORMS) + " |\n|---|" + "---:|" * len(FORMS), flush=True)
    for name, build in _named(NETWORKS, names):
        print(f"| {name} | " + " | ".join(_cell(build, form) for form in FORMS.values()) + " |", flush=True)
    print("\n| network | removed |\n|---|---:|", flush=True)
    for name, build in _named(RECURRENT, names):
        print(f"| {name} | {_cell(build, _as_it_is)} |", flush=True)
    return 0


def _named(
    networks: Mapping[str, Callable[[Builder], None]], names: Sequence[str]
) -> list[tuple[str, Callable[[Builder], None]]]:
    return [(name, build) for name, build in networks.items() if name in names]


def _cell(build: Callable[[Builder], None], form: Form) -> str:
    wide, narrow = (form(_built(build, is_narrow)) for is_narrow in (False, True))
    if form is not _as_it_is and not any(node.domain or "Linear" in node.op_type for node in wide.graph.node):
        return ""  # the form has nothing for this network
    result = compile(wide, export="gather", align=1, race=False)
    removed = (_bytes(wide) - _bytes(result.model)) / (_bytes(wide) - _bytes(narrow))
    proof = result.report.verification
    return f"{removed:.2f}" + ("" if proof is not None and proof.equal else " not shown equal")


def _built(build: Callable[[Builder], None], narrow: bool) -> onnx.ModelProto:
    builder = Builder(narrow)
    build(builder)
    return builder.model()


def _bytes(model: onnx.ModelProto) -> int:
    """Of all initializers with two or more entries."""
    arrays = (numpy_helper.to_array(tensor) for tensor in model.graph.initializer)
    return sum(array.nbytes for array in arrays if array.size > 1)


def _as_it_is(model: onnx.ModelProto) -> onnx.ModelProto:
    return model


@dataclass
class _Samples(CalibrationDataReader):
    """Random inputs for the choice of scales."""

    left: Iterator[dict[str, np.ndarray]]

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next one."""
        return next(self.left, None)


def _static(form: QuantFormat) -> Form:
    def quantised(model: onnx.ModelProto) -> onnx.ModelProto:
        shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
        rng = np.random.default_rng(0)
        samples = _Samples(iter([{"x": rng.standard_normal(shape).astype(np.float32)} for _ in range(2)]))
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "quantised.onnx")
            quantize_static(
                model, path, samples, quant_format=form, per_channel=True,
                activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            )  # fmt: skip
            return onnx.load(path)

    return quantised


def _saved(form: Form) -> Form:
    """The form, as onnxruntime saves it when it has optimised it: with channels on the last axis."""

    def optimised(model: onnx.ModelProto) -> onnx.ModelProto:
        options = ort.SessionOptions()
        options.log_severity_level = 4
        with tempfile.TemporaryDirectory() as folder:
            options.optimized_model_filepath = str(Path(folder) / "saved.onnx")
            ort.InferenceSession(form(model).SerializeToString(), options, providers=["CPUExecutionProvider"])
            return onnx.load(options.optimized_model_filepath)

    return optimised


def _dynamic(model: onnx.ModelProto) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "quantised.onnx")
        quantize_dynamic(model, path)
        return onnx.load(path)


def _blocks(bits: int) -> Form:
    def quantised(model: onnx.ModelProto) -> onnx.ModelProto:
        work = MatMulNBitsQuantizer(model, bits=bits, block_size=16, is_symmetric=True)
        work.process()
        made: onnx.ModelProto = work.model.model
        return made

    return quantised


FORMS: dict[str, Form] = {
    "float32": _as_it_is,
    "QDQ": _static(QuantFormat.QDQ),
    "QOperator": _static(QuantFormat.QOperator),
    "QOperator, optimised": _saved(_static(QuantFormat.QOperator)),
    "dynamic": _dynamic,
    "MatMulNBits, 4 bits": _blocks(4),
    "MatMulNBits, 8 bits": _blocks(8),
}

if __name__ == "__main__":
    sys.exit(main())
