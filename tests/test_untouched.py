"""The model that a caller hands over is only read, whatever is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import upscale_onnx
from tests.graphs import parse, weight

ASKED: dict[str, dict[str, Any]] = {
    **{f"export {name}": {"export": name} for name in ("planned", "upscale", "gather", "keep")},
    **{f"align {count}": {"export": "planned", "align": count} for count in (1, 4)},
    "size": {"prefer": "size"},
    "target": {"target": "cuda", "export": "planned"},
    **{f"side {side}": {"amount": 0.4, "side": side} for side in ("input", "output")},
    **{f"method {name}": {"amount": 0.4, "method": name} for name in ("unconstrained", "constrained")},
    **{f"masks {name}": {"amount": 0.4, "masks": name} for name in ("flat", "filled", "aware")},
    **{f"scope {name}": {"amount": 0.4, "scope": name} for name in ("global", "isomorphic")},
    **{f"criterion {name}": {"amount": 0.4, "criterion": name} for name in ("random", "fpgm", "lamp")},
    **{f"calibrated {name}": {"amount": 0.4, "criterion": name, "calibration": ""} for name in ("apoz", "obs")},
    **{f"repair {name}": {"amount": 0.4, "repair": name, "calibration": ""} for name in ("stats", "lsq")},
    "rounds": {"amount": 0.4, "steps": 2, "schedule": "linear"},
    "params": {"params": 0.8},
    "macs": {"macs": 0.8},
    "amounts": {"amounts": (("c*", 0.5),), "ignore": ("y",), "min_channels": 2, "mask_align": 2},
    "profile": {"amount": 0.3, "profile": "increasing:0.2"},
    "mask": {"mask": ""},
    "unchecked": {"verify": False},
}


def network() -> onnx.ModelProto:
    """A residual block with a shared bias, weights in half precision and dead channels; with nodes out of order."""
    model = parse(
        """(float[n,3,6,6] x) => (float[n,4,6,6] y) {
            w = Cast<to=1>(half)
            a = Conv(x, w, bias)
            r = Relu(a)
            c1 = Conv(r, u, bias)
            s = Add(c1, r)
            q = Relu(s)
            c2 = Conv(q, v, bias)
            t = Relu(c2)
            y = Conv(t, last)
        }""",
        half=weight(16, 3, 1, 1, rows=range(4)).astype(np.float16),
        u=weight(16, 16, 1, 1, rows=range(6), columns=range(3)),
        v=weight(16, 16, 1, 1, columns=range(5)),
        last=weight(4, 16, 1, 1, columns=range(8)),
        bias=np.zeros(16, np.float32),
    )
    first, second = model.graph.node[0], model.graph.node[1]
    nodes = [second, first, *model.graph.node[2:]]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)
    return model


@pytest.mark.usefixtures("short_races")
@pytest.mark.parametrize("asked", [*ASKED, pytest.param("race", marks=pytest.mark.slow)])
def test_the_model_is_only_read(asked: str, tmp_path: Path) -> None:
    model = network()
    options = {"race": False, **ASKED[asked]} if asked in ASKED else {"amount": 0.4}
    if "calibration" in options:
        np.savez(tmp_path / "data.npz", x=np.random.default_rng(0).normal(size=(16, 3, 6, 6)).astype(np.float32))
        options["calibration"] = str(tmp_path / "data.npz")
    if "mask" in options:
        np.savez(tmp_path / "mask.npz", last=np.arange(16) % 2 == 0)
        options["mask"] = str(tmp_path / "mask.npz")
    before = model.SerializeToString(deterministic=True)
    result = upscale_onnx.compile(model, **options)
    assert model.SerializeToString(deterministic=True) == before
    assert result.model is not model or result.model.SerializeToString(deterministic=True) == before
