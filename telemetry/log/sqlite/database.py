"""The embedded store: one SQLite file in WAL mode, `synchronous=FULL`, with one writer at a time.

Knows files, locks and SQLite's ways; what a log of rows is, `stored` knows.
Invariant: readers hold a read transaction for one page of rows, so the WAL can always be checkpointed."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from telemetry.errors import LogDamaged, LogNotFound, LogUnwritable
from telemetry.log.rows import HEAD, Row
from telemetry.log.scan import verify_rows
from telemetry.log.seal import Seal
from telemetry.log.sqlite.blobs import Blobs
from telemetry.log.sqlite.connect import Readers, files_of, open_at_rest, open_for_reading, open_for_writing
from telemetry.log.sqlite.lock import WriterLock, lock_owner
from telemetry.log.sqlite.snapshots import SnapshotFiles
from telemetry.log.sqlite.writer import SqliteCommitter
from telemetry.log.store import Each
from telemetry.log.stored import StoredLog
from telemetry.log.subscribe import POLL_S, Notice
from telemetry.log.verify import VerifyReport
from telemetry.log.writer import Writer

Mode = Literal["write", "read", "rest"]
"""`rest` reads a log that nobody writes and leaves no trace."""


def open_sqlite(path: Path, *, mode: Mode, create: bool = True) -> StoredLog:
    """`open_log` on one file."""
    return StoredLog(SqliteDatabase(path, mode=mode, create=create))


class SqliteDatabase:
    """`Database` in one file, with its blobs and its lock beside it."""

    def __init__(self, path: Path, *, mode: Mode, create: bool) -> None:
        self._path = path
        self.url = self.name = str(path)
        self.blobs = Blobs(path)
        self.snapshots = SnapshotFiles(path)
        self.notice = Notice()
        self.writer: Writer | None = None
        self._lock: WriterLock | None = None
        if mode == "read":
            self._readers, self.id = open_for_reading(path)
        elif mode == "rest":
            self._readers, self.id = open_at_rest(path)
        else:
            self._readers, self.id = self._start_writing(create)

    def _start_writing(self, create: bool) -> tuple[Readers, str]:
        path = self._path
        if not create and not path.exists():
            raise LogNotFound(f"there is no log at {path}. Check the path, or run something that writes one.")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LogUnwritable(f"the folder of {path} cannot be made: {error.strerror}.") from error
        lock = WriterLock(path)
        try:
            connection, log_id = open_for_writing(path, create=create)
        except BaseException:
            lock.release()
            raise
        self._lock = lock
        self.writer = Writer(self.name, SqliteCommitter(path, connection, committed=self.notice.committed))
        return Readers(path), log_id

    def rows(self, query: str, values: Sequence[str | int]) -> list[Row]:
        with self._readers.use() as connection, self._readable():
            return connection.execute(query, values).fetchall()

    def heads(self, bound: str, *, beyond: bool, until: str, limit: int) -> list[Row]:
        found: list[Row] = []
        with self._readers.use() as connection, self._readable():
            while len(found) < limit:
                (name,) = connection.execute(
                    f"SELECT min(stream) FROM events WHERE stream {'>' if beyond else '>='} ? AND stream < ?",
                    (bound, until),
                ).fetchone()
                if name is None:
                    break
                found += connection.execute(HEAD, (name,)).fetchall()  # none, of one that was removed meanwhile
                bound, beyond = name, True
        return found

    def size_bytes(self) -> int:
        return sum(file.st_size for file in files_of(self._path))

    def writers(self) -> list[str]:
        owner = lock_owner(self._path)
        return [] if owner is None else [owner]

    def followed(self) -> float:
        return POLL_S

    def verify(self, seal: Seal | None, streams: Collection[str] | None, each: Each | None) -> VerifyReport:
        with self._readers.use() as connection:
            return verify_rows(
                SqliteDisk(connection), self.blobs.fault, log_id=self.id, seal=seal, streams=streams, each=each
            )

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """Says of a file that is broken what to do about it."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise LogDamaged(
                f"{self.name} cannot be read here: {error}. Nothing was changed. Try: aether log verify"
            ) from error

    def close(self) -> None:
        """Leaves one file without a WAL where nobody reads, and gives up the lock."""
        self._readers.close()
        if self.writer is not None:
            self.writer.close()
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()


class SqliteDisk:
    """`Disk` over one connection."""

    in_order_of_position = "NOT INDEXED"
    """The table itself, whatever its indices say."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def readable(self, query: str, values: Sequence[str | int]) -> tuple[list[Row], str | None]:
        rows: list[Row] = []
        try:
            rows.extend(self._connection.execute(query, values))
        except sqlite3.DatabaseError as error:
            return rows, str(error)
        return rows, None

    def fault(self) -> str | None:
        """Broken pages that no row lies on: indices, free pages."""
        try:
            (found,) = self._connection.execute("PRAGMA integrity_check(1)").fetchone()
        except sqlite3.DatabaseError as error:
            return str(error)
        return None if found == "ok" else str(found)
