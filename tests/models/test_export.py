"""Every network exports to a valid model that computes what torch computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

torch = pytest.importorskip("torch", reason="needs the extra `torch`", exc_type=ImportError)
pytest.importorskip("onnxscript", reason="needs the extra `torch`", exc_type=ImportError)

from models import export, train_digits  # noqa: E402
from models.networks import NETWORKS  # noqa: E402

pytestmark = pytest.mark.slow


# An export takes seconds: norms are folded in one network of each kind, and of two that differ in width one is made.
FORMS = [*((name, False) for name in sorted(NETWORKS) if name != "resnet20-64"), ("densenet", True), ("unet", True)]


@pytest.mark.parametrize(
    ("name", "fold_norms"),
    FORMS,
    ids=lambda value: ("norms kept", "norms folded")[value] if isinstance(value, bool) else value,
)
def test_network_exports_and_computes_the_same(name: str, fold_norms: bool) -> None:
    network = export.build(name)
    shape = NETWORKS[name].input_shape
    model = export.export(network, shape, dynamic_batch=True, fold_norms=fold_norms)
    onnx.checker.check_model(model, full_check=True)
    has_norms = any(isinstance(layer, torch.nn.BatchNorm2d) for layer in network.modules())
    norms = sum(node.op_type == "BatchNormalization" for node in model.graph.node)
    assert (norms > 0) == (has_norms and (not fold_norms or name == "densenet"))  # its norms come before convolutions
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        image = np.random.default_rng(batch).standard_normal((batch, *shape), dtype=np.float32)
        with torch.no_grad():
            expected = network(torch.from_numpy(image)).numpy()
        (scores,) = session.run(None, {"image": image})
        assert scores.shape == expected.shape
        np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


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
