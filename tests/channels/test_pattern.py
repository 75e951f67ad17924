"""A pattern says the same in every form in which it is held."""

from __future__ import annotations

import numpy as np
import pytest

from upscale_onnx.channels import pattern as module
from upscale_onnx.channels.pattern import Pattern


@pytest.mark.parametrize("form", ["_plain", "_product", "_bits"])
def test_every_form_says_who_reads_what(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    rows, columns = rng.random(9) < 0.6, rng.random(13) < 0.6
    array = np.outer(rows, columns) if form == "_product" else rng.random((9, 13)) < 0.2
    monkeypatch.setattr(module, "_PLAIN", 1000 if form == "_plain" else 0)
    found = Pattern.of(array)
    assert getattr(found, form) is not None
    assert found.size == array.size
    np.testing.assert_array_equal(found.entries(), array)
    np.testing.assert_array_equal(found.read_by(), array.any(0))
    for _ in range(20):
        targets = rng.random(9) < 0.3
        np.testing.assert_array_equal(found.read_by(targets), array[targets].any(0))
