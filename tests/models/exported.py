"""Networks as ONNX files, each of which computes what torch computes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime as ort
import torch

from models import export
from models.networks import NETWORKS


def exported(
    name: str, *, fold_norms: bool = False, make: Callable[[], torch.nn.Module] | None = None
) -> onnx.ModelProto:
    """The network of that name, or one of the kind that `make` returns, as a valid model of the same outputs."""
    network = export.drawn(make or NETWORKS[name].build)
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
    return model
