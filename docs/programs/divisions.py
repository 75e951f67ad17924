"""Divide labelled images into halves at random, so that each half can judge what the other one calibrates.

    python docs/programs/divisions.py A.npz B.npz --also MORE.npz --seed 1 --out FOLDER

Images of A and B together are drawn in an order that the seed decides. FOLDER gets `first_train.npz`, the first half
and all of MORE, with `first_test.npz`, the second half, and the other way round `second_train.npz` and
`second_test.npz`: images `x`, of shape (N, H, W, C), and labels `y`. All images are of one size.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from upscale_onnx.measures.labelled_images import open_images


def main() -> None:
    """Write the four files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="+", metavar="DATA", help="images to divide")
    also = "images that calibrate in both divisions, and never judge"
    parser.add_argument("--also", nargs="+", default=[], metavar="DATA", help=also)
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    args = parser.parse_args()
    divided, more = read(args.images), read(args.also)
    order = np.random.default_rng(args.seed).permutation(len(divided["y"]))
    first, second = ({name: values[half] for name, values in divided.items()} for half in np.array_split(order, 2))
    args.out.mkdir(parents=True, exist_ok=True)
    for name, train, test in (("first", first, second), ("second", second, first)):
        together = {key: np.concatenate([train[key], *([more[key]] if more else [])]) for key in train}
        np.savez(args.out / f"{name}_train.npz", **together)
        np.savez(args.out / f"{name}_test.npz", **test)


def read(sources: Sequence[str]) -> dict[str, np.ndarray]:
    """The images and labels in all sources, in order; nothing where there are none."""
    opened = [open_images(source) for source in sources]
    if not opened:
        return {}
    images = [one.read(0, len(one.labels)) for one in opened]
    return {"x": np.concatenate(images), "y": np.concatenate([one.labels for one in opened])}


if __name__ == "__main__":
    main()
