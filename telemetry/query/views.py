"""The views of a question: one a kind of rows, over Parquet and over what came since.

Knows where rows lie and up to where; knows nothing of what is asked. Invariant: a view holds the rows whose position is
at most `as_of`, each once. A row's position is that of the last event it follows from, and it is never changed, so the
rows of a past moment are those that were there then."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Final, TypeAlias, TypeVar

import duckdb
import pyarrow as pa

from telemetry.log import EventLog
from telemetry.query.rows.catalogue import KINDS
from telemetry.query.rows.fold import Fold
from telemetry.query.rows.kinds import FLAG, INT, REAL, SEED, TEXT, TIME, Kind, Type
from telemetry.query.rows.story import Row
from telemetry.query.rows.tables import table
from telemetry.query.stored import Stored

Seen: TypeAlias = "Callable[[int, int], None]"
"""Hears how many events have been made into rows, of how many."""

T = TypeVar("T")

STRETCH: Final = 5_000
"""Events that are made into rows before these are handed to DuckDB, which keeps them within its memory or on disk."""

TAIL: Final = "tail"
"""The schema of what is not in Parquet; no question can name it."""

TYPES: Final[Mapping[Type, str]] = {
    TEXT: "VARCHAR",
    INT: "BIGINT",
    SEED: "UBIGINT",
    REAL: "DOUBLE",
    pa.float32(): "FLOAT",
    FLAG: "BOOLEAN",
    TIME: "TIMESTAMP",
}


class Views:
    def __init__(
        self, connection: duckdb.DuckDBPyConnection, log: EventLog, stored: Stored | None, *, as_of: int
    ) -> None:
        self._connection = connection
        self._log = log
        self._stored = stored
        self._as_of = as_of
        self._after = 0 if stored is None else min(stored.position, as_of)
        self._made: set[str] = set()
        connection.execute(f"CREATE SCHEMA {TAIL}")

    @property
    def from_log(self) -> int:
        """Events that are not in Parquet up to `as_of`, whose rows are made from the log."""
        return self._as_of - self._after

    def make(self, kinds: Iterable[str], *, seen: Seen | None = None) -> None:
        """Those that are not there yet. Raises what DuckDB raises, `InvalidEvent`, and what reading the log raises."""
        missing = [kind for kind in kinds if kind not in self._made]
        if not missing:
            return
        for kind in missing:
            self._insert(f"CREATE OR REPLACE TABLE {TAIL}.{kind} AS", kind, [])
        if self.from_log:
            self._fill(missing, seen)
        for kind in missing:
            self._connection.execute(f"CREATE OR REPLACE VIEW {kind} AS {self._select(KINDS[kind])}")
            self._made.add(kind)

    def _fill(self, kinds: list[str], seen: Seen | None) -> None:
        fold = Fold(self._log, kinds=kinds)
        done = 0
        for events in _stretches(self._log.read_all(after=self._after, to=self._as_of), STRETCH):
            fold.add(events)
            for kind, rows in fold.take().items():
                if rows:
                    self._insert(f"INSERT INTO {TAIL}.{kind}", kind, rows)
            done += len(events)
            if seen is not None:
                seen(done, self.from_log)

    def _insert(self, command: str, kind: str, rows: list[Row]) -> None:
        self._connection.register("made", table(kind, rows))
        self._connection.execute(f"{command} FROM made")
        self._connection.unregister("made")

    def _select(self, kind: Kind) -> str:
        columns = ", ".join(column.name for column in kind.columns)
        parts = [f"SELECT {columns} FROM {TAIL}.{kind.name}"]
        files = [] if self._stored is None else self._stored.files(kind.name, to=self._as_of)
        if files:
            paths = ", ".join(map(quoted, files))
            parts.append(
                f"SELECT {columns} FROM read_parquet([{paths}], hive_partitioning = false)"
                f" WHERE position <= {self._as_of}"
            )
        return " UNION ALL ".join(parts)


def type_in_sql(type_: Type) -> str:
    """DuckDB's name of it."""
    if pa.types.is_list(type_):
        return f"{type_in_sql(type_.value_type)}[]"
    return TYPES[type_]


def quoted(text: str) -> str:
    """As a text in SQL."""
    return "'" + text.replace("'", "''") + "'"


def _stretches(items: Iterator[T], size: int) -> Iterator[list[T]]:
    while found := list(islice(items, size)):
        yield found
