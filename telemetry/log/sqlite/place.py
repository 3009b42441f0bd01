"""`Place` on SQLite: a file of its own beside the log, or memory.

Knows a file and how it fails; knows no log."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from telemetry.errors import LogUnwritable
from telemetry.log.projection.place import Cell, Damaged, Rows

BUSY_S = 10.0
"""How long a transaction waits for another process' to end; one is a batch, which takes well below a second."""

PAUSE_S = 0.01
"""Between two tries to be let in, where SQLite itself does not wait."""

UNREADABLE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
UNWRITABLE = {
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
}


class SqliteRows:
    """`Rows` over one connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, statement: str, values: Sequence[Cell] = ()) -> list[tuple[Cell, ...]]:
        return self._connection.execute(statement, values).fetchall()


class SqlitePlace:
    """`Place` in the file `path`, or in memory. `synchronous=NORMAL`: a power cut may take the last transactions, rows
    and cursor alike, and they are made again."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    @contextmanager
    def write(self) -> Iterator[SqliteRows]:
        with self._transaction("BEGIN IMMEDIATE") as rows:
            yield rows

    @contextmanager
    def read(self) -> Iterator[SqliteRows]:
        with self._transaction("BEGIN") as rows:
            yield rows

    def tables(self, rows: Rows) -> list[str]:
        return [str(name) for (name,) in rows.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]

    def discard(self) -> None:
        self.close()
        if self._path is not None:
            for suffix in ("", "-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[SqliteRows]:
        try:
            connection = self._connection or self._connect()
            connection.execute(begin)
            try:
                yield SqliteRows(connection)
                connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # SQLite has rolled back by itself
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.DatabaseError as error:
            self._explain(error)
            raise

    def _connect(self) -> sqlite3.Connection:
        if self._path is not None:
            try:
                self._path.parent.mkdir(exist_ok=True)
            except OSError as error:
                raise LogUnwritable(f"{self._path} cannot be made: {error.strerror}") from error
        connection = sqlite3.connect(self._path or ":memory:", timeout=BUSY_S, isolation_level=None)
        try:
            _keep_a_wal(connection)
            connection.execute("PRAGMA synchronous = NORMAL")
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _explain(self, error: sqlite3.DatabaseError) -> None:
        """Raises what `error` means where it is the file's fault."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte is the kind
        if code in UNREADABLE:
            raise Damaged(
                f"{self._path} cannot be read: {error}. The log is intact; remove that file and it is made again"
            ) from error
        if code in UNWRITABLE:
            raise LogUnwritable(f"{self._path} cannot be written: {error}. The log is intact") from error


def _keep_a_wal(connection: sqlite3.Connection) -> None:
    """Several may come to a new file at once, and SQLite does not wait where two of them would for one another."""
    until = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(PAUSE_S)
        else:
            return
