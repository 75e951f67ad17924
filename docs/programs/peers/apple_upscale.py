"""Export a masked torchvision network by apple-upscale: `python apple_upscale.py MASKED.onnx NETWORK OUT.onnx`.

It needs torch, torchvision, onnx and apple-upscale, so latency.py runs it in the interpreter that it is given by
--reference-python. One part of NETWORK, between double underscores, is a constructor in torchvision.models. The
weights are those of MASKED.onnx, found by name, zeroed channels included: both tools see the same masks.
"""

from __future__ import annotations

import sys
from types import ModuleType

import onnx
import torch
from onnx import numpy_helper


def main(masked: str, network: str, out: str) -> None:
    """Load, prune and export."""
    torch.manual_seed(0)
    # A torchvision without its compiled half, as beside a torch for CPUs, cannot be imported unless these are
    # declared; classifiers do not use them.
    for operator in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, operator):
            torch.library.define(f"torchvision::{operator}", "(Tensor dets, Tensor scores, float threshold) -> Tensor")
    import torchvision
    from upscale import PruningManager

    model = onnx.load(masked)
    sample = torch.rand(*(d.dim_value or 1 for d in model.graph.input[0].type.tensor_type.shape.dim))
    net = _network(torchvision.models, network).eval()
    if not _load(net, {t.name: t for t in model.graph.initializer}):
        raise SystemExit(f"no convolution of the file is called as in torchvision's {network}")
    with torch.no_grad():
        PruningManager(net).compute([sample]).prune()
        torch.onnx.export(net, (sample,), out, input_names=[model.graph.input[0].name], dynamo=False)


def _network(models: ModuleType, network: str) -> torch.nn.Module:
    name = next((part for part in network.split("__") if hasattr(models, part)), None)
    if name is None:
        raise SystemExit(f"torchvision has no network called {network}")
    # In training these two have more outputs.
    more = {"init_weights": False, "aux_logits": False} if name in ("googlenet", "inception_v3") else {}
    net: torch.nn.Module = getattr(models, name)(weights=None, **more)
    return net


def _load(net: torch.nn.Module, tensors: dict[str, onnx.TensorProto]) -> int:
    """Copy what is called the same and has the same shape; the number of convolutions among it."""
    found = 0
    for name, value in net.state_dict().items():
        tensor = tensors.get(name)
        if tensor is not None and tuple(tensor.dims) == tuple(value.shape):
            value.copy_(torch.from_numpy(numpy_helper.to_array(tensor).copy()))
            found += value.dim() == 4
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
