"""An answer, read while it is found.

Knows a bound question and Arrow batches; knows nothing of how the views were made. Invariant: at most `READ_AHEAD`
batches wait for the reader; whoever waits can be interrupted, and the question stops then."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final, TypeAlias

import duckdb
import pyarrow as pa

from telemetry.errors import QueryStopped, TelemetryError
from telemetry.query.shape import Shape

BATCH_ROWS: Final = 16_384
"""Rows of a batch where nobody says otherwise: an event's payload takes up to some KiB."""

READ_AHEAD: Final = 2

_LOOK_S: Final = 0.05
"""How often the finder looks whether anybody still waits, and whoever stops it whether it has stopped."""


Explain: TypeAlias = "Callable[[Exception], TelemetryError]"
"""Turns what DuckDB raised, or Arrow for it, into what is raised here."""


class Answer:
    """A context. Its rows are found by a thread of their own, so that the one who waits for them can be interrupted.
    Not for several threads at once, except `cancel`."""

    def __init__(
        self,
        relation: duckdb.DuckDBPyRelation,
        connection: duckdb.DuckDBPyConnection,
        *,
        as_of: int,
        views: tuple[str, ...],
        from_log: int,
        explain: Explain,
        close: Callable[[], None],
    ) -> None:
        self.as_of = as_of
        """Position of the log that it is true of."""
        self.views = views
        """Which it is from."""
        self.from_log = from_log
        """Events up to `as_of` that are not in Parquet: rows were made of them, or of those of the session asked of."""
        self._shape = Shape(relation.columns, [str(type_) for type_ in relation.types])
        self.columns = self._shape.columns
        self._relation = relation
        self._connection = connection
        self._explain = explain
        self._close = close
        self._closed = False
        self._stop = threading.Event()
        self._found: queue.Queue[pa.RecordBatch | Exception | None] = queue.Queue(READ_AHEAD)
        self._finder: threading.Thread | None = None

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def batches(self, rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """Once, in the order that the question asks for, each of up to so many rows; at least one, which may be empty.

        Raises `InvalidQuery` for what only shows in the rows, such as a text that is no number, `QueryTooLarge`, and
        `QueryStopped` after `cancel`."""
        assert self._finder is None, "an answer is read once"
        self._finder = threading.Thread(target=self._find, args=(rows,), name="aether-query", daemon=True)
        self._finder.start()
        try:
            while not self._closed and (found := self._next()) is not None:
                if isinstance(found, Exception):
                    raise found
                yield found
        finally:
            self._halt()

    def _next(self) -> pa.RecordBatch | Exception | None:
        while True:
            with suppress(queue.Empty):
                return self._found.get(timeout=_LOOK_S)
            if self._stop.is_set():
                self._connection.interrupt()  # what began after `cancel` has not heard it

    def read(self) -> pa.Table:
        """All of it, in memory."""
        return pa.Table.from_batches(self.batches())

    def cancel(self) -> None:
        """Stops it, from any thread; whoever reads gets `QueryStopped`."""
        self._stop.set()
        self._connection.interrupt()

    def close(self) -> None:
        """Stops it and lets go of all that was put aside. May be called twice."""
        self._halt()
        if not self._closed:
            self._closed = True
            self._close()

    def _halt(self) -> None:
        self._stop.set()
        while self._finder is not None and self._finder.is_alive():
            self._connection.interrupt()  # heard only by what runs at that moment
            self._finder.join(_LOOK_S)

    def _find(self, rows: int) -> None:
        error: Exception | None = None
        try:
            with self._relation.to_arrow_reader(rows) as reader:
                handed = False
                for batch in reader:
                    if batch.num_rows:
                        handed = True
                        if not self._hand(self._shape(batch)):
                            break
                if not handed:
                    self._hand(self._shape(pa.RecordBatch.from_pylist([], schema=reader.schema)))
        except (duckdb.Error, pa.ArrowException, OSError) as raised:
            error = self._explain(raised)
        except Exception as raised:  # noqa: BLE001 - raised where the answer is read, or it would seem to end here
            error = raised
        self._end(QueryStopped("the query was stopped") if self._stop.is_set() else error)

    def _hand(self, found: pa.RecordBatch) -> bool:
        """False where nobody waits for it any more."""
        while not self._stop.is_set():
            with suppress(queue.Full):
                self._found.put(found, timeout=_LOOK_S)
                return True
        return False

    def _end(self, error: Exception | None) -> None:
        """In place of what still waits, where it was stopped."""
        while True:
            with suppress(queue.Full):
                self._found.put(error, timeout=_LOOK_S)
                return
            if self._stop.is_set():
                with suppress(queue.Empty):
                    self._found.get_nowait()
