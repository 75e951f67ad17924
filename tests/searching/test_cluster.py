"""A search on a cluster of Ray: a lost node loses no trial, and nobody who answers is one line."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("ray.tune")

from tests.nodes import two_nodes
from upscale_onnx.errors import ArgumentError
from upscale_onnx.searching.cluster import work_on_cluster
from upscale_onnx.searching.engine import Search

# What Ray itself warns of is not ours to mend.
pytestmark = [pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def nodes() -> Iterator[tuple[Any, Any]]:
    with two_nodes() as made:
        yield made


@pytest.mark.slow
def test_a_lost_node_loses_no_trial(search: Callable[..., Search], nodes: tuple[Any, Any]) -> None:
    cluster, second = nodes
    mine = search("tpe", 8, "macs<=0.6")
    study = mine.open()
    removed: list[float] = []

    def remove(stage: str, share: float) -> None:
        """Remove the second node in the middle."""
        if share >= 0.4 and not removed:
            removed.append(share)
            threading.Thread(target=lambda: cluster.remove_node(second, allow_graceful=False)).start()

    work_on_cluster(mine, study, cluster.address, remove)
    study.update()
    assert removed
    assert [trial.number for trial in sorted(study.history.finished, key=lambda one: one.number)] == list(range(8))
    assert not study.history.running
    measured = [(trial.measured, trial.proposal.shares) for trial in study.history.finished]
    here = [mine.problem.evaluate(shares) for _, shares in measured]
    assert [found.macs for found, _ in measured if found] == [one.macs for one in here]
    # Others were given up after a part of the images.
    whole = [(found, one) for (found, _), one in zip(measured, here, strict=True) if found and found.is_complete]
    assert whole
    assert [found.accuracy for found, _ in whole] == [one.accuracy for _, one in whole]
    assert (mine.folder / "cache.jsonl").read_text().count("\n") >= 6
    study.close()


@pytest.mark.parametrize("address", ["127.0.0.1:{free}", "nowhere.invalid:6379", "nonsense"])
def test_nobody_who_answers_is_one_line(search: Callable[..., Search], address: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        free = unused.getsockname()[1]
    mine = search()
    study = mine.open()
    began = time.monotonic()
    with pytest.raises(ArgumentError, match="Ray cluster") as error:
        work_on_cluster(mine, study, address.format(free=free))
    assert error.value.exit_code == 2
    assert "\n" not in str(error.value)
    assert time.monotonic() - began < 30
    study.close()
