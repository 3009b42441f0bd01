"""Steps a second, ours beside the peers': the figures of one session and of many in one process.

Knows what runs beside what; `benchmarks.steps` says what a step is. Invariant: a ratio is made of two rates of one
block, and every block runs each row once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from benchmarks.contender import Contender
from benchmarks.report import figure, progress, short
from benchmarks.steps import CONTENDERS, DBOS, LANGGRAPH, OURS

SESSIONS = 100

Rates = Mapping[str, float]
"""Steps a second of each row in one block, by the row's name in its figure."""
Rows = Mapping[str, tuple[str, tuple[object, ...]]]
"""Each row's contender and how it is called, by the name of its figure."""


def one(folder: Path, *, floor: float) -> None:
    """Figures of one session; `floor` is that of the ratios to the peers."""
    blocks, steps = (6 if short() else 12), 1000
    rows: Rows = {
        "steps_per_s_1": (OURS, ("cycle", 1)),
        "steps_per_s_langgraph_sync_1": (LANGGRAPH, ("history", "threads", 1)),
        "steps_per_s_dbos_1": (DBOS, ("threads", 1)),
        "steps_per_s_commit_a_step_1": (OURS, ("commit", 1)),
        "steps_per_s_langgraph_sync_small_1": (LANGGRAPH, ("small", "threads", 1)),
        "full_loop_events_per_s_1": (OURS, ("loop", 1)),
    }
    with _contenders(folder) as contenders:
        measured = _interleaved("one session", contenders, rows, blocks=blocks, steps=steps, warm=200)
    _rates(measured)
    _ratio("steps_vs_langgraph_sync_1", measured, "steps_per_s_1", "steps_per_s_langgraph_sync_1", floor=floor)
    _ratio("steps_vs_dbos_1", measured, "steps_per_s_1", "steps_per_s_dbos_1", floor=floor)
    _ratio("steps_vs_langgraph_sync_small_1", measured, "steps_per_s_1", "steps_per_s_langgraph_sync_small_1")
    each = "steps_per_s_commit_a_step_1"
    _ratio("steps_commit_a_step_vs_langgraph_sync_1", measured, each, "steps_per_s_langgraph_sync_1")
    _ratio("steps_commit_a_step_vs_dbos_1", measured, each, "steps_per_s_dbos_1")


def many(folder: Path, *, floor: float) -> None:
    """The same of SESSIONS in one process. A peer is counted by the faster of its two ways in each block."""
    blocks, steps = (2, 20) if short() else (6, 50)
    rows: Rows = {
        "steps_per_s_100": (OURS, ("cycle", SESSIONS)),
        "steps_per_s_langgraph_threads_100": (LANGGRAPH, ("history", "threads", SESSIONS)),
        "steps_per_s_langgraph_async_100": (LANGGRAPH, ("history", "async", SESSIONS)),
        "steps_per_s_dbos_threads_100": (DBOS, ("threads", SESSIONS)),
        "steps_per_s_dbos_async_100": (DBOS, ("async", SESSIONS)),
        "steps_per_s_commit_a_step_100": (OURS, ("commit", SESSIONS)),
        "full_loop_events_per_s_100": (OURS, ("loop", SESSIONS)),
    }
    with _contenders(folder) as contenders:
        measured = _interleaved(f"{SESSIONS} sessions", contenders, rows, blocks=blocks, steps=steps, warm=5)
    for rates in measured:
        for peer in ("langgraph", "dbos"):
            rates[peer] = max(rates[f"steps_per_s_{peer}_threads_100"], rates[f"steps_per_s_{peer}_async_100"])
    _rates([{name: rates[name] for name in rows} for rates in measured])
    ours, each = "steps_per_s_100", "steps_per_s_commit_a_step_100"
    _ratio("steps_vs_langgraph_sync_100", measured, ours, "langgraph", floor=floor)
    _ratio("steps_vs_dbos_100", measured, ours, "dbos", floor=floor)
    _ratio("steps_commit_a_step_vs_langgraph_sync_100", measured, each, "langgraph")
    _ratio("steps_commit_a_step_vs_dbos_100", measured, each, "dbos")


@contextmanager
def _contenders(folder: Path) -> Iterator[dict[str, Contender]]:
    with ExitStack() as stack:
        contenders = {}
        for module in CONTENDERS:
            contenders[module] = Contender(module, folder / module.rpartition("_")[2])
            stack.callback(contenders[module].close)
        yield contenders


def _interleaved(
    what: str,
    contenders: Mapping[str, Contender],
    rows: Rows,
    *,
    blocks: int,
    steps: int,
    warm: int,
) -> list[dict[str, float]]:
    """The rates of every row, block after block: each block runs each row once. A first, shorter block goes before
    those that count: it imports, connects and makes the tables."""
    measured = []
    for block in range(blocks + 1):
        progress("bench-log", f"{what}, block {block} of {blocks}")
        length = steps if block else warm
        rates = {}
        for name, (module, way) in rows.items():
            sessions = SESSIONS if name.endswith(f"_{SESSIONS}") else 1
            rates[name] = sessions * length / contenders[module].call(*way, length)
        measured.append(rates)
    return measured[1:]


def _rates(measured: Sequence[Rates]) -> None:
    for name in measured[0]:
        samples = [rates[name] for rates in measured]
        unit = "events/s" if "_events_" in name else "steps/s"
        figure(name, value=median(samples), unit=unit, op=">=", samples=samples)


def _ratio(name: str, measured: Sequence[Rates], ours: str, theirs: str, *, floor: float | None = None) -> None:
    ratios = [rates[ours] / rates[theirs] for rates in measured]
    figure(name, value=median(ratios), unit="×", op=">=", floor=floor, samples=ratios)
