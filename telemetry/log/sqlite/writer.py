"""The SQLite side of the writer's thread: a group is one transaction, an append one savepoint in it.

Knows statements and how SQLite fails; what may be appended, `decide` knows.
Invariant: what `commit` acknowledges is in the WAL and synced."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from telemetry.errors import LogDamaged, LogError, LogUnwritable
from telemetry.log.decide import Group
from telemetry.log.forks import hash_at_cut
from telemetry.log.lineage import Origin
from telemetry.log.retention.removed import removed_of
from telemetry.log.rows import COLUMNS, HEAD, LAST_POSITION, SELECT, Row
from telemetry.log.store import Head
from telemetry.log.writer import Outcome, Pending, Upkeep, what_of

INSERT = f"INSERT INTO events VALUES ({', '.join('?' * len(COLUMNS))})"

COMMAND = f"{SELECT} WHERE stream = ? AND command = ? AND ordinal = ?"


class SqliteCommitter:
    """Owns `connection`; `committed` hears of the last position of each group that kept its events."""

    def __init__(self, path: Path, connection: sqlite3.Connection, *, committed: Callable[[int], None]) -> None:
        self._path = path
        self._connection = connection
        self._committed = committed
        self._heads: dict[str, Head] = {}
        self._position: int | None = None

    def commit(self, group: list[Pending]) -> list[Outcome]:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            if self._position is None:
                self._position = int(self._rows(LAST_POSITION, ())[0][0])
            deciding = Group(self._heads, self, position=self._position)
            outcomes = [deciding.take(append) for append in group]
            self._connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - whatever it is, no future may be lost
            self._forget()
            return [self._refusal(error, append) for append in group]
        deciding.committed()
        self._position = deciding.position
        self._committed(self._position)
        return outcomes

    def upkeep(self, upkeep: Upkeep) -> Outcome:
        tables = SqliteTables(self._connection)
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            outcome = upkeep.order(tables)
            self._connection.execute("ROLLBACK" if isinstance(outcome, LogError) else "COMMIT")
            self._forget()
            if isinstance(outcome, LogError):
                return outcome
        except Exception as error:  # noqa: BLE001 - whatever it is, no future may be lost
            self._forget()
            return self._refusal(error, upkeep)
        self._committed(outcome.position)
        return (outcome,)

    def close(self) -> None:
        """Folds the WAL into the file."""
        with suppress(sqlite3.Error):  # a full disk keeps the WAL, and with it every event
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()

    def head(self, stream: str) -> Head | None:
        row = self._connection.execute(HEAD, (stream,)).fetchone()
        if row:
            return Head(*row)
        removed = removed_of(self._rows, stream)
        return removed and removed.head

    def command(self, stream: str, command: str, ordinal: int) -> Row | None:
        row: Row | None = self._connection.execute(COMMAND, (stream, command, ordinal)).fetchone()
        return row

    def cut(self, stream: str, origin: Origin) -> bytes | LogError:
        return hash_at_cut(self._rows, stream, origin)

    def _rows(self, query: str, values: Sequence[str | int]) -> list[Row]:
        return self._connection.execute(query, values).fetchall()

    def keep(self, rows: list[Row]) -> bool:
        self._connection.execute("SAVEPOINT append")
        try:
            self._connection.executemany(INSERT, rows)
        except sqlite3.IntegrityError:
            self._connection.execute("ROLLBACK TO append")
            if not any(self._connection.execute(COMMAND, (row[1], row[5], row[6])).fetchone() for row in rows):
                raise
            return False
        finally:
            if self._connection.in_transaction:  # a full disk may have rolled everything back
                self._connection.execute("RELEASE append")
        return True

    def _forget(self) -> None:
        """After a failure only the file knows where the streams end."""
        self._heads.clear()
        self._position = None
        with suppress(sqlite3.Error):  # the next BEGIN says what is wrong, to those who wait for it
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def _refusal(self, error: Exception, append: Pending | Upkeep) -> LogError:
        if isinstance(error, LogError):
            return error
        if isinstance(error, sqlite3.OperationalError):
            refusal: LogError = LogUnwritable(
                f"{self._path} takes no more events: {error}. Nothing of {what_of(append)} was kept; "
                "all acknowledged events are intact. Make room, then append again."
            )
        else:
            refusal = LogDamaged(
                f"{self._path} failed: {error!r}. Nothing of {what_of(append)} was kept. Try: aether log verify"
            )
        refusal.__cause__ = error
        return refusal


class SqliteTables:
    """`Tables` inside a transaction of `connection`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def rows(self, query: str, values: Sequence[str | int]) -> list[Row]:
        return self._connection.execute(query, values).fetchall()

    def run(self, statement: str, values: Sequence[str | int | bytes]) -> int:
        return self._connection.execute(statement, values).rowcount

    def insert(self, rows: Sequence[Row]) -> bool:
        self._connection.execute("SAVEPOINT upkeep")
        try:
            self._connection.executemany(INSERT, rows)
        except sqlite3.IntegrityError:
            self._connection.execute("ROLLBACK TO upkeep")
            return False
        finally:
            if self._connection.in_transaction:  # a full disk may have rolled everything back
                self._connection.execute("RELEASE upkeep")
        return True
