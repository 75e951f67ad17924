"""How much of what masks leave in exported transformers a compile removes.

    python docs/programs/coverage.py [NAME...] [--exporter torchscript dynamo] [--attention eager sdpa] [--share 0.5]

Needs transformers (random weights; nothing is downloaded). Each network has two layers. A share of one kind of unit is
zeroed in all weights that hold it: neurons of feed-forward layers, heads, features of queries and keys (in pairs under
rotary embeddings), features of values. Printed for each export: the parameters removed, with what a compile adds, as a
share of the zeroed entries; and whether the result was shown equal.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
import torch
import transformers
from coverage_units import UNITS, Heads, zero
from torch import nn

from upscale_onnx import compile
from upscale_onnx.errors import UpscaleError

_SIZES = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 64, "intermediate_size": 128}
_TEXT = {**_SIZES, "vocab_size": 200, "max_position_embeddings": 64}
_IMAGE = {**_SIZES, "image_size": 32, "patch_size": 8}
# Network and configuration, its settings, its heads, and whether it takes images.
NETWORKS: dict[str, tuple[str, str, dict[str, Any], Heads, bool]] = {
    "bert": ("BertModel", "BertConfig", _TEXT, Heads(4, 4, 16), False),
    "llama": ("LlamaModel", "LlamaConfig", {**_TEXT, "num_key_value_heads": 2}, Heads(4, 2, 16, True), False),
    "qwen2": ("Qwen2Model", "Qwen2Config", {**_TEXT, "num_key_value_heads": 4}, Heads(4, 4, 16, True), False),
    "t5": (
        "T5EncoderModel",
        "T5Config",
        {"vocab_size": 200, "d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4},
        Heads(4, 4, 16),
        False,
    ),
    "clip": ("CLIPTextModel", "CLIPTextConfig", _TEXT, Heads(4, 4, 16), False),
    "vit": ("ViTModel", "ViTConfig", _IMAGE, Heads(4, 4, 16), True),
}


class Wrapped(nn.Module):
    """A network from its input to its last hidden states."""

    def __init__(self, network: Any, images: bool) -> None:
        super().__init__()
        self.network, self.images = network, images

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        cached = {"use_cache": False} if self.network.config.model_type in ("llama", "qwen2") else {}
        given = {} if self.images else {"attention_mask": mask}
        hidden: torch.Tensor = self.network(x, **given, **cached).last_hidden_state
        return hidden


def main(argv: Sequence[str] | None = None) -> int:
    """Export, mask, compile and print; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: {' '.join(NETWORKS)}")
    parser.add_argument("--exporter", nargs="+", choices=("torchscript", "dynamo"), default=["torchscript", "dynamo"])
    parser.add_argument("--attention", nargs="+", choices=("eager", "sdpa"), default=["eager", "sdpa"])
    parser.add_argument("--share", type=float, default=0.5, metavar="S", help="of the units that go (default: 0.5)")
    args = parser.parse_args(argv)
    logging.disable(logging.WARNING)
    print("| network | export | " + " | ".join(UNITS) + " |\n|---|---|" + "---:|" * len(UNITS), flush=True)
    for name in args.names or NETWORKS:
        for exporter in args.exporter:
            for attention in args.attention:
                cells = [_cell(name, exporter, attention, unit, args.share) for unit in UNITS]
                print(f"| {name} | {exporter}, {attention} | " + " | ".join(cells) + " |", flush=True)
    return 0


def _cell(name: str, exporter: str, attention: str, unit: str, share: float) -> str:
    try:
        model, zeroed = masked(name, exporter, attention, unit, share)
        report = compile(model, export="gather", align=1, race=False).report
    except UpscaleError as error:
        return type(error).__name__
    except Exception as error:  # an exporter may fail in many ways
        return f"not exported: {type(error).__name__}"
    equal = report.verification is not None and report.verification.equal
    removed = (report.before.parameters - report.after.parameters) / zeroed
    return f"{removed:.2f}" + ("" if equal else " not shown equal")


def masked(name: str, exporter: str, attention: str, unit: str, share: float) -> tuple[onnx.ModelProto, int]:
    """A masked network as a model, and how many entries of its weights were zeroed."""
    kind, configuration, settings, heads, images = NETWORKS[name]
    torch.manual_seed(0)
    config = getattr(transformers, configuration)(**settings, attn_implementation=attention)
    network = getattr(transformers, kind)(config).eval()
    zeroed = zero(network, unit, share, heads)
    if images:
        given: tuple[torch.Tensor, ...] = (torch.randn(2, 3, 32, 32),)
        axes: dict[str, dict[int, str]] = {"x": {0: "batch"}}
    else:
        given = (torch.randint(0, 199, (2, 7)), torch.ones(2, 7, dtype=torch.int64))
        axes = {"x": {0: "batch", 1: "length"}, "mask": {0: "batch", 1: "length"}}
    dynamic = torch.export.Dim.DYNAMIC
    how: dict[str, Any] = {"dynamic_axes": axes, "opset_version": 17}
    if exporter == "dynamo":
        how = {"dynamic_shapes": tuple(dict.fromkeys(sizes, dynamic) for sizes in axes.values())}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        path = Path(folder) / "network.onnx"
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            torch.onnx.export(
                Wrapped(network, images), given, str(path), input_names=list(axes), output_names=["y"],
                dynamo=exporter == "dynamo", **how,
            )  # fmt: skip
        return onnx.load(str(path)), zeroed


if __name__ == "__main__":
    sys.exit(main())
