"""Train the shipped networks on scikit-learn's digits, mask them, and write ONNX files, test digits and a manifest.

`python -m models.train_digits` takes about two minutes on one core. The masks are unconstrained: each layer gives up
the input channels that it weighs least, whatever the other readers of the same value do; then the rest is fine-tuned.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional

from models.export import export
from models.networks import Inception, NormalisedCNet

SEED = 0
HELD_OUT = 0.25
BATCH = 64
INPUT_SHAPE = (1, 8, 8)
DATA = {
    "name": "Optical Recognition of Handwritten Digits (test part), 1,797 images of 8x8",
    "origin": "E. Alpaydin and C. Kaynak, UCI Machine Learning Repository, doi:10.24432/C50P49; "
    "as in sklearn.datasets.load_digits",
    "licence": "CC BY 4.0",
}


@dataclass(frozen=True)
class Recipe:
    """How one shipped file is made. amount: fraction of each layer's input channels that is masked."""

    build: Callable[[], nn.Module]
    amount: float
    fold_norms: bool
    epochs: int = 20
    tuning_epochs: int = 10


RECIPES: Mapping[str, Recipe] = {
    "digits_cnet_masked": Recipe(
        lambda: NormalisedCNet((48, 48, "pool", 80, 80, "pool", 96), channels=1), amount=0.4, fold_norms=True
    ),
    "digits_inception_masked": Recipe(
        lambda: Inception((32, "pool", 48, 48), stem=32, channels=1), amount=0.4, fold_norms=False
    ),
}


@dataclass(frozen=True)
class Digits:
    """Images (N, 1, 8, 8) float32 between 0 and 1 with labels (N,) int64, for training and held out."""

    train_images: NDArray[np.float32]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.float32]
    test_labels: NDArray[np.int64]


def digits() -> Digits:
    """The data, split by the seed with equal shares of each digit."""
    pixels, labels = load_digits(return_X_y=True)
    images = (pixels / 16).astype(np.float32).reshape(-1, *INPUT_SHAPE)
    train_images, test_images, train_labels, test_labels = train_test_split(
        images, labels.astype(np.int64), test_size=HELD_OUT, random_state=SEED, stratify=labels
    )
    return Digits(train_images, train_labels, test_images, test_labels)


def batches(data: Digits, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of shuffled training batches; an incomplete last one is left out."""
    images, labels = torch.from_numpy(data.train_images), torch.from_numpy(data.train_labels)
    order = torch.randperm(len(labels), generator=generator)
    for rows in order[: len(order) // BATCH * BATCH].split(BATCH):
        yield images[rows], labels[rows]


def train(network: nn.Module, data: Digits, *, epochs: int, rate: float, masks: Mapping[nn.Module, Tensor]) -> None:
    """Adapt the network in place, keeping masked weights at zero. rate: the highest learning rate of the schedule."""
    generator = torch.Generator().manual_seed(SEED)
    steps = epochs * (len(data.train_labels) // BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=rate, total_steps=steps)
    network.train()
    for _ in range(epochs):
        for images, labels in batches(data, generator):
            optimizer.zero_grad()
            functional.cross_entropy(network(images), labels, label_smoothing=0.05).backward()
            optimizer.step()
            schedule.step()
            apply(masks)
    network.eval()


def least_weighed(network: nn.Module, amount: float) -> dict[nn.Module, Tensor]:
    """For each layer the input channels to keep: bool (1, C_in, 1, 1) or (1, C_in); False has the smallest L2 norm.

    The layer that reads the image keeps its only channel.
    """
    masks: dict[nn.Module, Tensor] = {}
    for layer in network.modules():
        if not isinstance(layer, nn.Conv2d | nn.Linear) or layer.weight.shape[1] == 1:
            continue
        W = layer.weight.detach()  # (C_out, C_in, kH, kW) or (C_out, C_in)
        other_axes = [axis for axis in range(W.ndim) if axis != 1]
        norms = W.square().sum(dim=other_axes, keepdim=True)
        masks[layer] = torch.ones_like(norms, dtype=torch.bool)
        masks[layer].view(-1)[norms.view(-1).argsort()[: int(amount * W.shape[1])]] = False
    return masks


def apply(masks: Mapping[nn.Module, Tensor]) -> None:
    """Write zeros into the masked weights, in place."""
    with torch.no_grad():
        for layer, mask in masks.items():
            layer.weight.mul_(mask)


def accuracy(model: onnx.ModelProto, images: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The share of images whose highest score is their label, in onnxruntime."""
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {"image": images})
    return float((scores.argmax(axis=1) == labels).mean())


def make(recipe: Recipe, data: Digits) -> tuple[onnx.ModelProto, dict[str, float]]:
    """The masked model, and held-out accuracies: trained, masked, and masked with fine-tuning (the model returned)."""
    torch.manual_seed(SEED)
    network = recipe.build()

    def exported() -> onnx.ModelProto:
        return export(network, INPUT_SHAPE, dynamic_batch=True, fold_norms=recipe.fold_norms)

    def score(model: onnx.ModelProto) -> float:
        return round(accuracy(model, data.test_images, data.test_labels), 4)

    train(network, data, epochs=recipe.epochs, rate=5e-3, masks={})
    trained = score(exported())
    masks = least_weighed(network, recipe.amount)
    apply(masks)
    masked = score(exported())
    train(network, data, epochs=recipe.tuning_epochs, rate=1e-3, masks=masks)
    model = exported()
    return model, {"trained": trained, "masked": masked, "masked_and_tuned": score(model)}


def entry(path: Path, **more: Any) -> dict[str, Any]:
    """What the manifest says of any file."""
    content = path.read_bytes()
    return {"file": path.name, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), **more}


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and write all files."""
    parser = argparse.ArgumentParser(prog="python -m models.train_digits", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent, help="folder to write to")
    folder = parser.parse_args(arguments).output
    # One thread and deterministic kernels: the same machine and torch give the same files.
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    made_by = {"command": "python -m models.train_digits", "seed": SEED, "torch": torch.__version__.split("+")[0]}

    data = digits()
    path = folder / "digits_test.npz"
    np.savez_compressed(path, image=data.test_images, labels=data.test_labels)
    files = [entry(path, origin="held-out part of the data", licence=DATA["licence"])]
    for name, recipe in RECIPES.items():
        model, accuracies = make(recipe, data)
        path = folder / f"{name}.onnx"
        onnx.save(model, path)
        print(f"{path}: held-out accuracy {accuracies}")
        files.append(
            entry(
                path,
                origin="trained by this project",
                licence="Apache-2.0",
                made_by=made_by,
                masked_input_channels=recipe.amount,
                batch_norms="folded" if recipe.fold_norms else "kept",
                held_out_accuracy=accuracies,
            )
        )
    manifest = {"data": {**DATA, "held_out": HELD_OUT}, "files": files}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
