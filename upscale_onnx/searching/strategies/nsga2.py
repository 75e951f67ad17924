"""A genetic algorithm that sorts by non-domination.

Source: Deb et al., "A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II", 2002.
"""

from __future__ import annotations

from typing import Any

from upscale_onnx.searching.journal import optuna
from upscale_onnx.searching.strategies.registry import Setting
from upscale_onnx.searching.strategies.sampled import Sampled, violations

_WINDOW = 1000
_MOST, _LEAST, _GENERATIONS = 50, 10, 10


def make(setting: Setting) -> Sampled:
    """The strategy. Generations are of 50 profiles, or fewer where there would not be ten of them."""
    size = min(max(setting.trials // _GENERATIONS, _LEAST), _MOST)

    def sampler(seed: int, constrained: bool) -> Any:
        told = violations if constrained else None
        return optuna.samplers.NSGAIISampler(seed=seed, population_size=size, constraints_func=told)

    return Sampled("nsga2", sampler, setting, _WINDOW, population=size, generation="NSGAIISampler:generation")
