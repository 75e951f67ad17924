"""How much of what masks leave in networks of timm a compile removes.

    python docs/programs/coverage_vision.py [NAME...] [--units neurons tokens gates heads "value features" stream]

Needs timm (random weights; nothing is downloaded). Half of one kind of unit of each layer is zeroed in all weights that
hold it: neurons between two layers (tokens: of layers that mix places; gates: both halves of gated neurons), heads,
features of values, and channels of the stream that all layers of a mixer read and add to. Printed for each network: the
parameters removed, with what a compile adds, as a share of the zeroed entries of matrices and kernels; and whether the
result was shown equal.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import torch
from coverage_share import removed_share
from timm.layers import GatedMlp
from timm.models import (
    beit,
    cait,
    convmixer,
    davit,
    edgenext,
    maxxvit,
    metaformer,
    mlp_mixer,
    swin_transformer,
    vision_transformer,
    xcit,
)
from torch import nn

_SIZE, _CLASSES = 64, {"num_classes": 10}
_MIXER = partial(mlp_mixer.MlpMixer, img_size=_SIZE, patch_size=16, embed_dim=64, num_blocks=2, **_CLASSES)
_STAGES = {"depths": (1, 1), "num_heads": (2, 4), **_CLASSES}
_ATTENTION = {"img_size": _SIZE, "patch_size": 16, "embed_dim": 64, "depth": 2, "num_heads": 4, **_CLASSES}


def _maxxvit(name: str) -> nn.Module:
    """A network of this family, with one block in each stage."""
    settings = replace(maxxvit.model_cfgs[name], depths=(1, 1, 1, 1))
    return maxxvit.MaxxVit(settings, img_size=_SIZE, **_CLASSES)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "mixer": _MIXER,
    "resmlp": partial(_MIXER, mlp_ratio=4, block_layer=mlp_mixer.ResBlock, norm_layer=mlp_mixer.Affine),
    "gmlp": partial(_MIXER, mlp_ratio=6, block_layer=mlp_mixer.SpatialGatingBlock, mlp_layer=GatedMlp),
    "convmixer": partial(convmixer.ConvMixer, dim=64, depth=2, kernel_size=5, patch_size=4, **_CLASSES),
    "poolformer": partial(metaformer.MetaFormer, depths=(1, 1), dims=(32, 64), **_CLASSES),
    "xcit": partial(xcit.Xcit, cls_attn_layers=1, **_ATTENTION),
    "cait": partial(cait.Cait, depth_token_only=1, **_ATTENTION),
    "edgenext": partial(edgenext.EdgeNeXt, depths=(2, 2, 2, 2), **_CLASSES),
    "maxvit": partial(_maxxvit, "maxvit_pico_rw"),
    "coatnet": partial(_maxxvit, "coatnet_pico_rw"),
    "vit": partial(vision_transformer.VisionTransformer, **_ATTENTION),
    "beit": partial(beit.Beit, **_ATTENTION),
    "swin": partial(swin_transformer.SwinTransformer, img_size=_SIZE, embed_dim=32, window_size=4, **_STAGES),
    "davit": partial(davit.DaVit, embed_dims=(32, 64), **_STAGES),
}

_WIDTH = 64
Zero = Callable[[nn.Module, str, np.random.Generator], None]


def _neurons(module: nn.Module, name: str, rng: np.random.Generator) -> None:
    if hasattr(module, "conv1_1x1") and hasattr(module, "conv3_1x1"):
        gone = _half(rng, module.conv3_1x1.weight.shape[1])
        _rows(gone, module.conv1_1x1, module.norm1, module.conv2_kxk, module.norm2)
        _columns(gone, module.conv3_1x1, module.se.fc1)
    if name.endswith(("mlp", "mlp_channels")) and not hasattr(module, "gate"):
        _between(module, rng)


def _tokens(module: nn.Module, name: str, rng: np.random.Generator) -> None:
    if name.endswith("mlp_tokens"):
        _between(module, rng)


def _between(module: nn.Module, rng: np.random.Generator) -> None:
    gone = _half(rng, module.fc2.weight.shape[1])
    _rows(gone, module.fc1)
    _columns(gone, module.fc2)


def _gates(module: nn.Module, name: str, rng: np.random.Generator) -> None:
    if not isinstance(module, GatedMlp):
        return
    count = module.fc2.in_features
    gone = _half(rng, count)
    _rows(np.concatenate((gone, gone + count)), module.fc1)
    _rows(gone, module.gate.norm)
    _columns(gone, module.fc2)


def _heads(module: nn.Module, name: str, rng: np.random.Generator) -> None:
    if not hasattr(module, "num_heads") or not hasattr(module, "proj"):  # a block hands its heads on
        return
    heads, width = module.num_heads, module.proj.weight.shape[1]
    gone = _half(rng, heads)
    features = np.arange(width).reshape(heads, -1)[gone].ravel()
    _attention(module, features, width, ("q", "k", "v"))
    if hasattr(module, "proj_l"):  # layers that mix heads, in front of the Softmax and behind it
        for mix in (module.proj_l, module.proj_w):
            _rows(gone, mix)
            _columns(gone, mix)


def _value_features(module: nn.Module, name: str, rng: np.random.Generator) -> None:
    if not hasattr(module, "num_heads") or not hasattr(module, "proj"):  # a block hands its heads on
        return
    heads, width = module.num_heads, module.proj.weight.shape[1]
    features = np.arange(width).reshape(heads, -1)
    _attention(module, np.concatenate([row[_half(rng, row.size)] for row in features]), width, ("v",))


def _attention(module: nn.Module, features: np.ndarray, width: int, parts: Sequence[str]) -> None:
    """Zero these features, counted through all heads, in `parts` of an attention and in what reads them."""
    _columns(features, module.proj)
    # Where queries, keys and values have one weight, it holds them one after the other, of all heads or of each.
    size = width // module.num_heads if getattr(module, "head_first", False) else width
    for part in parts:
        if hasattr(module, "qkv"):
            _rows(features // size * 3 * size + "qkv".index(part) * size + features % size, module.qkv)
        else:
            _rows(features, getattr(module, part))


def _stream(module: nn.Module, name: str, rng: np.random.Generator) -> None:
    if not isinstance(module, mlp_mixer.MlpMixer | convmixer.ConvMixer):
        return
    gone = _half(rng, _WIDTH)
    for key, parameter in module.named_parameters():
        weight = parameter.data
        makes = key.endswith(("fc2.weight", "stem.proj.weight", "stem.0.weight", "fn.0.weight", ".1.weight"))
        if weight.ndim != 2 and weight.shape[-1] == _WIDTH:  # a bias, or factors of a normalisation
            weight[..., gone] = 0
        elif makes and len(weight) == _WIDTH:
            weight[gone] = 0
        if weight.ndim > 1 and weight.shape[1] == _WIDTH:
            weight[:, gone] = 0


def _half(rng: np.random.Generator, size: int) -> np.ndarray:
    return rng.choice(size, size // 2, replace=False)


def _rows(gone: np.ndarray, *layers: nn.Module) -> None:
    for parameter in (parameter for layer in layers for parameter in layer.parameters()):
        parameter.data[gone] = 0


def _columns(gone: np.ndarray, *layers: nn.Module) -> None:
    for layer in layers:
        layer.weight.data[:, gone] = 0


UNITS: dict[str, Zero] = {
    "neurons": _neurons, "tokens": _tokens, "gates": _gates, "heads": _heads, "value features": _value_features,
    "stream": _stream,
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Export, mask, compile and print; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: {' '.join(NETWORKS)}")
    parser.add_argument("--units", nargs="+", choices=tuple(UNITS), default=list(UNITS))
    args = parser.parse_args(argv)
    logging.disable(logging.WARNING)
    print("| network | " + " | ".join(args.units) + " |\n|---|" + "---:|" * len(args.units), flush=True)
    for name in args.names or NETWORKS:
        print(f"| {name} | " + " | ".join(removed_share(*masked(name, unit)) for unit in args.units) + " |", flush=True)
    return 0


def masked(name: str, unit: str) -> tuple[onnx.ModelProto, int]:
    """A masked network as a model, and how many entries of its matrices and kernels were zeroed."""
    torch.manual_seed(0)
    network = NETWORKS[name]().eval()
    for parameter in network.parameters():  # Factors of branches start at next to nothing.
        parameter.data = torch.randn_like(parameter) * 0.1
    before, rng = _zeros(network), np.random.default_rng(0)
    for module_name, module in network.named_modules():
        UNITS[unit](module, module_name, rng)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        path = Path(folder) / "network.onnx"
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            torch.onnx.export(
                network, (torch.randn(2, 3, _SIZE, _SIZE),), str(path), input_names=["x"], output_names=["y"],
                dynamo=False, opset_version=17, dynamic_axes={"x": {0: "batch"}},
            )  # fmt: skip
        return onnx.load(str(path)), _zeros(network) - before


def _zeros(network: nn.Module) -> int:
    return sum(int((weight == 0).sum()) for weight in network.parameters() if weight.ndim > 1)


if __name__ == "__main__":
    sys.exit(main())
