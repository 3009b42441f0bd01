"""The canonical form of rows: one line of JSON each, keys sorted, and a newline.

Knows DuckDB's JSON; knows nothing of files or of where rows come from. Invariant: equal rows have equal lines, whatever
batches they come in and however many threads write them. The digest of a dataset is the SHA-256 of its lines in the
dataset's order, which is what `sha256sum` says of its JSON Lines files one after the other."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Collection

import duckdb
import numpy as np
import pyarrow as pa

from telemetry.datasets.rows import Lines, finite
from telemetry.errors import RecipeRefused
from telemetry.events.values import Digest

FORM = "canonical-json-lines/1"
"""The name of this form; another form has another name, and other digests."""


class Canonical:
    """Writes rows of `schema` as lines. May be called from several threads at once."""

    def __init__(self, schema: pa.Schema, *, json_fields: Collection[str]) -> None:
        self._names = schema.names
        cells = ", ".join(
            f"{_text(name)}: {quoted(name)}{'::JSON' if name in json_fields else ''}" for name in sorted(schema.names)
        )
        self._sql = f"to_json({{{cells}}})::VARCHAR || chr(10)"
        self._json = tuple(json_fields)
        self._own = threading.local()

    def lines(self, batch: pa.RecordBatch) -> Lines:
        """Raises `RecipeRefused` for what JSON cannot hold."""
        for name, column in zip(self._names, batch.columns, strict=True):
            if not finite(column):
                raise RecipeRefused(
                    f"the field {name!r} holds NaN or infinity, which no JSON can hold. Nothing was written. Let the "
                    f"query say what is meant: CASE WHEN isfinite({name}) THEN {name} END gives nulls"
                )
        try:
            found = self._connection().from_arrow(batch).project(f"{self._sql} AS line").to_arrow_table()
        except (duckdb.ConversionException, duckdb.InvalidInputException) as error:
            raise RecipeRefused(
                f"a row cannot be written as JSON: {error}. Nothing was written. The recipe's `json_fields` "
                f"({', '.join(self._json)}) must be columns of JSON text"
            ) from error
        lines = found.column("line").combine_chunks()
        lines = lines.chunk(0) if isinstance(lines, pa.ChunkedArray) else lines
        ends = np.frombuffer(lines.buffers()[1], dtype=np.int64)[lines.offset : lines.offset + len(lines) + 1]
        return Lines(lines.buffers()[2], ends)

    def _connection(self) -> duckdb.DuckDBPyConnection:
        """One a thread: a connection runs one query at a time."""
        if not hasattr(self._own, "connection"):
            self._own.connection = connected()
        found: duckdb.DuckDBPyConnection = self._own.connection
        return found


class Digesting:
    """The digest of a dataset as its lines come."""

    def __init__(self) -> None:
        self._sha = hashlib.sha256()

    def add(self, lines: Lines) -> None:
        self._sha.update(lines.bytes)

    @property
    def digest(self) -> Digest:
        return self._sha.hexdigest()


def connected() -> duckdb.DuckDBPyConnection:
    """A DuckDB that holds nothing and turns Arrow into other Arrow, in the thread that asks."""
    connection = duckdb.connect(":memory:", config={"threads": 1})
    connection.execute("SET TimeZone = 'UTC'; SET arrow_large_buffer_size = true")
    return connection


def quoted(name: str) -> str:
    """A name in SQL."""
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def _text(value: str) -> str:
    doubled = value.replace("'", "''")
    return f"'{doubled}'"
