"""Layers, atoms and bundles of small graphs, and masks that they get."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.graphs import parse, weight
from tests.pruned import pruned
from upscale_onnx.costs.costs import PresetCosts
from upscale_onnx.errors import ArgumentError
from upscale_onnx.export.export import make
from upscale_onnx.export.planned import prepared_analysis
from upscale_onnx.export.recipes import recipes
from upscale_onnx.masks.aware.network import CostedNetwork, build_network
from upscale_onnx.model import infer_shapes
from upscale_onnx.options import Options
from upscale_onnx.pruning.checks import check_masks
from upscale_onnx.pruning.strategies import knows_target
from upscale_onnx.types import FloatArray

RESIDUAL = """(float[1,3,16,16] x) => (float[1,4,16,16] y) {
    a = Conv<pads=[1,1,1,1]>(x, w0)
    b = Relu(a)
    c = Conv<pads=[1,1,1,1]>(b, w1)
    d = Relu(c)
    e = Conv<pads=[1,1,1,1]>(d, w2)
    f = Add(b, e)
    g = Relu(f)
    y = Conv(g, w3)
}"""


def residual(channels: int = 32) -> onnx.ModelProto:
    return parse(
        RESIDUAL,
        w0=weight(channels, 3, 3, 3),
        w1=weight(channels, channels, 3, 3, seed=1),
        w2=weight(channels, channels, 3, 3, seed=2),
        w3=weight(4, channels, 1, 1, seed=3),
    )


def network_of(model: onnx.ModelProto, **scores: FloatArray) -> CostedNetwork:
    return build_network(
        prepared_analysis(model, infer_shapes(model)),
        {node: (f"{node}_weight", score) for node, score in scores.items()},
    )


def test_an_add_ties_its_operands_into_one_bundle() -> None:
    scores = {name: np.ones(32) for name in ("c", "e", "y")}
    network = network_of(residual(), **scores)
    assert [layer.op.name for layer in network.layers] == ["a", "c", "e", "y"]
    assert sorted(bundle.size for bundle in network.bundles) == [32, 32]
    trunk = next(bundle for bundle in network.bundles if np.isin(bundle, network.layers[0].created).all())
    np.testing.assert_array_equal(np.sort(network.layers[2].created), np.sort(trunk))
    assert not network.locked[trunk].any()
    assert network.locked[network.layers[3].created].all()


def test_what_has_no_mask_of_its_own_needs_all_it_reads() -> None:
    network = network_of(residual(), c=np.ones(32), e=np.ones(32))
    assert network.locked[network.layers[3].atoms].all()
    assert [bundle.size for bundle in network.bundles] == [32]


def test_a_score_that_is_not_known_keeps_its_channel() -> None:
    scores = np.ones(32)
    scores[5] = np.nan
    network = network_of(residual(), c=np.ones(32), e=scores, y=np.ones(32))
    layer = network.layers[2]
    assert network.locked[layer.atoms[5]]
    assert np.isinf(layer.channel_energy[5])
    assert np.isclose(np.delete(layer.channel_energy, 5).sum(), 1.0)


def grouped(groups: int) -> onnx.ModelProto:
    return parse(
        f"""(float[1,3,8,8] x) => (float[1,4,8,8] y) {{
            a = Conv(x, w0)
            b = Conv<group={groups}>(a, w1)
            y = Conv(b, w2)
        }}""",
        w0=weight(32, 3, 1, 1),
        w1=weight(64, 32 // groups, 1, 1, seed=1),
        w2=weight(4, 64, 1, 1, seed=2),
    )


def test_many_groups_of_a_grouped_convolution_go_as_a_whole() -> None:
    network = network_of(grouped(8), b=np.ones(32), y=np.ones(64))
    assert network.layers[1].sizes.tolist() == [4] * 8
    assert network.layers[2].sizes.tolist() == [8] * 8
    assert [bundle.size for bundle in network.bundles] == [8]


def test_few_groups_of_a_grouped_convolution_lose_a_channel_each() -> None:
    network = network_of(grouped(4), b=np.ones(32), y=np.ones(64))
    assert network.layers[1].sizes.tolist() == [4] * 8
    assert network.layers[2].sizes.tolist() == [4] * 16
    assert [bundle.size for bundle in network.bundles] == [8, 16]
    groups = np.repeat(np.arange(4), 8)
    for atom in range(8):
        assert sorted(groups[network.layers[1].channel_atom == atom]) == [0, 1, 2, 3]


def test_channels_of_groups_stay_where_no_mask_drops_them() -> None:
    network = network_of(grouped(4), y=np.ones(64))
    assert network.locked[network.layers[1].atoms].all()
    assert [bundle.size for bundle in network.bundles] == [16]


def test_a_depthwise_convolution_carries() -> None:
    model = parse(
        """(float[1,3,8,8] x) => (float[1,4,8,8] y) {
            a = Conv(x, w0)
            b = Conv<group=16>(a, w1)
            y = Conv(b, w2)
        }""",
        w0=weight(16, 3, 1, 1),
        w1=weight(16, 1, 1, 1, seed=1),
        w2=weight(4, 16, 1, 1, seed=2),
    )
    network = network_of(model, y=np.ones(16))
    np.testing.assert_array_equal(network.layers[1].created, network.layers[0].created)
    assert network.layers[1].atoms.size == 0
    assert [bundle.size for bundle in network.bundles] == [16]


def uneven(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with columns of different norms, in another order in every layer."""
    for seed, tensor in enumerate(model.graph.initializer):
        values = numpy_helper.to_array(tensor)
        factors = np.random.default_rng(seed).uniform(0.5, 2.0, values.shape[1]).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(values * factors[:, None, None], tensor.name))
    return model


def created_and_weights(masked: onnx.ModelProto) -> tuple[list[int], int]:
    """Channels created by each convolution of the compiled model, and the elements of all weights."""
    compiled = make(recipes(16)["keep"], masked, infer_shapes(masked))
    shapes = {tensor.name: tuple(tensor.dims) for tensor in compiled.graph.initializer}
    used = [shapes[node.input[1]] for node in compiled.graph.node if node.op_type == "Conv"]
    return [shape[0] for shape in used], sum(int(np.prod(shape)) for shape in used)


def test_masks_that_know_the_target_compile_to_whole_blocks() -> None:
    model = uneven(residual(64))
    options = Options.of(amount=0.3, race=False, provider="cpu", align=1)  # or blocks would be filled up again
    masked, count = pruned(model, options)
    flat, flat_count = pruned(model, Options.of(amount=0.3, masks="flat"))
    assert count >= flat_count
    created, size = created_and_weights(masked)
    assert all(count % 16 == 0 for count in created[:3])
    assert min(created[:3]) < 64
    assert size <= created_and_weights(flat)[1]
    again, _ = pruned(model, options)
    assert again == masked


def test_a_latency_prunes_no_more_than_it_needs() -> None:
    model = residual(64)
    shares = []
    for latency in (0.9, 0.7, 0.5):
        masked, _ = pruned(model, Options.of(latency=latency, race=False, provider="cpu"))
        arrays = {t.name: numpy_helper.to_array(t) for t in masked.graph.initializer}
        shares.append(sum(float((array == 0).mean()) for array in arrays.values()))
    assert 0 < shares[0] < shares[1] < shares[2]


@pytest.mark.parametrize(
    ("options", "known"),
    [
        (Options.of(amount=0.3), True),
        (Options.of(amount=0.3, export="keep"), True),
        (Options.of(amount=0.3, export="upscale"), False),
        (Options.of(amount=0.3, prefer="size"), False),
        (Options.of(amount=0.3, side="output"), False),
        (Options.of(amount=0.3, method="constrained"), False),
        (Options.of(amount=0.3, masks="flat"), False),
        (Options.of(amount=0.3, masks="aware", export="upscale"), True),
    ],
)
def test_when_masks_know_the_target(options: Options, known: bool) -> None:
    assert knows_target(options) is known


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (Options.of(latency=1.0), "latency is 1.0"),
        (Options.of(latency=0.0), "latency is 0.0"),
        (Options.of(latency=0.7, amount=0.3), "amount and latency both say"),
        (Options.of(latency=0.7, mask="m.json"), "latency and a mask file both say"),
        (Options.of(latency=0.7, side="output"), "leave side, method and masks out"),
        (Options.of(latency=0.7, masks="flat"), "leave side, method and masks out"),
        (Options.of(amount=0.3, masks="aware", method="constrained"), "leave side, method and masks out"),
    ],
)
def test_options_that_do_not_go_together(options: Options, complaint: str) -> None:
    with pytest.raises(ArgumentError, match=complaint):
        check_masks(options)


def test_selections_cost_by_the_bytes_that_they_move() -> None:
    half = parse(
        "(float16[1,8,16,16] x) => (float16[1,4,16,16] y) { y = Conv(x, w) }", w=weight(4, 8, 1, 1).astype(np.float16)
    )
    whole = parse("(float[1,8,16,16] x) => (float[1,4,16,16] y) { y = Conv(x, w) }", w=weight(4, 8, 1, 1))
    costs = PresetCosts(launch_ms=0.0)
    two, four = (network_of(model).layers[0].selection_ms(costs, 4) for model in (half, whole))
    assert four == pytest.approx(2 * two)
