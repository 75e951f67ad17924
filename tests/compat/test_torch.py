"""torch modules by the reference's interface: masked in place, exported behind the scenes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch", reason="needs the extra `torch`", exc_type=ImportError)
pytest.importorskip("onnxscript", reason="needs the extra `torch`", exc_type=ImportError)

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from models import export  # noqa: E402
from models.networks import DenseNet, ViT  # noqa: E402
from tests.compat.networks import assert_same, columns, infer  # noqa: E402
from upscale_onnx import MaskingManager, PruningManager  # noqa: E402
from upscale_onnx.compat import LAMP  # noqa: E402
from upscale_onnx.compat.arrays import to_array  # noqa: E402
from upscale_onnx.errors import ArgumentError, ModelError  # noqa: E402

pytestmark = pytest.mark.usefixtures("quick_exports")


class Tiny(nn.Module):
    """Two convolutions with a normalisation between them, and a linear layer over positions."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.second = nn.Conv2d(3, 12, 3), nn.BatchNorm2d(12), nn.Conv2d(12, 16, 1)
        self.mix = nn.Linear(16, 9)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) to (N, positions, 9)."""
        y = self.second(torch.relu(self.norm(self.first(x))))
        return self.mix(y.flatten(2).transpose(1, 2))


def input_type(model: onnx.ModelProto) -> np.dtype:  # type: ignore[type-arg]
    """The type of the first input."""
    return onnx.helper.tensor_dtype_to_np_dtype(model.graph.input[0].type.tensor_type.elem_type)


def output(module: nn.Module, x: torch.Tensor) -> np.ndarray:  # type: ignore[type-arg]
    """What the module infers."""
    with torch.no_grad():
        return np.asarray(module.eval()(x).numpy())


def test_a_module_is_masked_in_place_and_pruned_to_the_same() -> None:
    torch.manual_seed(0)
    net, x = Tiny().train(), torch.randn(2, 3, 6, 6)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    MaskingManager(net, inputs=[x]).importance(LAMP()).mask(0.25)
    assert net.training
    assert net.norm.training
    changed = {name for name, tensor in net.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"second.weight", "mix.weight"}  # the second lies transposed in the ONNX model
    assert int((net.second.weight == 0).all(dim=(0, 2, 3)).sum()) == 3
    assert int((net.mix.weight == 0).all(dim=0).sum()) == 4
    manager = PruningManager(net).compute([x])
    y, mock = output(net, x), manager.get_mock_model()
    result = manager.prune(baseline=True)
    assert_same([y], infer(mock, x.numpy()))
    assert_same([y], infer(result.model, x.numpy()))
    assert result.report.after.parameters < result.report.before.parameters
    pairs = [("mix.weight", 1), ("second.weight", 4)]
    single = PruningManager(net).compute([x], pruned_inputs=pairs).get_mock_model()
    with torch.no_grad():
        net.mix.weight[:, 1] = 0
        net.second.weight[:, 4] = 0
    assert 4 in columns(single, "second.weight")
    assert_same([output(net, x)], infer(single, x.numpy()))


@pytest.mark.parametrize(
    ("dtype", "input_dtype"),
    [
        (torch.float64, torch.float64),
        (torch.float64, torch.float32),
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.bfloat16),
    ],
)
def test_modules_of_other_precisions(dtype: torch.dtype, input_dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    net, x = Tiny().to(dtype), torch.randn(2, 3, 6, 6, dtype=input_dtype)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    MaskingManager(net, inputs=[x]).importance(LAMP()).mask(0.25)
    for name, weight in net.state_dict().items():
        left = weight != 0
        assert weight.dtype == before[name].dtype
        assert torch.equal(weight[left], before[name][left]), "what is not masked keeps its precision"
    assert int((net.second.weight == 0).all(dim=(0, 2, 3)).sum()) == 3
    manager = PruningManager(net).compute([x])
    mock = manager.get_mock_model()
    y = output(net.double(), x.double())
    bound = 1e-5 if dtype == torch.float64 else 0.05
    np.testing.assert_allclose(infer(mock, to_array(x).astype(input_type(mock)))[0], y, atol=bound * np.abs(y).max())
    result = manager.prune(export="upscale")
    assert result.report.after.parameters < result.report.before.parameters


def test_a_double_module_needs_no_inputs() -> None:
    net = Tiny().double()
    MaskingManager(net).importance(LAMP()).mask(0.25)
    assert int((net.second.weight == 0).all(dim=(0, 2, 3)).sum()) == 3


class Packed(nn.Module):
    """Two linear layers that are one parameter, between layers of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.after = nn.Linear(16, 16), nn.Linear(16, 8)
        self.packed = nn.Parameter(torch.randn(32, 16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, positions, 16) to (N, positions, 8)."""
        y = self.before(x)
        return self.after(torch.relu(functional.linear(y, self.packed[:16])) + functional.linear(y, self.packed[16:]))


def test_what_a_module_packs_into_one_parameter_is_left_alone_in_it() -> None:
    torch.manual_seed(0)
    net, x = Packed(), torch.randn(1, 6, 16)
    manager = MaskingManager(net, inputs=[x]).importance().mask(0.25)
    assert sum(layer.parameter is not None for s in manager.segments() for layer in s.layers) == 3
    assert not (net.packed == 0).any()
    assert int((net.before.weight == 0).all(dim=0).sum()) == 4  # square, and transposed in the ONNX model
    assert int((net.after.weight == 0).all(dim=0).sum()) == 4
    assert_same([output(net, x)], infer(manager.model, x.numpy()))


def test_the_output_side_of_layers_with_and_without_bias() -> None:
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Conv2d(3, 16, 3, bias=False), nn.ReLU(), nn.Conv2d(16, 12, 1)), torch.randn(1, 3, 6, 6)
    net.append(nn.Conv2d(12, 4, 1))
    manager = MaskingManager(net, side="output", inputs=[x]).importance().mask(0.25)
    assert [int((net[i].weight == 0).all(dim=(1, 2, 3)).sum()) for i in (0, 2, 3)] == [4, 3, 0]
    assert int((net[2].bias == 0).sum()) == 3
    assert_same([output(net, x)], infer(manager.model, x.numpy()))


def test_layers_write_to_the_module() -> None:
    net, x = Tiny(), torch.randn(1, 3, 6, 6)
    segments = MaskingManager(net, inputs=[x]).segments()
    layer = next(found for s in segments for found in s.layers if found.parameter == "second.weight")
    weight = layer.weight.copy()
    weight[:, 3] = 0
    layer.weight = weight
    assert not net.second.weight[:, 3].any()


@pytest.mark.slow
@pytest.mark.parametrize(
    "build",
    [partial(DenseNet, depth=16), partial(ViT, depth=2)],  # two layers a block, and two blocks
    ids=["densenet", "vit"],
)
def test_networks(build: Callable[[], nn.Module]) -> None:
    net, x = export.drawn(build), torch.randn(1, 3, 32, 32)
    before = output(net, x)
    masked = MaskingManager(net, inputs=[x]).importance(LAMP()).mask(0.3).model
    assert_same([output(net, x)], infer(masked, x.numpy()))
    assert np.abs(output(net, x) - before).max() > 1e-3
    manager = PruningManager(net).compute([x])
    mock, result = manager.get_mock_model(), manager.prune(export="upscale")
    assert_same([output(net, x)], infer(result.model, x.numpy()))
    assert result.report.after.macs < result.report.before.macs
    assert_same([output(net, x)], infer(mock, x.numpy()))


def test_what_cannot_be_exported() -> None:
    with pytest.raises(ModelError, match="torch cannot export Tiny on these inputs"):
        MaskingManager(Tiny(), inputs=[torch.zeros(1, 7, 6, 6)])
    with pytest.raises(ArgumentError, match="compute"):
        PruningManager(Tiny()).compute()
