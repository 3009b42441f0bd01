"""`Place` on PostgreSQL: a schema of its own in the log's database, so that hosts share one set of rows.

Knows schemas and how a server fails; knows no log. Text is compared by its bytes, as SQLite does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache

import psycopg
from psycopg import errors, sql

from telemetry.errors import LogUnreachable, LogUnwritable
from telemetry.log.postgres.connect import PATIENCE_S, Connection, Patience, Server, passing
from telemetry.log.projection.place import Cell, Damaged, Lost, Rows

SHARED = """SET LOCAL synchronous_commit = off; SET LOCAL idle_in_transaction_session_timeout = '60s'"""
"""A crash may take the last transactions, rows and cursor alike, and they are made again. Readers take their time."""

UNWRITABLE = (psycopg.OperationalError, psycopg.InternalError, errors.InsufficientPrivilege)


class PostgresRows:
    """`Rows` over one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def execute(self, statement: str, values: Sequence[Cell] = ()) -> list[tuple[Cell, ...]]:
        cursor = self._connection.execute(_translated(statement), values, binary=True)
        return list(cursor.fetchall()) if cursor.description is not None else []


class PostgresPlace:
    """`Place` in the schema `schema` of the database at `url`."""

    def __init__(self, url: str, schema: str) -> None:
        assert len(schema) < 64, "the server would cut the name off"
        self._server = Server(url)
        self._schema = sql.Identifier(schema)
        self._name = schema
        self._connection: Connection | None = None

    @contextmanager
    def write(self) -> Iterator[PostgresRows]:
        with self._transaction("BEGIN") as connection:
            connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (self._name,))
            connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(self._schema))
            yield PostgresRows(connection)

    @contextmanager
    def read(self) -> Iterator[PostgresRows]:
        with self._transaction("BEGIN ISOLATION LEVEL REPEATABLE READ") as connection:
            yield PostgresRows(connection)

    def tables(self, rows: Rows) -> list[str]:
        found = rows.execute("SELECT tablename::text FROM pg_tables WHERE schemaname = ?", (self._name,))
        return [str(name) for (name,) in found]

    def discard(self) -> None:
        with self._transaction("BEGIN") as connection:
            connection.execute("SET LOCAL client_min_messages = warning")
            connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(self._schema))

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Connection]:
        connection = self._connected()
        try:
            connection.execute(begin)
            connection.execute(SHARED)
            connection.execute(sql.SQL("SET LOCAL search_path TO {}").format(self._schema))
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with suppress(psycopg.Error):  # the server has rolled back by itself
                    connection.execute("ROLLBACK")
                raise
        except (errors.DataCorrupted, errors.IndexCorrupted) as error:
            raise Damaged(
                f"{self._name} in {self._server.name} cannot be read: {self._server.words(error)}. The log is intact; "
                "drop that schema and it is made again"
            ) from None
        except psycopg.Error as error:
            if passing(error, connection):
                raise Lost(f"{self._server.name} ended a transaction: {self._server.words(error)}") from None
            if not isinstance(error, UNWRITABLE):
                raise
            raise LogUnwritable(
                f"{self._name} in {self._server.name} cannot be written: {self._server.words(error)}. The log is intact"
            ) from None

    def _connected(self) -> Connection:
        """Waits for a server that restarts. Raises `LogUnreachable` when that takes too long."""
        patience = Patience(PATIENCE_S)
        while self._connection is None or self._connection.closed:
            try:
                self._connection = self._server.connect()
            except LogUnreachable:
                if not patience.wait():
                    raise
        return self._connection


@lru_cache(maxsize=256)
def _translated(statement: str) -> str:
    if statement.startswith("CREATE TABLE"):
        statement = statement.replace(" TEXT", ' TEXT COLLATE "C"')
    return statement.replace("%", "%%").replace("?", "%s")
