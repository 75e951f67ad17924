"""Train base networks of one architecture: several seeds, on several data sets.

    python -m models.train_bases resnet20-16 --set cifar10 TRAIN.npz TEST.npz --set cifar100 TRAIN2.npz TEST2.npz \\
        --seeds 4 --epochs 20 --out FOLDER

Writes FOLDER/SET_NETWORK_SEED.onnx. The files take images of the size that the network is built for, normalised as
`evaluate --normalise imagenet` does. The same command goes on where it was stopped: what is written is left, and a
training goes on with its last epoch.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from rich.progress import Progress, TextColumn, TimeElapsedColumn

from models.export import drawn, export
from models.networks import NETWORKS
from models.train_cifar import PREPROCESSING
from upscale_onnx import Training, finetune
from upscale_onnx.measures.labelled_images import open_images
from upscale_onnx.model import save_model


def main(arguments: list[str] | None = None) -> None:
    """Train what is missing, and print accuracies."""
    parser = argparse.ArgumentParser(
        prog="python -m models.train_bases", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("network", choices=sorted(NETWORKS))
    parser.add_argument(
        "--set", nargs=3, action="append", required=True, metavar=("NAME", "TRAIN", "TEST"), help="a data set"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--seeds", type=int, default=2, metavar="N", help="networks of each set (default: 2)")
    parser.add_argument("--epochs", type=int, default=20, metavar="N", help="default: 20")
    parser.add_argument("--rate", type=float, default=0.05, metavar="R", help="highest learning rate (default: 0.05)")
    parser.add_argument("--threads", type=int, default=1, metavar="N")
    args = parser.parse_args(arguments)
    args.out.mkdir(parents=True, exist_ok=True)
    for seed in range(args.seeds):
        for name, train, test in args.set:
            path = args.out / f"{name}_{args.network}_{seed}.onnx"
            if path.exists():
                print(f"{path}: is there already", flush=True)
                continue
            settings = Training(
                epochs=args.epochs, rate=args.rate, augment="crop-flip", keep="last", seed=seed, threads=args.threads
            )
            train_base(args.network, train, test, path, settings)


def train_base(network: str, train: str, test: str, path: Path, settings: Training) -> None:
    """Train `network` on the images in `train`, judge it on those in `test`, and write it to `path`."""
    images, chosen = open_images(train), NETWORKS[network]
    build = partial(cast("Any", chosen.build), classes=int(images.labels.max()) + 1)
    start = export(drawn(build, settings.seed), chosen.input_shape, dynamic_batch=True)
    state = path.with_suffix(".training")
    columns = (TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, transient=True) as bar:
        task = bar.add_task(path.name, total=1.0)
        trained = finetune(
            start,
            train,
            test,
            settings,
            replace(PREPROCESSING, size=chosen.input_shape[1:]),
            state=str(state),
            progress=lambda stage, share: bar.update(task, description=f"{path.name}: {stage}", completed=share),
        )
    save_model(trained.model, path)
    state.unlink(missing_ok=True)
    spent = sum(epoch.seconds for epoch in trained.course.epochs)
    print(f"{path}: test accuracy {trained.course.accuracy:.2%} after {spent:.0f} s of training", flush=True)


if __name__ == "__main__":
    main()
