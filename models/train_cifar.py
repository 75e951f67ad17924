"""Train a DenseNet and a C-NET on labelled colour images, such as CIFAR-10, and write ONNX files.

    python -m models.train_cifar TRAIN.npz TEST.npz --out FOLDER [--networks densenet,cnet] [--bfloat16]

TRAIN and TEST are what `upscale_onnx evaluate` reads: `blob`, `offsets` and `y` (encoded images), or `x` and `y`. The
files take images normalised as (pixel / 255 - MEAN) / STD, which `evaluate --normalise imagenet` does; both constants
are also in the file's metadata. The same machine, torch, seed and number of threads give the same files.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from models.export import export
from models.networks import DenseNet, NormalisedCNet
from upscale_onnx.cli.evaluate import PRESETS
from upscale_onnx.measures.accuracy import Preprocessing, evaluate
from upscale_onnx.measures.labelled_images import open_images

MEAN, STD = PRESETS["imagenet"]
PREPROCESSING = Preprocessing(MEAN, STD)
BATCH = 128
MARGIN = 4  # pixels by which a training image is moved at most, as in He et al., CVPR 2016, section 4.2


@dataclass(frozen=True)
class Recipe:
    """How one network is trained. build: takes the number of classes; rate: the highest learning rate."""

    build: Callable[[int], nn.Module]
    epochs: int
    rate: float


RECIPES: Mapping[str, Recipe] = {
    "densenet": Recipe(lambda classes: DenseNet(depth=28, growth=16, stride=2, classes=classes), epochs=14, rate=0.3),
    "cnet": Recipe(
        lambda classes: NormalisedCNet((32, "pool", 64, 64, "pool", 128, 128), classes=classes), epochs=10, rate=0.2
    ),
}


@dataclass(frozen=True)
class Images:
    """Training images with a reflected margin, (N, 3, H + 2 * MARGIN, W + 2 * MARGIN) uint8, and labels (N,) int64."""

    padded: Tensor
    labels: Tensor

    @property
    def classes(self) -> int:
        """One more than the largest label."""
        return int(self.labels.max()) + 1

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one image without the margin: (C, H, W)."""
        _, channels, height, width = self.padded.shape
        return channels, height - 2 * MARGIN, width - 2 * MARGIN


def read(path: Path) -> Images:
    """The images and labels of an .npz, decoded once.

    Raises: ArgumentError when the file cannot be read or does not fit.
    """
    images = open_images(path)
    pixels = images.read(0, images.labels.size)
    margins = ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0))
    padded: NDArray[np.uint8] = np.pad(pixels, margins, mode="reflect").transpose(0, 3, 1, 2)
    return Images(torch.from_numpy(np.ascontiguousarray(padded)), torch.from_numpy(images.labels))


def normalise(pixels: Tensor) -> Tensor:
    """What the networks take, (N, 3, H, W) float32 in channels-last memory, of pixels of the same shape, uint8."""
    mean, std = (torch.tensor(values, dtype=torch.float32).view(1, 3, 1, 1) for values in (MEAN, STD))
    return ((pixels / 255 - mean) / std).contiguous(memory_format=torch.channels_last)


def batches(images: Images, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of shuffled, moved and mirrored training batches; an incomplete last one is left out."""
    _, height, width = images.shape
    windows = images.padded.unfold(2, height, 1).unfold(3, width, 1)  # a view: (N, C, top, left, H, W)
    count = len(images.labels)
    order = torch.randperm(count, generator=generator)
    for rows in order[: count // BATCH * BATCH].split(BATCH):
        top, left = torch.randint(2 * MARGIN + 1, (2, BATCH), generator=generator)
        pixels = windows[rows, :, top, left]
        mirrored = torch.rand(BATCH, 1, 1, 1, generator=generator) < 0.5
        yield normalise(torch.where(mirrored, pixels.flip(3), pixels)), images.labels[rows]


def train(network: nn.Module, images: Images, recipe: Recipe, *, seed: int, bfloat16: bool) -> None:
    """Adapt the network in place and print one line per epoch.

    bfloat16: convolutions and products in that type, weights and their updates in float32; twice as fast where the
    processor has instructions for it.
    Source: one cycle of the learning rate, Smith and Topin, Super-Convergence, 2019.

    Raises: ValueError when there are fewer images than one batch.
    """
    per_epoch = len(images.labels) // BATCH
    if not per_epoch:
        raise ValueError(f"{len(images.labels)} training images are less than one batch of {BATCH}")
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(
        network.parameters(), lr=recipe.rate, momentum=0.9, nesterov=True, weight_decay=5e-4
    )  # fmt: skip
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=recipe.rate, total_steps=recipe.epochs * per_epoch, pct_start=0.25
    )
    network.train().to(memory_format=torch.channels_last)
    for epoch in range(recipe.epochs):
        start, loss_sum, hits = time.perf_counter(), 0.0, 0
        for x, labels in batches(images, generator):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                scores = network(x).float()
            loss = functional.cross_entropy(scores, labels, label_smoothing=0.1)
            loss.backward()
            optimizer.step()
            schedule.step()
            loss_sum += loss.item()
            hits += int((scores.argmax(dim=1) == labels).sum())
        share, seconds = hits / (per_epoch * BATCH), time.perf_counter() - start
        print(f"epoch {epoch + 1}/{recipe.epochs}: loss {loss_sum / per_epoch:.3f}, "
              f"training accuracy {share:.1%}, {seconds:.0f} s", flush=True)  # fmt: skip
    network.eval()


def make(recipe: Recipe, images: Images, *, seed: int, bfloat16: bool, fold_norms: bool) -> onnx.ModelProto:
    """The trained network as ONNX with a dynamic batch, its normalisation constants among the metadata."""
    torch.manual_seed(seed)
    network = recipe.build(images.classes)
    train(network, images, recipe, seed=seed, bfloat16=bfloat16)
    network.to(memory_format=torch.contiguous_format)
    model = export(network, images.shape, dynamic_batch=True, fold_norms=fold_norms)
    onnx.helper.set_model_props(model, {"mean": str(list(MEAN)), "std": str(list(STD)), "pixels": "divided by 255"})
    return model


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line, train, write the files and print the accuracies."""
    parser = argparse.ArgumentParser(
        prog="python -m models.train_cifar", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="folder to write cifar10_NETWORK.onnx to")
    parser.add_argument("--networks", default=",".join(RECIPES), help="which to train, separated by commas")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--bfloat16", action="store_true", help="multiply in bfloat16")
    parser.add_argument("--fold-norms", action="store_true", help="fold each BatchNorm into the convolution before it")
    args = parser.parse_args(arguments)
    names = args.networks.split(",")
    if unknown := [name for name in names if name not in RECIPES]:
        parser.error(f"--networks {unknown[0]}: choose from {', '.join(RECIPES)}")
    torch.set_num_threads(args.threads)
    torch.use_deterministic_algorithms(True)
    args.out.mkdir(parents=True, exist_ok=True)
    images = read(args.train)
    for name in names:
        recipe = RECIPES[name]
        if args.epochs is not None:
            recipe = Recipe(recipe.build, args.epochs, recipe.rate)
        start = time.perf_counter()
        model = make(recipe, images, seed=args.seed, bfloat16=args.bfloat16, fold_norms=args.fold_norms)
        seconds = time.perf_counter() - start
        path = args.out / f"cifar10_{name}.onnx"
        onnx.save(model, path)
        top1 = evaluate(model, args.test, PREPROCESSING, threads=args.threads).top1
        print(f"{path}: test accuracy {top1:.2%} after {seconds:.0f} s of training", flush=True)


if __name__ == "__main__":
    main()
