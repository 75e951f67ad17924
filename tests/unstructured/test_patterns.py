"""The same masks as torch.nn.utils.prune where it leaves nothing to chance; the right counts where it does."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from upscale_onnx.errors import ArgumentError
from upscale_onnx.unstructured.patterns import (
    count,
    custom_from_mask,
    l1_unstructured,
    ln_structured,
    lowest,
    random_structured,
    random_unstructured,
)

SHAPES = [(7,), (9, 5), (6, 5, 3, 3)]
AMOUNTS = [0.0, 0.1, 0.25, 0.5, 0.95, 1.0, 0, 1, 3]


def _array(shape: tuple[int, ...], seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _torch_mask(array: NDArray[Any], method: str, *amounts: float, **options: Any) -> NDArray[np.bool_]:
    """The mask after pruning by each of `amounts` in turn."""
    torch = pytest.importorskip("torch")
    from torch.nn.utils import prune

    module = torch.nn.Module()
    module.register_parameter("weight", torch.nn.Parameter(torch.from_numpy(array)))
    for amount in amounts:
        getattr(prune, method)(module, "weight", amount=amount, **options)
    return module.weight_mask.numpy() != 0  # type: ignore[no-any-return]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("amount", AMOUNTS)
def test_smallest_entries_as_torch(shape: tuple[int, ...], amount: float) -> None:
    array = _array(shape)
    np.testing.assert_array_equal(l1_unstructured(array, amount), _torch_mask(array, "l1_unstructured", amount))


@pytest.mark.parametrize("amount", [0.0, 0.25, 1.0, 3])
@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("n", [0.5, 1, 2, math.inf, -math.inf, -1])
def test_channels_of_lowest_norm_as_torch(amount: float, dim: int, n: float) -> None:
    array = _array((6, 5, 3, 4), seed=1)
    expected = _torch_mask(array, "ln_structured", amount, n=n, dim=dim)
    np.testing.assert_array_equal(ln_structured(array, amount, n, dim), expected)


@pytest.mark.parametrize("amounts", [(0.3, 0.5), (0.5, 0.5), (2, 0.34), (0.25, 2)])
def test_a_second_pruning_takes_of_what_is_left_as_torch(amounts: tuple[float, float]) -> None:
    array = _array((9, 5, 2))
    before = l1_unstructured(array, amounts[0])
    expected = _torch_mask(array, "l1_unstructured", *amounts)
    np.testing.assert_array_equal(l1_unstructured(array, amounts[1], before), expected)
    assert (~expected).sum() > (~before).sum()
    rows = ln_structured(array, amounts[0], 1, 0)
    expected = _torch_mask(array, "ln_structured", *amounts, n=1, dim=0)
    np.testing.assert_array_equal(ln_structured(array, amounts[1], 1, 0, rows), expected)


def test_entries_of_several_tensors_as_torch() -> None:
    torch = pytest.importorskip("torch")
    from torch.nn.utils import prune

    arrays = [_array(shape, seed) for seed, shape in enumerate(SHAPES)]
    modules = [torch.nn.Module() for _ in arrays]
    for module, array in zip(modules, arrays, strict=True):
        module.register_parameter("weight", torch.nn.Parameter(torch.from_numpy(array)))
    prune.global_unstructured([(m, "weight") for m in modules], prune.L1Unstructured, amount=0.4)
    expected = np.concatenate([module.weight_mask.numpy().ravel() != 0 for module in modules])
    found = l1_unstructured(np.concatenate([array.ravel() for array in arrays]), 0.4)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("amount", [0.0, 0.3, 1.0, 4])
def test_random_masks_prune_as_much_as_torch(amount: float) -> None:
    array = _array((9, 5, 2))
    masks = [random_unstructured(array, amount, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert (~masks[0]).sum() == (~_torch_mask(array, "random_unstructured", amount)).sum()
    np.testing.assert_array_equal(masks[0], masks[1])
    rows = random_structured(array, amount, 0, np.random.default_rng(0))
    assert ((~rows).all(axis=(1, 2)) | rows.all(axis=(1, 2))).all()
    assert (~rows).sum() == (~_torch_mask(array, "random_structured", amount, dim=0)).sum()
    if 0 < masks[0].mean() < 1:
        assert (masks[0] != masks[2]).any()


def test_random_entries_are_drawn_from_what_is_left() -> None:
    array, before = _array((9, 5, 2)), np.ones((9, 5, 2), np.bool_)
    before[:4] = False
    kept = random_unstructured(array, 0.5, np.random.default_rng(0), before)
    assert not kept[:4].any()
    assert kept[4:].sum() == 25
    rows = random_structured(array, 3, 0, np.random.default_rng(0), before)
    assert not rows[:4].any()
    assert rows.all(axis=(1, 2)).sum() == 2
    assert before[4:].all()  # it is not written to


def test_half_shares_are_rounded_as_torch() -> None:
    for size in range(1, 12):
        for share in (0.1, 0.25, 0.5, 0.75):
            array = _array((size,), size)
            assert count(share, size) == (~_torch_mask(array, "l1_unstructured", share)).sum()


def test_equal_entries_go_first_come_first_served_and_nan_last() -> None:
    assert sorted(lowest(np.array([2.0, 1, 1, 0, 1]), 3)) == [1, 2, 3]
    assert sorted(lowest(np.array([math.nan, 5, math.inf, -1]), 2)) == [1, 3]
    assert l1_unstructured(np.array([math.nan, 3, -2], np.float16), 2).tolist() == [True, False, False]
    assert ln_structured(np.array([[math.nan, 0], [9, 9]], np.float32), 1, 2, 0)[:, 0].tolist() == [True, False]


@pytest.mark.parametrize("factor", [1e300, 1e-300])
def test_norms_do_not_leave_the_range_of_doubles(factor: float) -> None:
    array = np.array([[3.0, 4], [5, 1], [1, 1]]) * factor
    assert ln_structured(array, 2, 3, 0)[:, 0].tolist() == [False, True, False]


def test_a_norm_of_order_zero_counts() -> None:
    assert ln_structured(np.array([[9.0, 0, 0], [1, 1, 0]]), 1, 0, 0)[:, 0].tolist() == [False, True]


def test_a_mask_of_ones_and_zeros_is_taken_as_it_is() -> None:
    array, mask = _array((3, 2)), np.array([[1, 0], [0, 1], [1, 1]])
    np.testing.assert_array_equal(custom_from_mask(array, mask), mask != 0)
    before = np.array([[False, True], [True, True], [True, True]])
    assert not custom_from_mask(array, mask, before)[0].any()
    with pytest.raises(ArgumentError, match="shape"):
        custom_from_mask(array, mask[:2])
    with pytest.raises(ArgumentError, match="neither 0 nor 1"):
        custom_from_mask(array, mask * 2)


@pytest.mark.parametrize("amount", [-0.1, 1.1, math.nan, -1, 11])
def test_amounts_out_of_range(amount: float) -> None:
    with pytest.raises(ArgumentError, match="amount is"):
        l1_unstructured(_array((10,)), amount)


def test_channels_need_axes() -> None:
    with pytest.raises(ArgumentError, match="two axes"):
        ln_structured(_array((10,)), 0.5, 1, 0)
    with pytest.raises(ArgumentError, match="axis 2 does not exist"):
        random_structured(_array((4, 5)), 0.5, 2, np.random.default_rng(0))
    with pytest.raises(ArgumentError, match="earlier pruning"):
        l1_unstructured(_array((4, 5)), 0.5, np.ones(4, np.bool_))
