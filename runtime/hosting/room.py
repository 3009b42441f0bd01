"""Where session hosts lie and how many there are.

Knows Ray's resources and what scenarios ask for; starts nothing. Invariant: what can never fit is refused before
anything is started, with what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Literal, NamedTuple, TypeAlias

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from runtime.errors import Unavailable, UsageError
from runtime.hosting.orders import SessionOrder
from runtime.hosting.pools import ROUNDING
from runtime.scenario import parse_scenario
from runtime.sessions import opened, stream_of
from runtime.settings import Settings, log_url
from telemetry.log import is_postgres, open_log

Place: TypeAlias = NodeAffinitySchedulingStrategy | Literal["SPREAD"]


class _Share(NamedTuple):
    cpus: float
    gpus: float


class _Node(NamedTuple):
    id: str
    cpus: float
    gpus: float


def here() -> NodeAffinitySchedulingStrategy:
    """This node and no other."""
    return NodeAffinitySchedulingStrategy(_this_node(), soft=False)


def count(settings: Settings, orders: Sequence[SessionOrder]) -> int:
    """How many hosts there are to be for these sessions: as set, else about one a core on PostgreSQL and one on SQLite,
    and never more than sessions.

    Raises `UsageError` for several on SQLite, `Unavailable` where the cluster can't hold what is asked for."""
    if not is_postgres(log_url(settings)):
        if (settings.hosts or 1) > 1:
            raise UsageError(
                f"hosts is {settings.hosts}, and a SQLite log belongs to one host on one machine; nothing was started. "
                "Leave hosts out, or let several share a log in PostgreSQL: --log postgresql://user@machine/database"
            )
        _check_one(settings, [node for node in _nodes() if node.id == _this_node()], "node, where its log lies,")
        return 1
    nodes = _nodes()
    _check_one(settings, nodes, "cluster, on its largest node,")
    if settings.hosts == 1 or len(orders) <= 1:
        return 1
    share = _share(settings, orders)
    if settings.hosts is not None:
        hosts = min(settings.hosts, len(orders))
        if not settings.growth_patience_s:
            _check_all(hosts, share, nodes)
        return hosts
    fit = [sum(node.cpus for node in nodes) / max(share.cpus, 1)]
    fit += [sum(node.gpus for node in nodes) / share.gpus] if share.gpus else []
    return max(1, min(int(min(fit) + ROUNDING), len(orders)))


def _share(settings: Settings, orders: Sequence[SessionOrder]) -> _Share:
    """A host and the pools of every scenario: each host that runs one of its sessions starts its own."""
    cpus, gpus = settings.host_cpus, 0.0
    for text in dict.fromkeys(_texts(settings, orders)):
        scenario = parse_scenario(text, source="scenario").scenario
        for name, pool in scenario.pools.items():
            if name in scenario.placement.values():
                cpus += pool.actors * pool.cpus
                gpus += pool.actors * pool.gpus
    return _Share(cpus, gpus)


def _texts(settings: Settings, orders: Sequence[SessionOrder]) -> Iterator[str]:
    yield from (order.scenario_text for order in orders if order.scenario_text is not None)
    begun = [order for order in orders if order.scenario_text is None]
    if begun:
        with closing(open_log(log_url(settings), mode="read")) as log:
            for order in begun:
                yield opened(log, stream_of(order.session)).scenario_text


def _check_one(settings: Settings, nodes: Sequence[_Node], where: str) -> None:
    largest = max((node.cpus for node in nodes), default=0.0)
    if settings.host_cpus > largest:
        raise Unavailable(
            f"the session host asks for {settings.host_cpus:g} CPUs, and this {where} has {largest:g}. "
            "Nothing was started. Ask for less with host_cpus (AETHER_HOST_CPUS)"
        )


def _check_all(hosts: int, share: _Share, nodes: Sequence[_Node]) -> None:
    cpus, gpus = sum(node.cpus for node in nodes), sum(node.gpus for node in nodes)
    if hosts * share.cpus > cpus + ROUNDING or hosts * share.gpus > gpus + ROUNDING:
        raise Unavailable(
            f"{hosts} session hosts ask for {hosts * share.cpus:g} CPUs and {hosts * share.gpus:g} GPUs: each for "
            f"{share.cpus:g} CPUs and {share.gpus:g} GPUs, with the pools that it starts. This cluster has {cpus:g} "
            f"CPUs and {gpus:g} GPUs. Nothing was started. Ask for less with hosts (AETHER_HOSTS), host_cpus or "
            "[pools], or set growth_patience_s on a cluster that grows"
        )


def _this_node() -> str:
    return str(ray.get_runtime_context().get_node_id())


def _nodes() -> list[_Node]:
    alive = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]  # Ray's
    return [
        _Node(node["NodeID"], node["Resources"].get("CPU", 0.0), node["Resources"].get("GPU", 0.0)) for node in alive
    ]
