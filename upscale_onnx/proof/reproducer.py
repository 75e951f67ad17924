"""Regions that were not shown equal, as files with which anyone can look into them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from upscale_onnx.files.arrays import archive_bytes
from upscale_onnx.files.publish import new_files
from upscale_onnx.proof.local import Outcome, Proof
from upscale_onnx.proof.regions import cut_model

_MOST = 16


def save_reproducers(proof: Proof, outcomes: Mapping[str, Outcome], folder: str | os.PathLike[str]) -> None:
    """Write, for each value that was made otherwise, its region of both models and the inputs that showed it.

    Each has a folder of its own in `folder`: original.onnx, compiled.onnx, and their inputs as .npz beside them.

    Raises:
        ArgumentError: they cannot be written.
    """
    for number, (value, outcome) in enumerate(list(outcomes.items())[:_MOST]):
        place = Path(folder) / f"{number:02d}_{re.sub('[^A-Za-z0-9_.-]', '_', value)[-60:]}"
        place.mkdir(parents=True, exist_ok=True)
        region = outcome.region
        fed, held = proof.drawn([region], outcome.draw)
        with new_files() as files:
            for name, network, nodes, inputs in (
                ("original", proof.original, region.original, fed),
                ("compiled", proof.compiled, region.compiled, held),
            ):
                model = cut_model(network, nodes, [value], proof.types)
                files.write(place / f"{name}.onnx", [model.SerializeToString(deterministic=True)])
                files.write(
                    place / f"{name}.npz", [archive_bytes({key: np.asarray(array) for key, array in inputs.items()})]
                )
