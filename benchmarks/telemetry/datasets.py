"""How fast a dataset is built from rows in Parquet, beside DuckDB's own `COPY` of the same query, and whether other
threads give the same digest.

The log is one recorded session again and again. Measured is all of a build: query, order, splits, canonical lines,
digest, counts, Parquet, manifest and card, on disk when it ends. `COPY` writes the query's rows to one Parquet file, in
whatever order, and does nothing else."""

from __future__ import annotations

import os
import shutil
import statistics
import time
from contextlib import closing
from pathlib import Path
from typing import Final

import duckdb

from benchmarks.report import figure, progress, short
from benchmarks.telemetry.filled import workplace
from benchmarks.telemetry.lives import live
from telemetry.datasets.build import build
from telemetry.datasets.manifest import Manifest
from telemetry.datasets.pinned import pinned
from telemetry.datasets.recipe import Recipe, parse, shipped
from telemetry.log import EventLog, open_log
from telemetry.query.engine import Limits
from telemetry.query.traces.writer import Traces

AREA: Final = "bench-telemetry"
EVENTS: Final = Recipe(
    name="events",
    query="""
    SELECT session, [event] AS events, version, cycle, type, phase, command, ordinal, elapsed_ns, cause, payload
    FROM events WHERE session IS NOT NULL
    """,
    json_fields=("payload",),
    classes=("phase",),
)
"""A row an event, with its payload: as many rows as the log has events."""

LEAST_ROWS_PER_S: Final = 200_000
ROUNDS: Final = 3


def main() -> None:
    """Reports `dataset_rows_per_s` and `rebuild_same_digest`."""
    with workplace() as folder, closing(open_log(str(folder / "log.db"))) as log:
        progress(AREA, "datasets: a log, and its rows in Parquet")
        live(log, events=100_000 if short() else 1_000_000)
        traces = folder / "traces"
        with Traces(log, traces) as writer:
            writer.drain(to=log.position())
        _speed(log, traces, folder)
        _same(log, traces, folder)


def _speed(log: EventLog, traces: Path, folder: Path) -> None:
    ours, copies, moves = [], [], []
    transitions = parse(shipped()["world-modelling"].read_text(encoding="utf-8"))
    for number in range(ROUNDS):
        progress(AREA, f"datasets: round {number + 1} of {ROUNDS}")
        seconds, made = _built(log, traces, EVENTS, folder / "events")
        ours.append(made.rows / seconds)
        copies.append(made.rows / _copied(traces, folder / "copy.parquet"))
        seconds, made = _built(log, traces, transitions, folder / "moves")
        moves.append(made.rows / seconds)
    over = [one / other for one, other in zip(ours, copies, strict=True)]
    _figure("dataset_rows_per_s", ours, unit="rows/s", floor=LEAST_ROWS_PER_S)
    _figure("dataset_over_copy", over, unit="×")
    _figure("dataset_transitions_per_s", moves, unit="rows/s")


def _figure(name: str, samples: list[float], *, unit: str, floor: float | None = None) -> None:
    figure(name, value=statistics.median(samples), unit=unit, op=">=", floor=floor, samples=samples)


def _same(log: EventLog, traces: Path, folder: Path) -> None:
    recipes = [EVENTS, *(parse(path.read_text(encoding="utf-8")) for path in shipped().values())]
    same = []
    for recipe in recipes:
        progress(AREA, f"datasets: {recipe.name} on 1, 2 and 4 threads")
        digests = {_built(log, traces, recipe, folder / "again", threads=threads)[1].digest for threads in (1, 2, 4)}
        same.append(float(len(digests) == 1))
    figure("rebuild_same_digest", value=min(same), unit="of 1", op=">=", floor=1, samples=same)


def _built(
    log: EventLog, traces: Path, recipe: Recipe, out: Path, *, threads: int | None = None
) -> tuple[float, Manifest]:
    """Seconds of a whole build, and what it says of itself; the folder is gone again."""
    threads = threads or os.cpu_count() or 1
    began = time.perf_counter()
    with pinned(log, at=None, traces=str(traces), limits=Limits(threads=threads)) as pin:
        made = build(recipe, pin, out=out, threads=threads).manifest
    seconds = time.perf_counter() - began
    shutil.rmtree(out)
    return seconds, made


def _copied(traces: Path, out: Path) -> float:
    """Seconds that DuckDB's `COPY` takes for the query of EVENTS."""
    began = time.perf_counter()
    with duckdb.connect() as connection:
        files = f"read_parquet('{traces}/events/**/*.parquet', hive_partitioning = false)"
        query = EVENTS.query.replace("FROM events", f"FROM {files}")
        connection.execute(f"COPY ({query}) TO '{out}' (FORMAT parquet, COMPRESSION zstd)")
    seconds = time.perf_counter() - began
    out.unlink()
    return seconds
