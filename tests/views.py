"""Views of a log's rows as a dataset's query asks for them: tables in a DuckDB of the test's own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Self

import duckdb
import pyarrow as pa

from telemetry.datasets.build import Pin
from telemetry.datasets.recipe import Parameter
from telemetry.log import EventLog
from telemetry.query.rows.tables import rows_of

LOG = "0" * 32
AT = 7


class Views:
    """`batch` is how many rows come at once."""

    def __init__(self, *, threads: int = 2, batch: int = 300, **tables: pa.Table) -> None:
        self._connection = duckdb.connect(":memory:", config={"threads": threads})
        self._batch = batch
        for name, table in tables.items():
            self._connection.register(name, table)

    @classmethod
    def of(cls, log: EventLog, *, threads: int = 2, batch: int = 300) -> Self:
        """Every kind of row that follows from the log as it stands."""
        return cls(threads=threads, batch=batch, **rows_of(log, after=0))

    @contextmanager
    def ask(self, sql: str, parameters: Mapping[str, Parameter]) -> Iterator[Iterator[pa.RecordBatch]]:
        asked = {name: value for name, value in parameters.items() if f"${name}" in sql}
        reader = self._connection.sql(sql, params=asked or None).to_arrow_reader(self._batch)
        yield itertools.chain(reader, [pa.RecordBatch.from_pylist([], schema=reader.schema)])

    @property
    def pin(self) -> Pin:
        return Pin(LOG, AT, self.ask)


def sessions_table(
    names: list[str],
    *,
    roots: Mapping[str, str] | None = None,
    purposes: Mapping[str, str] | None = None,
    subjects: Mapping[str, str] | None = None,
) -> pa.Table:
    """What building asks of the view `sessions`."""
    return pa.table(
        {
            "session": names,
            "root": [(roots or {}).get(name, name) for name in names],
            "purpose": pa.array([(purposes or {}).get(name) for name in names], pa.string()),
            "subject": pa.array([(subjects or {}).get(name) for name in names], pa.string()),
        }
    )


def moves_table(names: list[str], *, each: int) -> pa.Table:
    """`each` rows a session, of several types, some of them null."""
    rows = [(name, step) for step in range(each) for name in names]
    return pa.table(
        {
            "session": [name for name, _ in rows],
            "sources": [[f"session/{name}@{step * 2 + 1}", f"session/{name}@{step * 2 + 2}"] for name, step in rows],
            "step": [step for _, step in rows],
            "reward": [step / 7 for _, step in rows],
            "seen": pa.array([[step, step + 0.5] for _, step in rows], pa.list_(pa.float32())),
            "action": [f'{{"kind":"move","to":{step}}}' for _, step in rows],
            "outcome": [("succeeded", "failed", None)[step % 3] for _, step in rows],
        }
    )
