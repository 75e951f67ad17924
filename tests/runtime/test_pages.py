"""Pages of mapped weights: they go back while a session runs, and outputs stay the same."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from tests.graphs import parse
from upscale_onnx.model import stored
from upscale_onnx.model.on_disk import weights_on_disk
from upscale_onnx.runtime import pages
from upscale_onnx.runtime.sessions import make_session, run
from upscale_onnx.worker import in_process

_SIZE = 1024
_LAYERS = 12


@pytest.mark.skipif(sys.platform != "linux", reason="maps are listed as Linux does it")
def test_pages_go_back_while_a_session_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "ALWAYS_IN_MEMORY", 2**20)
    rng = np.random.default_rng(0)
    weights = {f"w{n}": (rng.random((_SIZE, _SIZE), np.float32) - 0.5) / 8 for n in range(_LAYERS)}
    steps = " ".join(f"v{n + 1} = MatMul(v{n}, w{n})" for n in range(_LAYERS))
    model = parse(f"(float[1,{_SIZE}] v0) => (float[1,{_SIZE}] v{_LAYERS}) {{ {steps} }}", **weights)
    feed = {"v0": rng.random((1, _SIZE), np.float32)}
    with in_process(), weights_on_disk(model) as mapped:
        # From this size on, weights are not packed, so that each run reads the mapped ones.
        monkeypatch.setattr("upscale_onnx.runtime.sessions._PACKED_BYTES", 2**20)
        session = make_session(mapped, exact=True)
        expected = run(session, feed)
        monkeypatch.setattr(pages, "MOST_BYTES", 2**20)
        monkeypatch.setattr(pages, "_SECONDS", 0.0001)
        found = pages._places()
        assert sum(end - start for start, end in found) >= _LAYERS * _SIZE * _SIZE * 4
        before = pages._held()
        with pages.few_pages():
            dropped = (pages._held() < before - _LAYERS * _SIZE * _SIZE * 2 for _ in range(100_000))
            assert any(dropped)
        assert np.array_equal(run(session, feed)[0], expected[0])


def test_nothing_is_watched_where_little_is_mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "_give_back", pytest.fail)
    with pages.few_pages():
        pass
