"""What is told of each finished trial: callbacks of optuna, such as those for MLflow and Weights & Biases."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

from upscale_onnx.errors import ArgumentError
from upscale_onnx.searching.journal import optuna
from upscale_onnx.searching.study import NAME, Study

Callback = Callable[[Any, Any], object]
"""A function of an optuna.Study and an optuna.trial.FrozenTrial."""


class Callbacks:
    """The callbacks with these names, each as MODULE:NAME: a callback, or a class, of which one is made.

    Raises: ArgumentError where there is no such callback.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._known = {name: _resolved(name) for name in names}

    def tell(self, study: Study, number: int) -> None:
        """Tell every callback of the trial `number`, which is finished.

        Raises: ArgumentError if one fails. The study holds the trial already.
        """
        if not self._known:
            return
        told = optuna.load_study(study_name=NAME, storage=study.storage)
        trial = study.storage.get_trial(study.identity(number))
        for name, callback in self._known.items():
            try:
                callback(told, trial)
            except Exception as error:
                raise ArgumentError(f"callback {name} failed on trial {number}: {_line(error)}") from error


def _resolved(name: str) -> Callback:
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise ArgumentError(f"callback {name!r} is not MODULE:NAME, such as optuna_integration:MLflowCallback")
    try:
        found = getattr(importlib.import_module(module), attribute)
        made = found() if isinstance(found, type) else found
    except Exception as error:  # whatever a module of the user's choice raises
        raise ArgumentError(f"callback {name!r} cannot be used: {_line(error)}") from error
    if not callable(made):
        raise ArgumentError(f"callback {name!r} is no function of a study and a trial")
    return made  # type: ignore[no-any-return]


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
