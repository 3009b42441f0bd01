"""Snapshots of a PostgreSQL log: a table in the same database. They are a cache, which may be emptied at any time."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg

from telemetry.errors import LogUnwritable
from telemetry.log.postgres.blobs import Statement
from telemetry.log.postgres.connect import Server

PUT = """INSERT INTO snapshots (stream, version, content) VALUES (%s, %s, %s)
ON CONFLICT (stream, version) DO UPDATE SET content = excluded.content"""
VERSIONS = "SELECT version FROM snapshots WHERE stream = %s AND version <= %s ORDER BY version DESC"
CONTENT = "SELECT content FROM snapshots WHERE stream = %s AND version = %s"


class PostgresSnapshots:
    """`SnapshotStore` over statements that wait for a server that restarts."""

    def __init__(self, server: Server, statement: Statement) -> None:
        self._server = server
        self._statement = statement

    def put(self, stream: str, version: int, content: bytes) -> None:
        try:
            self._statement(PUT, (stream, version, content))
        except psycopg.Error as error:
            raise LogUnwritable(
                f"a snapshot of {stream} of {len(content):,} bytes could not be stored: {self._server.words(error)} "
                f"({self._server.name}). The log has all it needs without it."
            ) from None

    def newest(self, stream: str, *, to: int) -> Iterator[tuple[int, bytes]]:
        for (version,) in self._statement(VERSIONS, (stream, to)):
            for (content,) in self._statement(CONTENT, (stream, int(version))):
                assert isinstance(content, bytes)
                yield int(version), content

    def drop(self, stream: str | None) -> None:
        try:
            if stream is None:
                self._statement("DELETE FROM snapshots", ())
            else:
                self._statement("DELETE FROM snapshots WHERE stream = %s", (stream,))
        except psycopg.Error as error:
            raise LogUnwritable(f"snapshots in {self._server.name} stay: {self._server.words(error)}.") from None
