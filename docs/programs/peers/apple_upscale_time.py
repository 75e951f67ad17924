"""How long apple-upscale takes to prune: `python apple_upscale_time.py densenet201`, where apple-upscale is installed.

The network is torchvision's with random weights, of every convolution 30 % of the input channels zeroed, as in
compile_time.py. The times hold the analysis and the pruning; building, loading and export are left out.
"""

from __future__ import annotations

import json
import sys
import time

import torch


def main(name: str, amount: float = 0.3) -> None:
    """Print the times as JSON."""
    torch.manual_seed(0)
    for operator in ("nms", "qnms"):  # a torchvision without its compiled half cannot be imported otherwise
        if not hasattr(torch.ops.torchvision, operator):
            torch.library.define(f"torchvision::{operator}", "(Tensor dets, Tensor scores, float threshold) -> Tensor")
    import torchvision
    from upscale import PruningManager

    net = getattr(torchvision.models, name)(weights=None).eval()
    with torch.no_grad():
        for layer in net.modules():
            if isinstance(layer, torch.nn.Conv2d) and layer.groups == 1 and layer.in_channels > 3:
                layer.weight[:, torch.randperm(layer.in_channels)[: int(layer.in_channels * amount)]] = 0
        sample = torch.rand(1, 3, 224, 224)
        start, busy = time.perf_counter(), time.process_time()
        PruningManager(net).compute([sample]).prune()
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    print(json.dumps({"network": name, "seconds": round(seconds, 2), "cpu_seconds": round(busy, 2)}))


if __name__ == "__main__":
    main(*sys.argv[1:2])
