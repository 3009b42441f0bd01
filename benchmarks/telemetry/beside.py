"""What exporting beside the sessions takes from them: of the most they can do, and of a cycle's time at half of it.

100 sessions of the null scenario in a real session host, with the actor that exports spans and digests to a collector
beside them and without, by turns. The collector throws everything away, in a process of its own on the same cores. The
most is events a second, read from the log as `make bench-loop` does. For a cycle's time the host begins cycles at half
the rate that it has without export, one after the other, and a cycle counts from when it was to begin until its commit
is on disk."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import ray

from benchmarks.report import figure, progress, short
from benchmarks.scenarios import NULL, order
from benchmarks.storage import EVENTS_A_CYCLE
from benchmarks.telemetry.filled import workplace
from benchmarks.telemetry.sink import discarding
from benchmarks.throughput import measure_load
from loops.cycle import Result, run_cycle
from loops.frame import Cycle
from runtime import runner
from runtime.hosting.cluster import connected
from runtime.hosting.host import SessionHost
from runtime.hosting.hosts import Hosts
from runtime.hosting.orders import HostStatus, RunStatus
from runtime.settings import Settings, Telemetry

AREA = "bench-telemetry"
SESSIONS = 100
PEAK_ROUNDS, PACED_ROUNDS, SHORT_ROUNDS = 3, 5, 1
PEAK_S, SHORT_PEAK_S = 6.0, 4.0
PACED_S, SHORT_PACED_S = 5.0, 4.0
WARM_S = 2.0
"""Sessions are opened, and the exporter connects and catches up."""
PEAK_WITH_EXPORT = 0.7
CYCLE_P99_WITH_EXPORT = 1.15
"""Floor and ceiling of issue "Telemetry is a projection", section "Figures"."""


def report() -> None:
    """Prints the figures: `peak_with_export`, `cycle_p99_with_export`, and the values that they are made of."""
    with workplace() as folder, discarding() as url, connected(Settings(home=folder)):
        ways = {"without": Telemetry(), "with": Telemetry(otlp=url)}
        cycles_per_s = _peak(folder, ways) / EVENTS_A_CYCLE / 2
        _paced(folder, ways, cycles_per_s)


def _peak(folder: Path, ways: dict[str, Telemetry]) -> float:
    """Events a second without export."""
    rounds, window_s = (SHORT_ROUNDS, SHORT_PEAK_S) if short() else (PEAK_ROUNDS, PEAK_S)
    found: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(rounds):
        for way, telemetry in ways.items():
            progress(AREA, f"the most of {SESSIONS} sessions {way} export, round {number + 1} of {rounds}")
            load = measure_load(folder / f"peak-{way}-{number}", SESSIONS, window_s=window_s, telemetry=telemetry)
            found[way].append(load.events_per_s)
    ratios = [one / another for one, another in zip(found["with"], found["without"], strict=True)]
    figure("peak_with_export", value=median(ratios), unit="×", op=">=", floor=PEAK_WITH_EXPORT, samples=ratios)
    for way, rates in found.items():
        figure(f"peak_{way}_export_events_per_s", value=median(rates), unit="events/s", op=">=", samples=rates)
    return median(found["without"])


def _paced(folder: Path, ways: dict[str, Telemetry], cycles_per_s: float) -> None:
    rounds = SHORT_ROUNDS if short() else PACED_ROUNDS
    found: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(rounds):
        for way, telemetry in ways.items():
            progress(AREA, f"{cycles_per_s:,.0f} cycles a second {way} export, round {number + 1} of {rounds}")
            found[way].append(_p99_ms(folder / f"paced-{way}-{number}", telemetry, cycles_per_s))
    ratios = [one / another for one, another in zip(found["with"], found["without"], strict=True)]
    figure(
        "cycle_p99_with_export", value=median(ratios), unit="×", op="<=", floor=CYCLE_P99_WITH_EXPORT, samples=ratios
    )
    for way, took in found.items():
        figure(f"cycle_p99_{way}_export_ms", value=median(took), unit="ms", op="<=", samples=took)


class PacedHost(SessionHost):
    """A session host whose sessions begin their cycles one after the other, so many a second once it is told."""

    def __init__(self, log: str, **more: Any) -> None:  # noqa: ANN401  as its base class takes them
        super().__init__(log, **more)
        self._told = asyncio.Event()
        self._every_s = self._next = 0.0
        self._walls_s: list[float] = []
        # The runner looks its cycle up in its module, which is this actor's own process.
        setattr(runner, "run_cycle", self._paced)  # noqa: B010  an assignment would be to a name the module does not export

    async def pace(self, cycles_per_s: float) -> None:
        self._every_s, self._next = 1 / cycles_per_s, time.perf_counter()
        self._told.set()

    async def walls_s(self) -> list[float]:
        """Of the cycles since it was last asked."""
        walls_s, self._walls_s = self._walls_s, []
        return walls_s

    async def close(self) -> HostStatus:
        self._every_s = 0.0
        self._told.set()
        return await super().close()

    async def _paced(self, cycle: Cycle) -> Result:
        await self._told.wait()
        due = max(time.perf_counter(), self._next)
        self._next = due + self._every_s
        await asyncio.sleep(due - time.perf_counter())
        result = await run_cycle(cycle)
        self._walls_s.append(time.perf_counter() - due)
        return result


class _Watch:
    """Has the host begin, lets it warm up, and takes the walls of one window."""

    def __init__(self, hosts: Hosts, cycles_per_s: float, window_s: float) -> None:
        (member,) = hosts._members
        self._hosts, self._actor = hosts, member.actor
        self._window_s = window_s
        self._began: float | None = None
        self._measured_from: float | None = None
        self.walls_s: list[float] | None = None
        self._cycles_per_s = cycles_per_s

    def __call__(self, status: RunStatus) -> None:
        now = time.monotonic()
        if self._began is None:
            ray.get(self._actor.pace.remote(self._cycles_per_s))
            self._began = now
        elif self._measured_from is None and now - self._began >= WARM_S:
            ray.get(self._actor.walls_s.remote())
            self._measured_from = now
        elif self._measured_from is not None and self.walls_s is None and now - self._measured_from >= self._window_s:
            self.walls_s = ray.get(self._actor.walls_s.remote())
            self._hosts.suspend()


def _p99_ms(folder: Path, telemetry: Telemetry, cycles_per_s: float) -> float:
    hosts = Hosts(Settings(home=folder, telemetry=telemetry), kind=PacedHost)
    watch = _Watch(hosts, cycles_per_s, SHORT_PACED_S if short() else PACED_S)
    try:
        for session, error in hosts.run([order(NULL, index=index) for index in range(SESSIONS)], watch=watch):
            if error is not None:
                raise RuntimeError(f"session {session} did not come to its end") from error
    finally:
        hosts.close()
    assert watch.walls_s, "the window passed before the sessions were told to rest"
    return quantiles(watch.walls_s, n=100)[98] * 1e3
