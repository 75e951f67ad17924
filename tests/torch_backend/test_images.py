"""Images that are mirrored and moved, and inputs that are none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from upscale_onnx.torch_backend.images import moved


def _gradient(shape: tuple[int, ...], axis: int) -> NDArray[Any]:
    """Values that tell their place along `axis`."""
    sizes = [1] * len(shape)
    sizes[axis] = shape[axis]
    return np.broadcast_to(np.arange(shape[axis], dtype=np.float32).reshape(sizes), shape).copy()


@pytest.mark.parametrize(("shape", "rows", "columns"), [((64, 3, 32, 32), 2, 3), ((64, 32, 32, 3), 1, 2)])
def test_images_move_by_an_eighth_and_half_are_mirrored(shape: tuple[int, ...], rows: int, columns: int) -> None:
    rng = np.random.default_rng(0)
    x = {"x": _gradient(shape, columns)}
    found = moved(x, rng)["x"]
    assert found.shape == shape
    np.testing.assert_array_equal(x["x"], _gradient(shape, columns), "what is given is left alone")
    middle = np.moveaxis(found, columns, -1)[..., 8:24]
    steps = np.diff(middle, axis=-1)
    mirrored = (steps == -1).all(axis=(1, 2, 3))
    assert (mirrored | (steps == 1).all(axis=(1, 2, 3))).all()
    assert 16 < mirrored.sum() < 48
    shifts = np.where(mirrored, 23 - middle[:, 0, 0, 0], middle[:, 0, 0, 0] - 8)
    assert set(np.abs(shifts)) == set(range(5))
    along_rows = moved({"x": _gradient(shape, rows)}, rng)["x"]
    middle = np.moveaxis(along_rows, rows, -1)[..., 8:24]
    assert (np.diff(middle, axis=-1) == 1).all(), "never upside down"
    assert set(np.abs(middle[:, 0, 0, 0] - 8)) == set(range(5))


@pytest.mark.parametrize(
    "inputs",
    [
        {"x": np.ones((4, 16), np.float32)},
        {"x": np.ones((4, 3, 8, 8), np.float32)},
        {"x": np.arange(4 * 3 * 32 * 32).reshape(4, 3, 32, 32)},
        {"x": np.random.default_rng(0).normal(size=(4, 64, 32, 32)).astype(np.float32)},
        {name: np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype(np.float32) for name in ("left", "right")},
    ],
)
def test_what_is_no_image_or_not_alone_stays(inputs: dict[str, NDArray[Any]]) -> None:
    found = moved(inputs, np.random.default_rng(0))
    assert found.keys() == inputs.keys()
    for name, array in inputs.items():
        np.testing.assert_array_equal(found[name], array)
