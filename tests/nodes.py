"""Run as a process: a Ray cluster of several nodes by Ray's own cluster utility, until stdin ends.

Knows `ray.cluster_utils`; imports nothing of ours. Takes the head's arguments as JSON in argv; each line of stdin holds
the arguments of one more node. Answers each with one line of JSON: the node's id, the process id of its raylet, and the
cluster's address."""

from __future__ import annotations

import json
import sys
from typing import Any

from ray.cluster_utils import Cluster

QUICK = {"health_check_initial_delay_ms": 500, "health_check_period_ms": 500, "health_check_failure_threshold": 3}
"""A node that was killed is noticed within about two seconds, not fifteen."""
START_TIMEOUT_S = 240.0


def main() -> None:
    cluster = Cluster(shutdown_at_exit=True)
    _add(cluster, {**json.loads(sys.argv[1]), "_system_config": QUICK})
    for line in sys.stdin:
        _add(cluster, json.loads(line))


def _add(cluster: Cluster, arguments: dict[str, Any]) -> None:
    node = cluster.add_node(wait=False, **arguments)
    cluster._wait_for_node(node, timeout=START_TIMEOUT_S)  # `add_node` would give up after 30 s
    (raylet,) = node.all_processes["raylet"]
    started = {"node": node.node_id, "raylet": raylet.process.pid, "address": cluster.address}
    sys.stdout.write(f"{json.dumps(started)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
