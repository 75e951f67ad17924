"""Training on a cluster of Ray: it goes on where it was, also when a node is lost."""

from __future__ import annotations

import csv
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray.rllib")
pytest.importorskip("gymnasium")
pytest.importorskip("torch")

from tests.nodes import two_nodes
from upscale_onnx.errors import ArgumentError
from upscale_onnx.reinforce.networks import Network
from upscale_onnx.reinforce.rewards import Gaussian
from upscale_onnx.reinforce.rllib import load, train
from upscale_onnx.reinforce.runs import Settings

Make = Callable[..., Network]

# What Ray itself warns of is not ours to mend.
pytestmark = [pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def nodes(request: pytest.FixtureRequest) -> Iterator[tuple[Any, Any]]:
    """Two nodes that this process is connected to. The parameter says how many processors the first one has."""
    import ray

    with two_nodes(request.param) as (cluster, second):
        ray.init(address=cluster.address, log_to_driver=False)
        try:
            yield cluster, second
        finally:
            ray.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize("nodes", [1], indirect=True)
def test_a_lost_node_loses_nothing(network: Make, tmp_path: Path, nodes: tuple[Any, Any]) -> None:
    cluster, second = nodes
    timer = threading.Timer(0.2, cluster.remove_node, (second,), {"allow_graceful": False})

    def remove(stage: str, share: float) -> None:
        """Remove the second node shortly after the second iteration has begun, and before it ends."""
        assert share < 1 or not timer.is_alive()
        if share == 0.5:
            assert len(_nodes_of_runners()) == 2
            timer.start()

    settings = Settings(iterations=2, episodes=32, epochs=2)
    queue = [network(), network(1)]
    policy = train(queue, Gaussian(2.0), tmp_path, settings, progress=remove, runners=2)
    timer.join()
    assert len(cluster.list_all_nodes()) == 1
    with (tmp_path / "curve.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["iteration"] for row in rows] == ["1", "2"]
    assert all(int(row["episodes"]) >= 32 for row in rows)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curve.csv", "policy-000002", "settings.json"]
    unseen = network(5)
    assert load(tmp_path).apply(unseen, Gaussian(2.0)) == policy.apply(unseen, Gaussian(2.0))


@pytest.mark.slow
@pytest.mark.parametrize("nodes", [0], indirect=True)
def test_where_all_nodes_are_lost_the_training_ends_and_goes_on_later(
    network: Make, tmp_path: Path, nodes: tuple[Any, Any]
) -> None:
    cluster, second = nodes
    settings = Settings(iterations=2, episodes=4, epochs=1)
    with pytest.raises(ArgumentError, match="runners: 2 need a processor each, and the cluster has 1"):
        train([network()], Gaussian(2.0), tmp_path, settings, runners=2)

    def remove(stage: str, share: float) -> None:
        """Remove the node, and wait until its environment is lost: it could still end a short iteration."""
        if share == 0.5:
            cluster.remove_node(second, allow_graceful=False)
            while _nodes_of_runners():
                time.sleep(0.1)

    with pytest.raises(ArgumentError, match="no environment of the training is left") as error:
        train([network()], Gaussian(2.0), tmp_path, settings, progress=remove)
    assert "\n" not in str(error.value)
    assert (tmp_path / "policy-000001").is_dir()
    cluster.add_node(num_cpus=1, object_store_memory=10**8)
    train([network()], Gaussian(2.0), tmp_path, settings)
    assert (tmp_path / "policy-000002").is_dir()


def test_nobody_answers(network: Make, tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(ArgumentError, match=r"no Ray cluster answers at 127\.0\.0\.1:1: start one"):
        train([network()], Gaussian(2.0), tmp_path, address="127.0.0.1:1")
    assert time.monotonic() - began < 20


def test_no_policy(network: Make, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="holds no training"):
        load(tmp_path)


def _nodes_of_runners() -> set[str]:
    """The nodes where environments run."""
    from ray._private.state import actors

    alive = [actor for actor in actors().values() if actor["State"] == "ALIVE"]
    return {
        actor["Address"]["NodeID"]
        for actor in alive
        if "EnvRunner" in actor.get("ActorClassName", actor.get("ClassName", ""))
    }
