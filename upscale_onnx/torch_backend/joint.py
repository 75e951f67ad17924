"""Fits the weights of all layers of a pruned network together, by gradients, to values of the unpruned network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import torch

from upscale_onnx.torch_backend.devices import CPU, computing_on
from upscale_onnx.torch_backend.images import moved
from upscale_onnx.torch_backend.network import TorchNetwork
from upscale_onnx.torch_backend.threads import torch_threads
from upscale_onnx.torch_backend.values import Tensor, Value, array, from_array
from upscale_onnx.types import Array

# The peak learning rate of one cycle of Adam, relative to the size of the weights of the same output and input.
_STEP = 3e-3
_WARM_UP = 0.1
_LEAST = 1e-12


@dataclass(frozen=True)
class Compared:
    """A value that both networks compute. low, high: the bounds to which an activation behind it clips."""

    value: str
    low: float = -np.inf
    high: float = np.inf


class JointFit:
    """The distance of `pruned` from `unpruned`, and a fit of the weights of `pruned` that reduces it.

    The distance is the mean over the values in `compared` of the squared error behind the activation, relative to the
    variation of the unpruned value.

    rounded: the numbers that weights are stored as, by name and values; None where they are stored as they are.
    device: where all is computed.
    """

    def __init__(
        self,
        unpruned: onnx.ModelProto,
        pruned: onnx.ModelProto,
        compared: Sequence[Compared],
        rounded: Callable[[str, Array], Array] | None = None,
        device: torch.device = CPU,
    ) -> None:
        self._device = device
        with computing_on(device):
            self._old, self._new = TorchNetwork(unpruned), TorchNetwork(pruned)
        self._compared = {each.value: each for each in compared}
        self._rounded = rounded

    def distance(self, pieces: Sequence[Mapping[str, Array]], weights: Mapping[str, Array]) -> float:
        """The mean distance over `pieces` (inputs by name), with `weights`, by name, in place of those of `pruned`."""
        with torch.no_grad(), computing_on(self._device):
            constants = {name: from_array(values) for name, values in weights.items()}
            return float(np.mean([float(self._error(piece, constants)) for piece in pieces]))

    def fitted(
        self,
        start: Mapping[str, Array],
        batches: Callable[[], Iterator[Sequence[Mapping[str, Array]]]],
        steps: int,
        *,
        threads: int = 1,
        progress: Callable[[float], None] | None = None,
    ) -> dict[str, Array]:
        """The weights by name after `steps` steps of Adam that begin at `start`. Zeros stay zero.

        batches: makes an endless iterator of batches, one per step. A batch is a sequence of pieces that fit in memory.
        progress: is called with the share, 0 to 1, of the steps that are done.

        Images are mirrored and shifted at random, since the unpruned network gives the goal for these, too. The steps
        of a weight are relative to the weights of the same output and of the same input, so that the scale of channels
        does not matter.

        Source: Li et al., "BRECQ", ICLR 2021, section 3.1, on fitting to inner values of the network without labels,
        by gradients; here of all layers at once. Kingma and Ba, "Adam", ICLR 2015, algorithm 1.
        """
        rng = np.random.default_rng(0)
        with torch_threads(threads), computing_on(self._device):
            scales = {name: from_array(_scale(values)) for name, values in start.items()}
            free = {name: (from_array(values) / scales[name]).requires_grad_() for name, values in start.items()}
            alive = {name: from_array(values != 0) for name, values in start.items() if values.ndim > 1}
            optimizer = torch.optim.Adam(free.values(), lr=_STEP)
            cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=_STEP, total_steps=steps, pct_start=_WARM_UP)
            for step, pieces in zip(range(steps), batches(), strict=False):
                optimizer.zero_grad()
                for piece in pieces:
                    weights = {name: values * scales[name] for name, values in free.items()}
                    torch.autograd.backward(self._error(moved(piece, rng), weights) / len(pieces))
                for name, kept in alive.items():
                    gradient = free[name].grad
                    if gradient is not None:
                        gradient *= kept
                optimizer.step()
                cycle.step()
                if progress is not None:
                    progress((step + 1) / steps)
            return {name: array(values * scales[name]) for name, values in free.items()}

    def _error(self, inputs: Mapping[str, Array], weights: Mapping[str, Tensor]) -> Tensor:
        with torch.no_grad():
            wanted = self._values(self._old, inputs, {})
        made = self._values(self._new, inputs, {name: self._stored(name, values) for name, values in weights.items()})
        errors = []
        for name, each in self._compared.items():
            for before, after in zip(wanted.get(name, []), made.get(name, []), strict=False):
                goal = before.clamp(each.low, each.high)
                variation = (goal - goal.mean()).square().sum()
                difference = after.clamp(each.low, each.high) - goal
                errors.append(difference.square().sum() / (variation + _LEAST))
        # Without errors, no body is run in which values are compared.
        return torch.stack(errors).mean() if errors else torch.zeros((), requires_grad=True)

    def _stored(self, name: str, values: Tensor) -> Tensor:
        """`values` rounded as they are stored, with the gradient of the identity."""
        if self._rounded is None:
            return values
        nearest = from_array(self._rounded(name, array(values))).to(values.dtype)
        return values + (nearest - values).detach()

    def _values(
        self, network: TorchNetwork, inputs: Mapping[str, Array], weights: Mapping[str, Tensor]
    ) -> dict[str, list[Tensor]]:
        """What each value holds; in a body, what it holds in each round, and nothing where the body is not run."""
        found: dict[str, list[Tensor]] = {}

        def see(name: str, value: Value, reader: str) -> Value:
            if not reader and name in self._compared and isinstance(value, torch.Tensor):
                found.setdefault(name, []).append(value)
            return value

        network.run(inputs, see, weights)
        return found


def _scale(weight: Array) -> Array:
    """The usual size of each element of `weight`, in an array that broadcasts to it.

    It is the product of the root mean squares of the element's output and of its input, relative to that of all
    elements.
    """
    squares = np.square(weight.astype(np.float64))
    everything = squares.mean() + _LEAST
    if weight.ndim < 2:
        return np.full(weight.shape, np.sqrt(everything), np.float32)
    outputs = squares.mean(axis=tuple(range(1, weight.ndim)), keepdims=True)
    inputs = squares.mean(axis=(0, *range(2, weight.ndim)), keepdims=True)
    return np.asarray(np.sqrt(outputs * inputs / everything) + _LEAST, np.float32)
