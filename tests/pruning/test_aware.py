"""Masks that know the target, where outputs are seen to suffer from them."""

from __future__ import annotations

import onnx
from onnx import numpy_helper

from tests.pruned import masked_by, pruned, task
from tests.pruning.test_choosing import network
from upscale_onnx.options import Options

# With align=1 there is no block to fill.
AWARE = Options.of(amount=0.4, masks="aware", provider="cpu", race=False, align=1)
FLAT = Options.of(amount=0.4, masks="flat", provider="cpu", race=False)


def kept(model: onnx.ModelProto) -> dict[str, int]:
    """Input channels that each weight of rank 4 still reads."""
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return {name: int(array.any((0, 2, 3)).sum()) for name, array in arrays.items() if array.ndim == 4}


def off_from_flat(masked: onnx.ModelProto) -> float:
    """A judge to whom flat masks are best."""
    flat = kept(pruned(network(), FLAT)[0])
    return float(sum(abs(count - flat[name]) for name, count in kept(masked).items()))


def test_nothing_said_against_them_they_are_taken() -> None:
    model = network()
    unjudged = pruned(model, AWARE)[0]
    assert kept(unjudged) != kept(pruned(model, FLAT)[0])
    assert masked_by(task(model, AWARE, lambda masked: 0.0))[0] == unjudged


def test_masks_that_hurt_more_than_flat_ones_give_way_to_flat_ones() -> None:
    model = network()
    masked, count = masked_by(task(model, AWARE, off_from_flat))
    assert masked == pruned(model, FLAT)[0]
    assert count == pruned(model, FLAT)[1]


def test_the_fastest_that_hurt_no_more_than_flat_ones_win() -> None:
    model, seen = network(), list[dict[str, int]]()

    def judge(masked: onnx.ModelProto) -> float:
        """Refuses the first masks after the flat ones."""
        seen.append(kept(masked))
        return 1.0 if len(seen) == 2 else 0.0

    masked, _ = masked_by(task(model, AWARE, judge))
    assert len(seen) == 3
    assert kept(masked) == seen[2]
    assert seen[1] == kept(pruned(model, AWARE)[0])
