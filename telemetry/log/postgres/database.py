"""The shared store: tables in a PostgreSQL database, written by several hosts at once.

Knows what is opened and closed together; what a log of rows is, `stored` knows.
Invariant: `name` and every message hold no password."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from typing import Literal

import psycopg

from telemetry.errors import LogNotFound
from telemetry.log.postgres.blobs import PostgresBlobs
from telemetry.log.postgres.connect import READER, WRITER, Connection, Readers, Server, check_durable, identify, make
from telemetry.log.postgres.notify import Announcer, Listener
from telemetry.log.postgres.snapshots import PostgresSnapshots
from telemetry.log.postgres.writer import PostgresCommitter
from telemetry.log.rows import HEAD, Row
from telemetry.log.scan import verify_rows
from telemetry.log.seal import Seal
from telemetry.log.store import Each
from telemetry.log.stored import StoredLog
from telemetry.log.subscribe import Notice
from telemetry.log.verify import VerifyReport
from telemetry.log.writer import Writer

POLL_S = 0.5
"""How long a subscriber trusts silence before it looks: a notice comes within milliseconds, unless it is lost."""

HEADS = """WITH RECURSIVE named (stream, place) AS (
    (SELECT stream, 1 FROM events WHERE stream {compare} ? AND stream < ? ORDER BY stream LIMIT 1)
    UNION ALL
    SELECT next.stream, place + 1 FROM named CROSS JOIN LATERAL (
        SELECT stream FROM events WHERE stream > named.stream AND stream < ? ORDER BY stream LIMIT 1) AS next
    WHERE place < ?)
SELECT head.* FROM named CROSS JOIN LATERAL ({head}) AS head ORDER BY named.stream"""
"""Two look-ups by key a stream, however long the streams are."""


WRITERS = f"""SELECT DISTINCT substr(application_name, {len(WRITER) + 2}) FROM pg_stat_activity
WHERE datname = current_database() AND starts_with(application_name, '{WRITER} ') ORDER BY 1"""


def open_postgres(url: str, *, mode: Literal["write", "read"], create: bool) -> StoredLog:
    """`open_log` on a database."""
    return StoredLog(PostgresDatabase(url, mode=mode, create=create))


class PostgresDatabase:
    """`Database` on a server."""

    def __init__(self, url: str, *, mode: Literal["write", "read"], create: bool) -> None:
        self._server = Server(url)
        self.url = url
        self.name = self._server.name
        self.notice = Notice()
        self.writer: Writer | None = None
        self._announcer: Announcer | None = None
        self._listener: Listener | None = None
        self._following = threading.Lock()
        self._closed = False
        connection = self._server.connect(WRITER if mode == "write" else READER)
        try:
            self.id = self._identified(connection, create and mode == "write")
            if mode == "write":
                check_durable(connection, self.name)
        except BaseException:
            connection.close()
            raise
        self._readers = Readers(self._server, first=None if mode == "write" else connection)
        self.blobs = PostgresBlobs(self._server, self._readers.rows)
        self.snapshots = PostgresSnapshots(self._server, self._readers.rows)
        if mode == "write":
            self._announcer = Announcer(self._server, self.id)
            committer = PostgresCommitter(self._server, connection, committed=self._committed)
            self.writer = Writer(self.name, committer)

    def _identified(self, connection: Connection, create: bool) -> str:
        found = identify(connection, self.name)
        if found is None and create:
            found = make(connection, self._server)
        if found is None:
            raise LogNotFound(
                f"there is no log at {self.name}: the database holds none. Check the URL, or run "
                "something that writes one."
            )
        return found

    def _committed(self, position: int) -> None:
        assert self._announcer is not None, "who commits announces"
        self.notice.committed(position)
        self._announcer.committed(position)

    def rows(self, query: str, values: Sequence[str | int]) -> list[Row]:
        return self._readers.rows(query.replace("?", "%s"), values)

    def heads(self, bound: str, *, beyond: bool, until: str, limit: int) -> list[Row]:
        head = HEAD.replace("stream = ?", "stream = named.stream")
        return self.rows(HEADS.format(compare=">" if beyond else ">=", head=head), (bound, until, until, limit))

    def size_bytes(self) -> int:
        return int(self.rows("SELECT pg_total_relation_size('events')", ())[0][0])

    def writers(self) -> list[str]:
        return [str(name) for (name,) in self.rows(WRITERS, ())]

    def followed(self) -> float:
        with self._following:
            if self._listener is None and not self._closed:
                self._listener = Listener(self._server, self.id, self.notice.committed)
        return POLL_S

    def verify(self, seal: Seal | None, streams: Collection[str] | None, each: Each | None) -> VerifyReport:
        disk, fault = PostgresDisk(self), self.blobs.fault
        return verify_rows(disk, fault, log_id=self.id, seal=seal, streams=streams, each=each)

    def close(self) -> None:
        self._readers.close()
        if self.writer is not None:
            self.writer.close()
        announcer, self._announcer = self._announcer, None
        if announcer is not None:
            announcer.close()
        with self._following:
            self._closed = True
            listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()


class PostgresDisk:
    """`Disk` over a server, which says of a page that its checksum or its rows are wrong."""

    in_order_of_position = ""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    def readable(self, query: str, values: Sequence[str | int]) -> tuple[list[Row], str | None]:
        try:
            return self._database.rows(query, values), None
        except (psycopg.InternalError, psycopg.DataError) as error:
            return [], str(error).partition("\n")[0]

    def fault(self) -> str | None:
        return None
