"""Training on colour images: what the networks are shown, and that the files hold what was trained."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch", reason="needs the extra `torch`", exc_type=ImportError)
pytest.importorskip("onnxscript", reason="needs the extra `torch`", exc_type=ImportError)

from models import train_cifar  # noqa: E402
from models.networks import NormalisedCNet  # noqa: E402
from models.networks.densenet import Layer  # noqa: E402
from upscale_onnx.measures.accuracy import evaluate  # noqa: E402


def images_of(count: int, size: int, seed: int) -> train_cifar.Images:
    pixels = torch.randint(256, (count, 3, size, size), generator=torch.Generator().manual_seed(seed))
    return train_cifar.Images(pixels.to(torch.uint8), torch.arange(count))


def write_colours(path: Path, count: int, seed: int, size: int = 16) -> Path:
    """Noisy images of `size` by `size` in which only the strongest colour tells the class, sorted by class."""
    rng = np.random.default_rng(seed)
    y = np.sort(np.arange(count) % 3)
    x = rng.integers(0, 128, (count, size, size, 3), dtype=np.uint8)
    x[np.arange(count), :, :, y] += 64
    np.savez(path, x=x, y=y)
    return path


def test_batches_are_windows_of_images_never_shown_twice() -> None:
    size, count = 6, 2 * train_cifar.BATCH + 5
    images = images_of(count, size + 2 * train_cifar.MARGIN, seed=0)
    seen: list[int] = []
    places = set()
    for x, labels in train_cifar.batches(images, torch.Generator().manual_seed(0)):
        assert x.shape == (train_cifar.BATCH, 3, size, size)
        for image, label in zip(x, labels.tolist(), strict=True):
            windows = images.padded[label].unfold(1, size, 1).unfold(2, size, 1).permute(1, 2, 0, 3, 4).flatten(0, 1)
            both = train_cifar.normalise(torch.cat([windows, windows.flip(3)]))
            (place,) = (both == image).flatten(1).all(dim=1).nonzero().flatten().tolist()
            places.add(place)
        seen += labels.tolist()
    assert len(seen) == len(set(seen)) == 2 * train_cifar.BATCH
    assert len(places) > 100  # of 9 x 9 windows, mirrored and not
    assert seen != sorted(seen)


def test_normalises_as_evaluate_does() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3), dtype=np.uint8)
    ours = train_cifar.normalise(torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy()))
    np.testing.assert_allclose(ours.numpy(), train_cifar.PREPROCESSING.apply(pixels), rtol=0, atol=1e-6)


@pytest.mark.usefixtures("quick_exports")
def test_file_has_learnt_and_the_seed_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = train_cifar.Recipe(lambda classes: NormalisedCNet((16, "pool", 32, "pool", 32), classes=classes), 2, 0.2)
    monkeypatch.setattr(train_cifar, "BATCH", 32)
    monkeypatch.setattr(train_cifar, "RECIPES", {"cnet": small})
    train, test = write_colours(tmp_path / "a.npz", 192, seed=0), write_colours(tmp_path / "b.npz", 60, seed=1)
    for folder in ("first", "second"):
        words = [str(train), str(test), "--out", str(tmp_path / folder), "--networks", "cnet", "--epochs", "2"]
        train_cifar.main([*words, "--seed", "3", "--bfloat16"])
    path = tmp_path / "first" / "cifar10_cnet.onnx"
    assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes()
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert not model.graph.input[0].type.tensor_type.shape.dim[0].HasField("dim_value")
    assert {entry.key for entry in model.metadata_props} == {"mean", "std", "pixels"}
    printed = re.findall(r"test accuracy ([\d.]+)%", capsys.readouterr().out)
    top1 = evaluate(model, test, train_cifar.PREPROCESSING).top1
    assert printed == [f"{top1:.2%}"[:-1]] * 2
    assert top1 > 0.6  # a third by chance


def test_densenet_forks_at_every_layer_and_halves_the_image_at_once() -> None:
    network = train_cifar.RECIPES["densenet"].build(7)
    joins = [layer for layer in network.features if isinstance(layer, Layer)]
    assert len(joins) == 12
    image = torch.zeros(1, 3, 32, 32)
    assert network.features[0](image).shape[2:] == (16, 16)
    assert network.eval()(image).shape == (1, 7)


def test_fewer_images_than_a_batch_are_refused(tmp_path: Path) -> None:
    images = images_of(train_cifar.BATCH - 1, 16, seed=0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3, 3))
    with pytest.raises(ValueError, match="127 training images are less than one batch of 128"):
        train_cifar.train(network, images, train_cifar.RECIPES["cnet"], seed=0, bfloat16=False)
    with pytest.raises(SystemExit):
        train_cifar.main(["a.npz", "b.npz", "--out", str(tmp_path), "--networks", "vgg"])
