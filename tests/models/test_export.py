"""Every network exports to a valid model that computes what torch computes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import onnx
import pytest

torch = pytest.importorskip("torch", reason="needs the extra `torch`", exc_type=ImportError)
pytest.importorskip("onnxscript", reason="needs the extra `torch`", exc_type=ImportError)

from models import export, train_digits  # noqa: E402
from models.networks import NETWORKS, DenseNet, Inception, MobileNet, ResNet, UNet, ViT  # noqa: E402
from tests.models.exported import exported  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_exports")]

# Those are exported where their decisions are tested.
ELSEWHERE = ("cnet", "resnet20-16", "resnet20-64")
# One or two of each kind of block show what more of them do: an export takes as long as the network is deep.
SHALLOW: dict[str, Callable[[], torch.nn.Module]] = {
    "densenet": partial(DenseNet, depth=16),
    "inception": partial(Inception, (16, "pool", 32)),
    "mobilenet": partial(MobileNet, ((1, 16, 1, 1), (6, 24, 2, 2))),
    "resnet20-option-a": partial(ResNet, blocks=2, widths=(16, 32)),
    "unet": partial(UNet, (16, 32)),
    "vit": partial(ViT, depth=1),
}


@pytest.mark.parametrize("name", sorted(NETWORKS.keys() - set(ELSEWHERE)))
def test_network_exports_and_computes_the_same(name: str) -> None:
    exported(name, make=SHALLOW.get(name))


@pytest.mark.parametrize("name", SHALLOW)
def test_a_network_of_full_depth_computes_scores(name: str) -> None:
    network = export.drawn(NETWORKS[name].build)
    with torch.no_grad():
        scores = network(torch.zeros(2, *NETWORKS[name].input_shape))
    assert scores.shape[0] == 2
    assert scores.isfinite().all()


# One network whose norms stand before convolutions, and one whose norms stand behind them; a layer a block will do.
@pytest.mark.parametrize(
    ("name", "make"), [("densenet", partial(DenseNet, depth=10)), ("unet", SHALLOW["unet"])], ids=["densenet", "unet"]
)
def test_norms_are_folded(name: str, make: Callable[[], torch.nn.Module]) -> None:
    exported(name, fold_norms=True, make=make)


def test_same_seed_same_file_and_nothing_of_this_machine(tmp_path: Path) -> None:
    paths = [tmp_path / "a.onnx", tmp_path / "b.onnx", tmp_path / "c.onnx"]
    for path, seed in zip(paths, ["1", "1", "2"], strict=True):
        export.main(["cnet", str(path), "--seed", seed, "--opset", "20"])
    first, second, third = (path.read_bytes() for path in paths)
    assert first == second != third
    assert b"cnet.py" not in first  # torch adds stack traces
    model = onnx.load_from_string(first)
    assert not any(node.metadata_props for node in model.graph.node)
    assert [entry.version for entry in model.opset_import] == [20]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1


def test_opset_that_torch_cannot_write_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        export.main(["cnet", str(tmp_path / "out.onnx"), "--opset", "13"])
    assert "torch exports opset 18 and newer" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_masks_take_the_smallest_norms_and_survive_training() -> None:
    data = train_digits.digits()
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 5, 3), torch.nn.Flatten(), torch.nn.Linear(180, 10))
    with torch.no_grad():
        network[2].weight[:, 7].fill_(1e-6)
    masks = train_digits.least_weighed(network, amount=0.5)
    assert set(masks) == {network[2]}  # the layer that reads the image keeps its only channel
    assert masks[network[2]].sum() == 90
    assert not masks[network[2]][0, 7]
    train_digits.train(network, data, epochs=1, rate=1e-2, masks=masks)
    dropped = ~masks[network[2]].expand(10, -1)
    assert torch.count_nonzero(network[2].weight[dropped]) == 0
    assert torch.count_nonzero(network[2].weight) > 0
