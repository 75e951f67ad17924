"""A race says how much of it is over, and so do the commands that run one."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import onnx

import upscale_onnx
from tests.graphs import parse, weight
from upscale_onnx.cli import bench
from upscale_onnx.cli.main import make_parser
from upscale_onnx.cli.output import Output
from upscale_onnx.runtime import race


def network() -> onnx.ModelProto:
    """Two convolutions; half of what the second reads is zero."""
    w2 = weight(8, 32, 3, 3, seed=1)
    w2[:, 16:] = 0
    return parse(
        "(float[1, 3, 16, 16] x) => (float[1, 8, 12, 12] y) { a = Conv(x, w1)  b = Relu(a)  y = Conv(b, w2) }",
        w1=weight(32, 3, 3, 3),
        w2=w2,
    )


def test_a_race_moves_to_its_end() -> None:
    shares: list[float] = []
    race({"a": network(), "b": network()}, rounds=9, warmup=1, told=shares.append)
    assert len(shares) == 9
    assert shares == sorted(shares)
    assert shares[0] > 0
    assert shares[-1] == 1


def test_a_race_that_is_cut_off_by_its_budget_moves_on_by_time() -> None:
    shares: list[float] = []
    race({"a": network()}, rounds=10_000, warmup=1, budget_s=0.4, told=shares.append)
    assert shares[-1] > 0.5


def test_the_contest_moves_the_bar_of_a_compile() -> None:
    told: list[tuple[str, float]] = []
    upscale_onnx.compile(network(), progress=lambda stage, share: told.append((stage, share)))
    contest = [share for stage, share in told if stage == "contest"]
    assert len({share for share in contest if 0.2 < share < 0.7}) >= 5
    assert max(contest) <= 0.7


def test_progress_never_runs_backwards(tmp_path: Path) -> None:
    model = network()
    name = model.graph.input[0].name
    shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    np.savez(tmp_path / "data.npz", **{name: np.random.default_rng(0).normal(size=(16, *shape[1:])).astype(np.float32)})
    told: list[tuple[str, float]] = []
    upscale_onnx.compile(
        model, amount=0.5, masks="flat", export="upscale", repair="lsq", calibration=str(tmp_path / "data.npz"),
        progress=lambda stage, share: told.append((stage, share)),
    )  # fmt: skip
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert {"load", "prune", "repair", "analyse", "contest", "verify", "effect"} <= {stage for stage, _ in told}


def test_the_bench_command_moves_within_a_race(tmp_path: Path) -> None:
    onnx.save(network(), tmp_path / "a.onnx")
    told: list[float] = []

    class Watched(Output):
        def progress(self):  # type: ignore[no-untyped-def]
            return nullcontext(lambda stage, share: told.append(share))

    words = [str(tmp_path / "a.onnx"), "--threads", "1,2", "--rounds", "7", "--budget", "3"]
    args = make_parser("bench").parse_args(words)
    assert bench.run(args, Watched(quiet=True)) == 0
    assert len({share for share in told if 0 < share < 0.5}) >= 3
    assert len({share for share in told if 0.5 < share < 1}) >= 3
