"""Quantises a network with onnxruntime: `python docs/programs/quantise.py in.onnx out.onnx --train TRAIN.npz`.

Weights get a scale for each output channel, activations one each. Images of TRAIN choose the scales; it is what
`upscale_onnx evaluate` reads. BatchNormalization is folded into weights first.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from upscale_onnx.cli.arguments import positive
from upscale_onnx.cli.evaluate import add_preprocessing, preprocessing_from
from upscale_onnx.errors import UpscaleError
from upscale_onnx.measures.labelled_images import open_images
from upscale_onnx.model import load_model, save_model

Inputs = Mapping[str, NDArray[Any]]

FORMS = {"qdq": QuantFormat.QDQ, "qoperator": QuantFormat.QOperator}
_BATCH = 64


@dataclass
class _Batches(CalibrationDataReader):
    """Inputs on which scales are chosen."""

    left: Iterator[Inputs]

    def get_next(self) -> Inputs | None:
        """The next ones."""
        return next(self.left, None)


def quantised(
    model: onnx.ModelProto, batches: Iterable[Inputs], form: QuantFormat = QuantFormat.QDQ
) -> onnx.ModelProto:
    """`model` in eight bits: unsigned activations, signed weights with a scale for each output channel."""
    logging.disable(logging.WARNING)  # it warns of models without the step that folds
    with tempfile.TemporaryDirectory() as folder:
        source, folded, path = (Path(folder) / f"{name}.onnx" for name in ("source", "folded", "quantised"))
        onnx.save(model, source)
        quant_pre_process(source, folded, skip_symbolic_shape=True)
        quantize_static(
            folded, path, _Batches(iter(batches)), quant_format=form, per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        )  # fmt: skip
        return onnx.load(path)


def main(argv: Sequence[str] | None = None) -> int:
    """Quantise and save; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", type=Path, metavar="in.onnx")
    parser.add_argument("out", type=Path, metavar="out.onnx")
    parser.add_argument("--train", type=Path, required=True, metavar="TRAIN.npz")
    parser.add_argument("--form", choices=FORMS, default="qdq", help="default: qdq")
    parser.add_argument(
        "--images", type=positive, default=256, metavar="N", help="how many choose scales; default: 256"
    )
    add_preprocessing(parser)
    args = parser.parse_args(argv)
    try:
        model, preprocessing = load_model(args.network), preprocessing_from(args)
        images, name = open_images(args.train, preprocessing.size), model.graph.input[0].name
        starts = range(0, min(args.images, images.labels.size), _BATCH)
        ends = (min(start + _BATCH, args.images, images.labels.size) for start in starts)
        batches = ({name: preprocessing.apply(images.read(*part))} for part in zip(starts, ends, strict=True))
        save_model(quantised(model, batches, FORMS[args.form]), args.out)
    except UpscaleError as error:
        print(f"quantise.py: error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
