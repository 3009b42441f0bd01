"""The views of a question: one a kind of rows, over Parquet and over what came since.

Knows where rows lie and up to where; knows nothing of what is asked. Invariant: a view holds the rows whose position is
at most `as_of`, each once. A row's position is that of the last event it follows from, and it is never changed, so the
rows of a past moment are those that were there then."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final, TypeAlias, TypeVar

import duckdb
import pyarrow as pa

from telemetry.events import Recorded
from telemetry.log import EventLog
from telemetry.query.rows.catalogue import KINDS
from telemetry.query.rows.fold import Fold
from telemetry.query.rows.kinds import FLAG, INT, REAL, SEED, TEXT, TIME, Kind, Type
from telemetry.query.rows.story import Row
from telemetry.query.rows.tables import table
from telemetry.query.stored import Stored, Stretch

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
        self._made: dict[str, frozenset[str] | None] = {}
        connection.execute(f"CREATE SCHEMA {TAIL}")

    @property
    def from_log(self) -> int:
        """Events that are not in Parquet up to `as_of`, whose rows are made from the log."""
        return self._as_of - self._after

    def files(self, kinds: Iterable[str], streams: Mapping[str, frozenset[str]]) -> list[str]:
        """Paths of the Parquet files that views are made of."""
        return [path for kind in kinds for path in self._paths(kind, streams.get(kind))]

    def make(
        self,
        kinds: Iterable[str],
        *,
        streams: Mapping[str, frozenset[str]] | None = None,
        seen: Seen | None = None,
    ) -> None:
        """Those that are not there yet. `streams`: the only ones that are asked of a kind; what the view holds of
        others is anything then. Raises what DuckDB raises, `InvalidEvent`, and what reading the log raises."""
        only = {kind: (streams or {}).get(kind) for kind in kinds}
        missing = {
            kind: streams_
            for kind, streams_ in only.items()
            if kind not in self._made or self._made[kind] not in (None, streams_)
        }
        tail = bool(missing) and self._fill(missing, seen)
        for kind, streams_ in missing.items():
            self._connection.execute(
                f"CREATE OR REPLACE VIEW {kind} AS {self._select(KINDS[kind], streams_, tail=tail)}"
            )
            self._made[kind] = streams_

    def _fill(self, kinds: Mapping[str, frozenset[str] | None], seen: Seen | None) -> bool:
        """Makes rows of what is not in Parquet; False where there are none, and no table of them."""
        if not self.from_log and self._stored is not None and all(self._paths(kind, kinds[kind]) for kind in kinds):
            return False
        for kind in kinds:
            self._insert(f"CREATE OR REPLACE TABLE {TAIL}.{kind} AS", kind, [])
        fold = Fold(self._log, kinds=tuple(kinds))
        done = 0
        for events in _stretches(self._events(list(kinds.values())), STRETCH):
            fold.add(events)
            for kind, rows in fold.take().items():
                if rows:
                    self._insert(f"INSERT INTO {TAIL}.{kind}", kind, rows)
            done += len(events)
            if seen is not None and None in kinds.values():
                seen(done, self.from_log)
        return True

    def _events(self, streams: Sequence[frozenset[str] | None]) -> Iterator[Recorded]:
        """What is not in Parquet: all, or of the streams that any kind is asked of."""
        if None in streams:
            yield from self._log.read_all(after=self._after, to=self._as_of)
            return
        for stream in sorted(frozenset().union(*(one for one in streams if one is not None))):
            for event in self._log.read(stream, after=_shared(self._log, stream)):
                if event.position > self._as_of:
                    break
                if event.position > self._after:
                    yield event

    def _insert(self, command: str, kind: str, rows: list[Row]) -> None:
        self._connection.register("made", table(kind, rows))
        self._connection.execute(f"{command} FROM made")
        self._connection.unregister("made")

    def _select(self, kind: Kind, streams: frozenset[str] | None, *, tail: bool) -> str:
        columns = ", ".join(column.name for column in kind.columns)
        parts = [f"SELECT {columns} FROM {TAIL}.{kind.name}"] if tail else []
        if files := self._paths(kind.name, streams):
            paths = ", ".join(map(quoted, files))
            parts.append(
                f"SELECT {columns} FROM read_parquet([{paths}], hive_partitioning = false)"
                f" WHERE position <= {self._as_of}"
            )
        return " UNION ALL ".join(parts)

    def _paths(self, kind: str, streams: frozenset[str] | None) -> list[str]:
        if self._stored is None:
            return []
        stretches = None if streams is None else [found for one in streams for found in stretch_of(self._log, one)]
        return self._stored.files(kind, to=self._as_of, stretches=stretches)


def stretch_of(log: EventLog, stream: str) -> Iterator[Stretch]:
    """Where the stream's own events stand, which is where all its rows do; none for one that never was. From the
    beginning of the log where its first ones were archived and removed: Parquet may hold the rows of those."""
    head, removed = log.head(stream), log.removed(stream)
    if removed is not None:
        yield Stretch(stream, 0, max(log.position() if head is None else head.position, 0))
    elif head is not None:
        shared = _shared(log, stream)
        first = next(log.read(stream, after=shared, to=shared + 1), None)
        yield Stretch(stream, 0 if first is None else first.position, head.position)


def _shared(log: EventLog, stream: str) -> int:
    """Up to which version a stream's events are its ancestors', or are not there any more."""
    origin, removed = log.origin(stream), log.removed(stream)
    return max(0 if origin is None else origin.at_version, 0 if removed is None else removed.version)


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
