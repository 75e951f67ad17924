"""Whether onnxruntime computes of a trained model what PyTorch does."""

from __future__ import annotations

import numpy as np
import onnx

from upscale_onnx.errors import InternalError
from upscale_onnx.runtime.sessions import make_session, run
from upscale_onnx.torch_backend.network import TorchNetwork
from upscale_onnx.torch_backend.threads import torch_threads
from upscale_onnx.torch_backend.values import array
from upscale_onnx.training.images import TrainingData, only_input

# How far scores may lie apart, relative to the largest, by the size of a number: of half precision, and of others.
_TOLERANCE = {2: 3e-2, 4: 1e-3, 8: 1e-3}


def check_in_onnxruntime(model: onnx.ModelProto, data: TrainingData, threads: int) -> None:
    """Compare the scores of `model` in onnxruntime and in PyTorch on the first batch of `data`.

    Raises: InternalError if they differ by more than rounding.
    """
    spec, output = only_input(model), model.graph.output[0].name
    inputs = {spec.name: data.first().contiguous().numpy().astype(spec.dtype or np.float32)}
    found = np.asarray(run(make_session(model, provider="cpu", threads=threads), inputs, [output])[0])
    with torch_threads(threads):
        wanted = array(TorchNetwork(model).run(inputs)[output])
    scale = max(float(np.abs(wanted).max(initial=0)), 1e-3)
    apart = float(np.abs(found.astype(np.float64) - wanted).max(initial=0))
    if not apart <= _TOLERANCE[found.dtype.itemsize] * scale:
        raise InternalError(
            f"the trained model computes something else in onnxruntime than in PyTorch: scores differ by {apart:.3g}, "
            f"the largest is {scale:.3g}"
        )
