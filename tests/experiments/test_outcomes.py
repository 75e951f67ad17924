"""Several processes that measure the points of a figure."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.experiments.test_figures import base, quiet
from upscale_onnx.errors import ArgumentError
from upscale_onnx.experiments.bases import Base
from upscale_onnx.experiments.figures import Setting, figure
from upscale_onnx.experiments.outcomes import of_workers
from upscale_onnx.experiments.points import Sheet
from upscale_onnx.experiments.run import measure


def four() -> list[Base]:
    return [base(0, 0), base(1, 0), base(2, 1), base(3, 1)]


def setting_of(bases: list[Base]) -> Setting:
    decisions = bases[0].space("l1").decisions
    return Setting((0, 0, 1, 1), decisions, (1.6,), draws=1, profiles=3, reference=1, choice="scores")


def test_several_processes_measure_what_one_does(tmp_path: Path) -> None:
    bases = four()
    setting = setting_of(bases)
    measure(figure("figure4"), setting, bases, Sheet(tmp_path / "one.csv"), quiet)
    with of_workers(2, four) as outcomes:
        measure(figure("figure4"), setting, bases, Sheet(tmp_path / "two.csv"), quiet, outcomes)
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()
    assert not multiprocessing.active_children()


def killed() -> list[Base]:
    os.kill(os.getpid(), signal.SIGKILL)
    return []


def unreadable() -> list[Base]:
    raise ArgumentError("a.onnx: no such file")


def unrepairable() -> list[Base]:
    return [replace(one, options=one.options.replaced(repair="lsq", calibration=None)) for one in four()]


def test_what_ends_a_process_is_told_and_an_interrupt_ends_all() -> None:
    wanted = list(figure("figure3").points(setting_of(four())))

    def outcomes_of(make_bases: Callable[[], list[Base]], end: type[BaseException] | None = None) -> None:
        with of_workers(2, make_bases) as outcomes:
            for found in outcomes(wanted):
                assert found.is_met
                if end is not None:
                    raise end

    with pytest.raises(ArgumentError, match=r"one of the processes was killed.* start again with fewer --workers"):
        outcomes_of(killed)
    with pytest.raises(ArgumentError, match=r"^a\.onnx: no such file$"):
        outcomes_of(unreadable)
    with pytest.raises(ArgumentError, match=r"^repair 'lsq' needs calibration data$"):
        outcomes_of(unrepairable)
    with pytest.raises(KeyboardInterrupt):
        outcomes_of(four, KeyboardInterrupt)
    assert not multiprocessing.active_children()
