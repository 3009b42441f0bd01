"""A log as it stood at a position, as `telemetry.query` answers for it.

Knows engines and answers; knows no recipe. Invariant: whatever is asked of one pin is asked of the same rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pyarrow as pa

from telemetry.datasets.build import Pin
from telemetry.datasets.recipe import Parameter
from telemetry.log import EventLog
from telemetry.query.engine import Engine, Limits
from telemetry.query.views import Seen

BATCH_ROWS = 2048
"""DuckDB's own vector: a row may be a conversation of a MiB, and a batch of them lies in memory."""


@contextmanager
def pinned(
    log: EventLog, *, at: int | None, traces: str | None, limits: Limits, seen: Seen | None = None
) -> Iterator[Pin]:
    """`at`: a position, the log's last where left out. `traces`: where rows are kept in Parquet; what is not there yet
    is made of events, and `seen` hears of how many. Raises what `Engine` raises."""
    with Engine(log, traces=traces, as_of=at, limits=limits) as engine:

        @contextmanager
        def ask(sql: str, parameters: Mapping[str, Parameter]) -> Iterator[Iterator[pa.RecordBatch]]:
            with engine.ask(sql, parameters, repeatable=True, seen=seen) as answer:
                yield answer.batches(BATCH_ROWS)

        yield Pin(log.id, engine.as_of, ask)
