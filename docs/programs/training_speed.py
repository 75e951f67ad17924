"""The speed of training steps from an ONNX file against the same network in PyTorch, interleaved, on one thread.

python docs/programs/training_speed.py [--networks resnet20-16,mobilenet] [--rounds 5] [--steps 4] [--batch 64]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from models.export import build, export
from models.networks import NETWORKS
from upscale_onnx.training.images import TrainingData
from upscale_onnx.training.settings import Training
from upscale_onnx.training.trainer import Trainer


def native_epoch(network: torch.nn.Module, steps: torch.optim.Optimizer, data: TrainingData) -> float:
    """Seconds of one epoch of the network in PyTorch."""
    start = time.perf_counter()
    for x, labels in data.epoch(torch.Generator().manual_seed(0)):
        steps.zero_grad()
        torch.nn.functional.cross_entropy(network(x), labels).backward()
        steps.step()
    return time.perf_counter() - start


def ours_epoch(trainer: Trainer) -> float:
    """Seconds of one epoch from the ONNX file."""
    start = time.perf_counter()
    trainer.epoch(0)
    return time.perf_counter() - start


def main() -> None:
    """Print, for each network, seconds per step of both and their ratio, medians over rounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default="resnet20-16,mobilenet,cnet")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--batch", type=int, default=64)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("network, native s/step, ours s/step, our speed relative to native (median of rounds)")
    for name in args.networks.split(","):
        shape = NETWORKS[name].input_shape
        count = args.steps * args.batch
        x = torch.randn(count, *shape).contiguous(memory_format=torch.channels_last)
        labels = torch.randint(10, (count,))
        data = TrainingData("image", x, labels, None, (0, 0), False, args.batch)
        trainer = Trainer(export(build(name), shape, dynamic_batch=True), data, Training())
        network = build(name).train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        steps = torch.optim.SGD(
            network.parameters(), lr=1e-3, momentum=0.9, nesterov=True, weight_decay=5e-4, foreach=True
        )
        native_epoch(network, steps, data), ours_epoch(trainer)  # what is done once
        pairs = [(native_epoch(network, steps, data), ours_epoch(trainer)) for _ in range(args.rounds)]
        native, ours = (statistics.median(values) / args.steps for values in zip(*pairs, strict=True))
        ratio = statistics.median(a / b for a, b in pairs)
        print(f"{name}, {native:.3f}, {ours:.3f}, {ratio:.2f}", flush=True)


if __name__ == "__main__":
    main()
