"""Which options functions take as keywords."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from typing import Any, get_type_hints

import pytest

import upscale_onnx
from upscale_onnx.errors import ArgumentError
from upscale_onnx.options import Options
from upscale_onnx.options.calls import (
    Calibrating,
    Compiling,
    Racing,
    Scanning,
    Sharing,
    Threaded,
    Verifying,
    options_of,
)
from upscale_onnx.options.overrides import Overrides

MODEL = "models/digits_cnet_masked.onnx"
TAKEN: dict[str, type] = {
    "calibrate": Calibrating,
    "compile": Overrides,
    "evaluate": Threaded,
    "prune": Compiling,
    "race": Racing,
    "scan": Scanning,
    "search": Sharing,
    "verify": Verifying,
}


@pytest.mark.parametrize("taken", [kind for kind in TAKEN.values() if kind is not Overrides])
def test_keywords_are_options_with_their_types(taken: type) -> None:
    known = get_type_hints(Overrides)
    for name, hint in get_type_hints(taken).items():
        assert hint == known[name], name


@pytest.mark.parametrize("name", TAKEN)
def test_functions_take_options_as_a_value_or_as_keywords(name: str) -> None:
    function: Callable[..., Any] = getattr(upscale_onnx, name)
    parameters = inspect.signature(function).parameters
    assert parameters["options"].default is None
    assert parameters["overrides"].annotation == f"Unpack[{TAKEN[name].__name__}]"
    assert not set(parameters) & set(typing.get_type_hints(TAKEN[name]))


def test_keywords_go_before_the_value() -> None:
    options = Options.of(threads=2, seed=3, amount=0.5)
    found = options_of(Threaded, options, {"threads": 4})
    assert (found.target.threads, found.target.seed, found.prune.amount) == (4, 3, 0.5)
    assert options_of(Threaded, None, {}) == Options()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"amount": 0.3}, "'amount' is no option here: use provider, seed, threads"),
        ({"thread": 2}, "did you mean 'threads'"),
        ({"threads": 0}, "threads is 0: it takes an integer of at least 1"),
    ],
)
def test_what_has_no_effect_or_no_sense_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        options_of(Threaded, None, given)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: upscale_onnx.verify(MODEL, MODEL, trials=0), "trials is 0"),
        (lambda: upscale_onnx.verify(MODEL, MODEL, tolerance=-1.0), "tolerance is -1.0"),
        (lambda: upscale_onnx.race([MODEL], settings=[(1, 0)]), "settings is"),
        (lambda: upscale_onnx.race([MODEL], rounds=0), "rounds is 0"),
        (lambda: upscale_onnx.race([MODEL], budget_s=0), "budget_s is 0"),
        (lambda: upscale_onnx.race([]), "nothing to race"),
        (lambda: upscale_onnx.evaluate(MODEL, "d.npz", limit=0), "limit is 0"),
        (lambda: upscale_onnx.calibrate(MODEL, budget_s=0), "budget_s is 0"),
        (lambda: upscale_onnx.scan(MODEL, limit=0), "limit is 0"),
        (lambda: upscale_onnx.scan(MODEL, tolerated=1.5), "tolerated is 1.5"),
        (lambda: upscale_onnx.sparsify(MODEL, amoun=0.3), "did you mean 'amount'"),
        (lambda: upscale_onnx.sparsify(MODEL, masks={}, amount=0.3), "masks decide alone"),
    ],
)
def test_arguments_are_checked_first(call: Callable[[], object], said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        call()
