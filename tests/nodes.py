"""A cluster of Ray on this machine, of two nodes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_MEMORY = 10**8  # bytes of a node's object store


@contextlib.contextmanager
def two_nodes(head_processors: int = 1) -> Iterator[tuple[Any, Any]]:
    """A context with a cluster of two nodes: the cluster, and the node with one processor that can be removed."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[1]))
        # Ray gives its workers the lowest priority but four. Beside other tests, they then do not import in minutes.
        patch.setenv("RAY_worker_niceness", "0")
        head = {"num_cpus": head_processors, "object_store_memory": _MEMORY}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            yield cluster, cluster.add_node(num_cpus=1, object_store_memory=_MEMORY)
        finally:
            cluster.shutdown()
