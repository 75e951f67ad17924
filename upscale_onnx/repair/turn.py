"""Changes the basis of the values between linear layers, so that their channels can be pruned at little cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import numpy_helper

from upscale_onnx.masks.targets import constant_tensors
from upscale_onnx.repair.axes import cheap_axes
from upscale_onnx.repair.linear import LinearLayer
from upscale_onnx.repair.repair import store
from upscale_onnx.repair.streams import Stream, linear_streams
from upscale_onnx.runtime.activations import value_batches
from upscale_onnx.types import Array


def turned(
    model: onnx.ModelProto, batches: Sequence[Mapping[str, Array]], amount: float, threads: int = 1
) -> onnx.ModelProto:
    """A copy of `model` that computes the same, with another basis of channels in each linear stream.

    The basis is chosen so that every reader of a stream loses little, on `batches`, without the share `amount` (0 to 1)
    of the channels. A model without linear streams is returned as it is.
    """
    streams = linear_streams(model)
    if not streams:
        return model
    covariances = _covariances(model, [r for stream in streams for r in stream.readers], batches, threads)
    found = onnx.ModelProto()
    found.CopyFrom(model)
    tensors = constant_tensors(found)
    for stream in streams:
        basis, inverse = _axes(stream, covariances, tensors, int(amount * stream.channels))
        for layer in stream.makers:
            _multiply(tensors[layer.weight], inverse, layer.output_axis)
            if layer.bias is not None:
                _multiply(tensors[layer.bias], inverse, -1)
        for layer in stream.readers:
            _multiply(tensors[layer.weight], basis.T, _input_axis(layer))
    return found


def _axes(
    stream: Stream, covariances: Mapping[str, Array], tensors: Mapping[str, onnx.TensorProto], count: int
) -> tuple[Array, Array]:
    metrics = []
    for layer in stream.readers:
        weight = np.moveaxis(numpy_helper.to_array(tensors[layer.weight]), _input_axis(layer), 0)
        rows = weight.reshape(stream.channels, -1).astype(np.float64)
        metric = rows @ rows.T
        metrics.append(metric / max(float((metric * covariances[layer.source]).sum()), 1e-30))
    seen = [covariances[layer.source] for layer in stream.readers]
    return cheap_axes(seen, metrics, [count] * len(metrics))


def _covariances(
    model: onnx.ModelProto, readers: Sequence[LinearLayer], batches: Sequence[Mapping[str, Array]], threads: int
) -> dict[str, Array]:
    """For each value that one of `readers` reads, by name, the covariance of its channels, (C, C)."""
    places = {layer.source: layer for layer in readers}
    sums = {name: np.zeros((layer.channels + 1,) * 2) for name, layer in places.items()}
    for values in value_batches(model, list(places), batches, threads):
        for name, layer in places.items():
            x = values[name] if layer.window is None else np.moveaxis(values[name], 1, -1)
            rows = np.ones((x.size // layer.channels, layer.channels + 1))
            rows[:, :-1] = x.reshape(-1, layer.channels)
            sums[name] += rows.T @ rows
    found = {}
    for name, total in sums.items():
        mean = total[:-1, -1] / total[-1, -1]
        found[name] = total[:-1, :-1] / total[-1, -1] - np.outer(mean, mean)
    return found


def _input_axis(layer: LinearLayer) -> int:
    return 1 if layer.window is not None else 1 - layer.output_axis


def _multiply(tensor: onnx.TensorProto, matrix: Array, axis: int) -> None:
    values = numpy_helper.to_array(tensor)
    mixed = np.moveaxis(np.tensordot(matrix, values.astype(np.float64), axes=(1, axis)), 0, axis)
    store(tensor, mixed)
