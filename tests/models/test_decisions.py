"""The decisions of the paper's networks, as the analysis alone finds them in their ONNX files.

Source: Venkatesan et al., Out-of-the-box Channel Pruned Networks, 2020, table 1.
"""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="needs the extra `torch`", exc_type=ImportError)
pytest.importorskip("onnxscript", reason="needs the extra `torch`", exc_type=ImportError)

from tests.models.exported import exported
from upscale_onnx.masks.kept import kept_channels

TABLE_1 = {
    "cnet": [32] * 6,
    "resnet20-16": [16] * 5 + [32] * 4 + [128] * 4,
    "resnet20-64": [64] * 5 + [128] * 4 + [512] * 4,
}


@pytest.mark.slow
@pytest.mark.usefixtures("quick_exports")
@pytest.mark.parametrize(
    ("name", "fold_norms"),
    [("cnet", False), ("resnet20-16", False), ("resnet20-64", True)],
)
def test_a_network_has_the_decisions_of_table_1(name: str, fold_norms: bool) -> None:
    decisions = kept_channels(exported(name, fold_norms=fold_norms), "output", "constrained")
    assert [decision.channels for decision in decisions] == TABLE_1[name]
    if name == "cnet":
        assert {len(decision.weights) for decision in decisions} == {1}
        return
    # A stage's outgoing mask is that of its three blocks and of its projection; all others are of one layer.
    assert sorted(len(decision.weights) for decision in decisions) == [1] * 10 + [4] * 3
