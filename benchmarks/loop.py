"""The loop's figures (`make bench-loop`). Knows their bounds and how long each is measured; the modules beside it
know how.

    startup     `aether --help`, beside `python -c pass`
    latency     one cycle, beside one bare Ray call
    throughput  events a second of many sessions in one host, and the host's memory
    storage     bytes on disk that an event costs beside its payload

Everything but the start-up runs in one local Ray and on logs under build/, so on the disk that holds the checkout:
a temporary folder may lie in memory, where fsync costs nothing."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

from benchmarks.latency import Latency, measure_latency
from benchmarks.report import ROOT, figure, progress, short
from benchmarks.startup import measure_help
from benchmarks.storage import measure_overhead
from benchmarks.throughput import Load, measure_load
from runtime.hosting.cluster import connected
from runtime.settings import Settings

CYCLE_MINUS_NOOP_MS = 1.0
CYCLE_POOLS_OVER_NOOP = 10.0
EVENTS_PER_S = 10_000
HOST_RSS_MIB = 2048
BYTES_PER_EVENT = 450
HELP_S = 0.3
"""Floors and ceilings of issue "The spine", section "Figures"."""

SESSIONS = (1, 10, 100, 1000)
EVENTS = (100, 100_000)


def main() -> int:
    brief = short()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=_build()) as name:
        folder = Path(name)
        _help(calls=10 if brief else 30)
        with connected(Settings(home=folder)):
            _cycle(folder, blocks=8 if brief else 20)
            _load(folder, repeats=1 if brief else 3, window_s=8 if brief else 10)
            _overhead(folder)
    return 0


def _build() -> Path:
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    return build


def _help(*, calls: int) -> None:
    _say("aether --help")
    help_s, python_s = measure_help(calls)
    figure("help_s", value=median(help_s), unit="s", op="<=", floor=HELP_S, samples=help_s)
    ratios = [ours / peer for ours, peer in zip(help_s, python_s, strict=True)]
    figure("help_over_python", value=median(ratios), unit="×", op="<=", samples=ratios)


def _cycle(folder: Path, *, blocks: int) -> None:
    _say("one cycle")
    measured = measure_latency(folder / "latency", blocks=blocks)
    _of_blocks("noop_ms", measured, lambda block: block.noop_ms, unit="ms")
    _of_blocks(
        "cycle_minus_noop_ms",
        measured,
        lambda block: block.cycle_ms - block.noop_ms,
        unit="ms",
        floor=CYCLE_MINUS_NOOP_MS,
    )
    _of_blocks("cycle_maze_ms", measured, lambda block: block.maze_ms, unit="ms")
    _of_blocks(
        "cycle_pools_over_noop",
        measured,
        lambda block: block.pools_ms / block.noop_ms,
        unit="×",
        floor=CYCLE_POOLS_OVER_NOOP,
    )


def _of_blocks(
    name: str, blocks: list[Latency], of: Callable[[Latency], float], *, unit: str, floor: float | None = None
) -> None:
    samples = [of(block) for block in blocks]
    figure(name, value=median(samples), unit=unit, op="<=", floor=floor, samples=samples)


def _load(folder: Path, *, repeats: int, window_s: float) -> None:
    loads: dict[int, list[Load]] = {sessions: [] for sessions in SESSIONS}
    for repeat in range(repeats):
        for sessions in SESSIONS:
            _say(f"{sessions} sessions at once, {repeat + 1} of {repeats}")
            loads[sessions].append(measure_load(folder / f"load-{sessions}-{repeat}", sessions, window_s=window_s))
    for sessions, measured in loads.items():
        rates = [load.events_per_s for load in measured]
        floor = EVENTS_PER_S if sessions == 100 else None
        name = f"events_per_s_{sessions}_sessions"
        figure(name, value=median(rates), unit="events/s", op=">=", floor=floor, samples=rates)
    sizes = [load.host_rss_mib for load in loads[1000]]
    figure("host_rss_1000_sessions_mib", value=max(sizes), unit="MiB", op="<=", floor=HOST_RSS_MIB, samples=sizes)


def _overhead(folder: Path) -> None:
    overheads = []
    for events in EVENTS:
        _say(f"a session of {events:,} events")
        overhead = measure_overhead(folder / f"storage-{events}", events)
        overheads.append(overhead)
        figure(
            f"bytes_per_event_overhead_{events}",
            value=overhead,
            unit="bytes",
            op="<=",
            floor=BYTES_PER_EVENT,
            samples=[overhead],
        )
    figure(
        "bytes_per_event_overhead",
        value=max(overheads),
        unit="bytes",
        op="<=",
        floor=BYTES_PER_EVENT,
        samples=overheads,
    )


def _say(what: str) -> None:
    progress("bench-loop", what)


if __name__ == "__main__":
    sys.exit(main())
