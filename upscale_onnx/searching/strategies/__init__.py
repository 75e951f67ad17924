"""Strategies of a search: each proposes profiles by what came of those before. New ones join by `register`."""

from upscale_onnx.searching.strategies.registry import (
    Setting,
    Strategy,
    check_name,
    make_strategy,
    register,
    strategy_names,
)

__all__ = ["Setting", "Strategy", "check_name", "make_strategy", "register", "strategy_names"]
