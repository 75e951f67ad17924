"""Where models are run."""

from __future__ import annotations

from dataclasses import dataclass

from upscale_onnx.runtime.providers import Device


@dataclass(frozen=True)
class Place:
    """The device, the number of intra-op threads, and the size of a first axis that a model leaves open (None: 1).

    Races and profiles take them as keywords of these names.
    """

    provider: Device = "cpu"
    threads: int = 1
    batch: int | None = None
