"""The strategies by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from upscale_onnx.errors import ArgumentError, did_you_mean
from upscale_onnx.searching.goals import Goals
from upscale_onnx.searching.problem import Problem
from upscale_onnx.searching.trials import History, Proposal


@dataclass(frozen=True, eq=False)
class Setting:
    """What a strategy is made for. trials: how many there will be in all. compression: a factor that profiles are to
    have, where one is asked for. seed: of everything random."""

    problem: Problem
    goals: Goals
    trials: int
    compression: float | None = None
    seed: int = 0


class Strategy(Protocol):
    """Proposes profiles. All of its state is in the history, so that any process can go on with a search."""

    def propose(self, history: History, number: int) -> Proposal | None:
        """The next profile; `number` is that of its trial. None where nothing can be proposed before a trial that is
        running ends."""


Maker = Callable[[Setting], Strategy]

_PACKAGE = "upscale_onnx.searching.strategies"
_NAMES = ("random", "greedy", "local", "tpe", "gp", "nsga2", "ppo")
_OTHERS: dict[str, Maker] = {}


def register(name: str, maker: Maker) -> None:
    """Make a strategy known under `name`.

    >>> from upscale_onnx.searching.strategies import register, strategy_names
    >>> from upscale_onnx.searching.trials import Proposal
    >>> class Halves:
    ...     def __init__(self, setting):
    ...         self.decisions = setting.problem.decisions
    ...     def propose(self, history, number):
    ...         return Proposal((0.5,) * self.decisions, "halves")
    >>> register("halves", Halves)
    >>> "halves" in strategy_names()
    True
    """
    _OTHERS[name] = maker


def strategy_names() -> tuple[str, ...]:
    """The names of all strategies."""
    return (*_NAMES, *_OTHERS)


def check_name(name: str) -> None:
    """Raises: ArgumentError where there is no strategy called `name`."""
    if name not in strategy_names():
        raise ArgumentError(f"no strategy called {name!r}{did_you_mean(name, strategy_names())}")


def make_strategy(name: str, setting: Setting) -> Strategy:
    """The strategy called `name`.

    Raises: ArgumentError where there is none, or it does not fit the setting.
    """
    check_name(name)
    if name in _OTHERS:
        return _OTHERS[name](setting)
    made: Strategy = importlib.import_module(f"{_PACKAGE}.{name}").make(setting)
    return made
