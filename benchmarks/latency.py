"""How long one durable cycle takes whoever asks for it, beside a Ray call that does nothing.

A cycle is measured as one Ray call of a real SessionHost: from the driver's call to the answer, after the cycle's
last commit is on disk. The host is the runtime's, its session runs by `SessionHost.run`; the only thing added is a
gate before each cycle that a call opens. So `cycle − no-op` is what the cycle itself costs, hand-overs included.

The no-op is a method without a body of a plain actor. Calls come one at a time and in blocks, one of each kind in
turn, and a block's p50 is compared with the p50 of the no-ops of the same block."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, cast

import ray
from ray import ObjectRef

from benchmarks.scenarios import NULL, POOLS, maze, order
from loops.cycle import Result, run_cycle
from loops.frame import Cycle
from runtime import runner
from runtime.hosting.host import SessionHost
from runtime.hosting.orders import HostStatus
from runtime.hosting.pools import Handle
from runtime.sessions import SessionRow
from telemetry.log import open_log

CALLS = 100
"""Calls of each kind a block."""
WARM_UP = 30
"""Calls of each kind before the first block; the first ones import, allocate and start the pools."""
MIN_EVENTS = 10
"""What a cycle must record to count as one (issue "The spine", section "Figures")."""
CALL_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Latency:
    """The p50 of each kind of call in one block, in ms. All but `noop_ms` hold one Ray call and one cycle."""

    noop_ms: float
    cycle_ms: float
    maze_ms: float
    pools_ms: float


class Noop:
    """The peer: an actor whose call does nothing."""

    def call(self) -> None: ...


class SteppingHost(SessionHost):
    """A session host whose one session does a cycle a call."""

    def __init__(self, log: str) -> None:
        super().__init__(log, max_sessions=1, disk_patience_s=0)
        self._turn = asyncio.Semaphore(0)
        self._done = asyncio.Semaphore(0)
        # The runner looks its cycle up in its module, which is this actor's own process.
        setattr(runner, "run_cycle", self._one)  # noqa: B010  an assignment would be to a name the module does not export

    async def _one(self, cycle: Cycle) -> Result:
        await self._turn.acquire()
        result = await run_cycle(cycle)
        self._done.release()
        return result

    async def step(self) -> None:
        """Returns when the session has done its next cycle."""
        self._turn.release()
        await self._done.acquire()

    async def close(self) -> HostStatus:
        self._turn.release()  # the session rests after a whole cycle, and waits at the gate for it
        return await super().close()


class Stepped:
    """A session in a stepping host of its own, seen from the driver. Close it."""

    def __init__(self, folder: Path, text: str) -> None:
        folder.mkdir(parents=True)
        self._log = folder / "aether.db"
        options = ray.remote(SteppingHost).options(num_cpus=0, max_concurrency=8)
        self._host = cast("Handle", options.remote(str(self._log)))
        self._ended: ObjectRef[SessionRow] = self._host.run.remote(order(text))

    def call(self) -> ObjectRef[None]:
        return cast("ObjectRef[None]", self._host.step.remote())

    def close(self) -> None:
        """Ends the session and checks that its cycles were whole; the one that ends an episode may be shorter."""
        ray.get(self._host.close.remote(), timeout=CALL_TIMEOUT_S)
        ray.get(self._ended, timeout=CALL_TIMEOUT_S)
        ray.kill(self._host)
        with closing(open_log(str(self._log), mode="read")) as log:
            events = Counter(recorded.cycle for recorded in log.read_all())
        usual = median(count for cycle, count in events.items() if cycle > 0)
        assert usual >= MIN_EVENTS, f"a cycle records {usual} events"


def measure_latency(folder: Path, *, blocks: int) -> list[Latency]:
    """The p50 of each kind of call, block by block, on the Ray that the caller is connected to."""
    noop = cast("Any", ray.remote(Noop).options(num_cpus=0).remote())
    with (
        closing(Stepped(folder / "null", NULL)) as null,
        closing(Stepped(folder / "maze", maze())) as in_maze,
        closing(Stepped(folder / "pools", POOLS)) as in_pools,
    ):
        kinds: tuple[Callable[[], ObjectRef[None]], ...] = (noop.call.remote, null.call, in_maze.call, in_pools.call)
        for call in kinds:
            _p50_ms(call, WARM_UP)
        return [Latency(*(_p50_ms(call, CALLS) for call in kinds)) for _ in range(blocks)]


def _p50_ms(call: Callable[[], ObjectRef[None]], count: int) -> float:
    walls_ns = []
    for _ in range(count):
        began = time.perf_counter_ns()
        ray.get(call(), timeout=CALL_TIMEOUT_S)
        walls_ns.append(time.perf_counter_ns() - began)
    return median(walls_ns) / 1e6
