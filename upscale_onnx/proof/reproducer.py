"""Writes regions that differ to files, so that users can examine them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from upscale_onnx.files.arrays import archive_bytes
from upscale_onnx.files.publish import new_files
from upscale_onnx.model.on_disk import in_memory
from upscale_onnx.proof.local import Proof
from upscale_onnx.proof.outcome import RegionOutcome
from upscale_onnx.proof.regions import cut_model

_MOST = 16


def save_reproducers(proof: Proof, outcomes: Mapping[str, RegionOutcome], folder: str | os.PathLike[str]) -> None:
    """Write the regions of up to 16 values that differ, from both models, with inputs that show the difference.

    Each value has a folder of its own in `folder`, with original.onnx, compiled.onnx, and the inputs of both as .npz.

    Raises:
        ArgumentError: the files cannot be written.
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
                model = in_memory(cut_model(network, nodes, [value], proof.types))
                files.write(place / f"{name}.onnx", [model.SerializeToString(deterministic=True)])
                files.write(
                    place / f"{name}.npz", [archive_bytes({key: np.asarray(array) for key, array in inputs.items()})]
                )
