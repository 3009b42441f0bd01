"""What stands in a PostgreSQL log, as its writer's thread sees it: from what a host remembers, or under the lock.

Knows rows and the statements that insert them; what may be appended, `decide` knows, and what is committed, its caller.
Invariant: what is remembered decides nothing that another host's writing could have changed, unless the unique
constraints refuse to insert it."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
from psycopg import errors

from telemetry.errors import LogError
from telemetry.log.forks import hash_at_cut
from telemetry.log.lineage import Origin
from telemetry.log.postgres.connect import Connection
from telemetry.log.retention.removed import removed_of
from telemetry.log.rows import COLUMNS, COMMAND, KINDS, ORDINAL, STREAM, Row
from telemetry.log.store import Head
from telemetry.log.verify import SYSTEM

_TYPES = {int: "bigint", str: "text", bytes: "bytea"}
_NAMES = ", ".join(f'"{name}"' for name in COLUMNS[1:])
_ARRAYS = ", ".join(f"%b::{_TYPES[kind]}[]" for kind in KINDS[1:])

INSERT = f"""WITH kept AS (
    INSERT INTO events (position, {_NAMES})
    SELECT last.position + place, {_NAMES}
    FROM unnest({_ARRAYS}) WITH ORDINALITY AS new ({_NAMES}, place),
        (SELECT coalesce(max(position), 0) AS position FROM events) AS last
    RETURNING position)
SELECT min(position) - 1 FROM kept"""
"""Inserts a column an array, and says after which position."""

INSERT_AT = f"""INSERT INTO events (position, {_NAMES})
SELECT position, {_NAMES} FROM unnest(%b::bigint[], {_ARRAYS}) AS given (position, {_NAMES})"""
"""The same, at positions that are given."""


class MustLook(Exception):
    """What this host remembers does not decide."""


class Remembered:
    """`Standing` without a look at the database: only streams whose ends are cached are decided. Where the cache is
    stale, because another host wrote, the stream's next version or the command is taken, and inserting fails."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def head(self, stream: str) -> Head | None:
        raise MustLook

    def command(self, stream: str, command: str, ordinal: int) -> Row | None:
        raise MustLook

    def cut(self, stream: str, origin: Origin) -> bytes | LogError:
        raise MustLook

    def keep(self, rows: list[Row]) -> bool:
        self.rows += rows
        return True


class Seen:
    """`Standing` as it is under the lock."""

    def __init__(self, connection: Connection, heads: list[Row], commands: list[Row]) -> None:
        self.rows: list[Row] = []
        self.inserted = 0
        """How many of `rows` are in the table already."""
        self._connection = connection
        self._heads = {str(row[0]): Head(*row) for row in heads}  # type: ignore[arg-type]  # columns of these types
        self._commands = {_command_of(row): row for row in commands}

    def head(self, stream: str) -> Head | None:
        found = self._heads.get(stream)
        if found is None and SYSTEM in self._heads:
            removed = removed_of(PostgresTables(self._connection).rows, stream)
            return removed and removed.head
        return found

    def command(self, stream: str, command: str, ordinal: int) -> Row | None:
        return self._commands.get((stream, command, ordinal))

    def cut(self, stream: str, origin: Origin) -> bytes | LogError:
        if self.rows[self.inserted :]:  # a fork may be cut off at an event of this group
            execute(self._connection, INSERT, columns_of(self.rows[self.inserted :]))
            self.inserted = len(self.rows)
        return hash_at_cut(PostgresTables(self._connection).rows, stream, origin)

    def keep(self, rows: list[Row]) -> bool:
        if any(_command_of(row) in self._commands for row in rows):
            return False
        self._commands.update((_command_of(row), row) for row in rows)
        self.rows += rows
        return True


class PostgresTables:
    """`Tables` inside a transaction of `connection` that holds the lock."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def rows(self, query: str, values: Sequence[str | int]) -> list[Row]:
        return execute(self._connection, query.replace("?", "%s"), values).fetchall()

    def run(self, statement: str, values: Sequence[str | int | bytes]) -> int:
        return execute(self._connection, statement.replace("?", "%s"), values).rowcount

    def insert(self, rows: Sequence[Row]) -> bool:
        execute(self._connection, "SAVEPOINT upkeep")
        try:
            execute(self._connection, INSERT_AT, [list(column) for column in zip(*rows, strict=True)])
        except errors.UniqueViolation:
            execute(self._connection, "ROLLBACK TO upkeep")
            return False
        return True


def columns_of(rows: list[Row]) -> list[list[int | str | bytes]]:
    """All but the position, a list a column."""
    return [list(column) for column in zip(*rows, strict=True)][1:] or [[] for _ in COLUMNS[1:]]


def _command_of(row: Row) -> tuple[str, str, int]:
    return str(row[STREAM]), str(row[COMMAND]), int(row[ORDINAL])


def execute(connection: Connection, statement: str, values: Sequence[object] | None = None) -> psycopg.Cursor[Row]:
    return connection.execute(statement, values, binary=True)  # ours, not a user's
