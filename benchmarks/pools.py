"""How many cycles a second many sessions get through one pool, with their calls going together and one by one.

All phases of 100 sessions of the null scenario are in a pool of two actors. The peer is the same host whose every call
to a phase actor is a Ray call of its own, which is how it was; both run one after the other in one Ray. The rate is
read from the log: cycles closed between the moment when the last session was opened and the first one ended."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any, TypeVar, cast

import ray

from benchmarks.report import ROOT, figure, short
from benchmarks.scenarios import POOLS, order
from runtime.hosting import placement
from runtime.hosting.cluster import connected
from runtime.hosting.host import SessionHost
from runtime.hosting.lanes import Lane, within
from runtime.hosting.pools import Handle, remote
from runtime.sessions import SessionRow
from runtime.settings import Settings
from telemetry.log import open_log

T = TypeVar("T")

SESSIONS = 100
CYCLES = 40
RUN_TIMEOUT_S = 300.0


class OneByOne(Lane):
    """The peer: every ask is a Ray call of its own, and all are under way at once."""

    async def ask(self, method: str, *arguments: object, what: str, limit_s: float) -> Any:  # noqa: ANN401  as `Lane`
        call: Callable[[], Awaitable[Any]] = lambda: getattr(self.actor, method).remote(*arguments)  # noqa: E731
        return await within(limit_s, what, self.actor, remote(call))


class PoolHost(SessionHost):
    def __init__(self, log: str, lane: type[Lane]) -> None:
        super().__init__(log, max_sessions=SESSIONS, disk_patience_s=0)
        # The placement looks its lanes up in its module, which is this actor's own process.
        setattr(placement, "Lane", lane)  # noqa: B010  an assignment would be to a name the module does not export

    async def run_all(self) -> list[SessionRow]:
        orders = [order(POOLS, index=index, cycles=CYCLES) for index in range(SESSIONS)]
        return await asyncio.gather(*(self.run(each) for each in orders))


def main() -> int:
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT / "build") as name, connected(Settings(home=Path(name))):
        _rate(Path(name) / "warm.db", Lane)
        together, apart = [], []
        for repeat in range(3 if short() else 7):
            apart.append(_rate(Path(name) / f"apart-{repeat}.db", OneByOne))
            together.append(_rate(Path(name) / f"together-{repeat}.db", Lane))
    figure("pool_cycles_per_s_100", value=median(together), unit="cycles/s", op=">=", samples=together)
    ratios = [ours / peer for ours, peer in zip(together, apart, strict=True)]
    figure("pool_together_over_apart_100", value=median(ratios), unit="×", op=">=", samples=ratios)
    return 0


def _rate(log: Path, lane: type[Lane]) -> float:
    host = cast("Handle", ray.remote(PoolHost).options(num_cpus=0, max_concurrency=16).remote(str(log), lane))
    rows = ray.get(host.run_all.remote(), timeout=RUN_TIMEOUT_S)
    assert [row.cycles for row in rows] == [CYCLES] * SESSIONS
    ray.get(host.close.remote(), timeout=RUN_TIMEOUT_S)
    ray.kill(host)
    with closing(open_log(log, mode="read")) as store:
        began = max(recorded.at for recorded in store.read_all(types=("session.opened",)))
        ended = min(recorded.at for recorded in store.read_all(types=("session.closed",)))
        closed = sum(began < recorded.at <= ended for recorded in store.read_all(types=("session.cycle_closed",)))
    return closed / ((ended - began) / 1e9)


if __name__ == "__main__":
    sys.exit(main())
