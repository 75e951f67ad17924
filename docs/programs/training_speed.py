"""How fast a graph trains here, against the same network written in PyTorch: CPU time of steps in turns, on one thread.

python docs/programs/training_speed.py [--batch N] [--rounds N] [--networks NAME,NAME]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from models.export import export
from models.networks import NETWORKS, MobileNet
from upscale_onnx.measures.accuracy import Preprocessing
from upscale_onnx.training.images import training_data
from upscale_onnx.training.settings import Training
from upscale_onnx.training.trainer import Trainer

# MobileNetV2 as torchvision has it: the stages of Table 2 of the paper, for images of 224x224.
_STAGES = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
)  # fmt: skip
SUBJECTS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "resnet20-16": (NETWORKS["resnet20-16"].build, 32),
    "mobilenet": (NETWORKS["mobilenet"].build, 32),
    "mobilenet_v2": (lambda: MobileNet(_STAGES, last=1280, classes=1000), 224),
}


def native(network: nn.Module, x: torch.Tensor, labels: torch.Tensor) -> Callable[[], None]:
    """A step as one writes it in PyTorch, in channels-last memory."""
    network.train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9, nesterov=True, weight_decay=5e-4)

    def step() -> None:
        optimizer.zero_grad()
        loss = functional.cross_entropy(network(x), labels)
        loss.backward()
        optimizer.step()
        loss.item()

    return step


def main() -> None:
    """Measure and print one row per network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--networks", default=",".join(SUBJECTS))
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("| network | images | native ms | here ms | speed |\n|---|---|---|---|---|")
    for name in args.networks.split(","):
        build, size = SUBJECTS[name]
        batch = args.batch if size == 32 else max(args.batch // 8, 1)
        torch.manual_seed(0)
        network = build()
        model = export(network, (3, size, size), dynamic_batch=True)
        rng = np.random.default_rng(0)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "x.npz")
            np.savez(path, x=rng.integers(0, 256, (batch, size, size, 3)).astype(np.uint8), y=np.arange(batch) % 10)
            data = training_data(model, str(path), Preprocessing(), "none", batch)
        trainer = Trainer(model, data, Training(epochs=1, rate=1e-3))
        x, labels = data.first(), data.labels
        here = partial(trainer._step, x, labels, 1e-3)
        steps: dict[str, Callable[[], object]] = {"native": native(network, x, labels), "here": here}
        times: dict[str, list[float]] = {key: [] for key in steps}
        for round_ in range(args.rounds + 2):  # the first two warm up
            for key, step in steps.items():
                start = time.process_time()
                step()
                if round_ > 1:
                    times[key].append(time.process_time() - start)
        ours, theirs = (statistics.median(times[key]) * 1000 for key in ("here", "native"))
        ratio = statistics.median(n / h for n, h in zip(times["native"], times["here"], strict=True))
        print(f"| {name} | {batch} of {size}x{size} | {theirs:.1f} | {ours:.1f} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
